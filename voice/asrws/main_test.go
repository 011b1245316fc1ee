package asrws_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/asrws"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/pocketsphinx"
	"github.com/33god/bloodbank/voice/recognisertest"
	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv("BB_TEST_ASR_WORKER") == "1" {
		if err := pocketsphinx.RunWorker(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "ERROR:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

const patience = 60 * time.Second

// ledger is an Emitter that keeps what it accepts and signals closing events.
type ledger struct {
	mu     sync.Mutex
	events []bloodbank.Envelope
	closed chan bloodbank.Envelope
	refuse error // of utterances
}

func newLedger() *ledger { return &ledger{closed: make(chan bloodbank.Envelope, 16)} }

func (l *ledger) Emit(_ context.Context, e bloodbank.Envelope) (bloodbank.Receipt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != nil && e.EventType == bloodbank.TypeVoiceCompleted {
		return bloodbank.Receipt{}, l.refuse
	}
	l.events = append(l.events, e)
	if e.EventType == bloodbank.TypeSessionClosed {
		l.closed <- e
	}
	return bloodbank.Receipt{EventID: e.EventID, Ack: bloodbank.AckWAL}, nil
}

func (l *ledger) all() []bloodbank.Envelope {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]bloodbank.Envelope(nil), l.events...)
}

// end waits for a closing event and returns its payload.
func (l *ledger) end(t *testing.T) map[string]any {
	t.Helper()
	select {
	case e := <-l.closed:
		return object(t, e.Payload)
	case <-time.After(patience):
		t.Fatal("no closing event")
		return nil
	}
}

func object(t testing.TB, b []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return m
}

// setup is what a test wants of the door and of its desk.
type setup struct {
	Recogniser  voice.Recogniser
	Emitter     voice.Emitter
	MaxSessions int
	Transcoder  *audio.Transcoder
	Grace       time.Duration // 0 is none
	Token       string
	Origins     []string
	MaxFrame    int64
	Secret      []byte
	Past        voice.Past
	SendWithin  time.Duration // the door's patience; 0 is the usual
	PingAfter   time.Duration
}

func (o *setup) open(tb testing.TB) (*voice.Desk, *asrws.Door) {
	tb.Helper()
	if o.Grace == 0 {
		o.Grace = -1
	}
	desk := voice.NewDesk(context.WithoutCancel(tb.Context()), voice.DeskOptions{
		Recogniser: o.Recogniser, Emitter: o.Emitter, MaxSessions: o.MaxSessions, Grace: o.Grace,
		Secret: o.Secret, Past: o.Past, Transcoder: o.Transcoder,
	})
	door := asrws.New(asrws.Options{Desk: desk, Token: o.Token, Origins: o.Origins, MaxFrame: o.MaxFrame})
	if o.SendWithin > 0 {
		door.HurrySending(o.SendWithin)
	}
	if o.PingAfter > 0 {
		door.HurryPinging(o.PingAfter)
	}
	return desk, door
}

// serve starts a server with a door; both end with the test.
func serve(t testing.TB, o setup) (*httptest.Server, *voice.Desk, *ledger) {
	t.Helper()
	l, _ := o.Emitter.(*ledger)
	if o.Emitter == nil {
		l = newLedger()
		o.Emitter = l
	}
	if o.Recogniser == nil {
		o.Recogniser = recognisertest.NewScripted(recognisertest.Script{Finals: []string{"one", "two", "three"}})
	}
	desk, door := o.open(t)
	s := httptest.NewServer(door)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := desk.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		door.Wait()
		s.Close()
		o.Recogniser.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return s, desk, l
}

type client struct {
	t    *testing.T
	ctx  context.Context
	conn *websocket.Conn
}

func dial(t *testing.T, s *httptest.Server, query string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, strings.Replace(s.URL, "http", "ws", 1)+"/asr"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(16 << 20)
	t.Cleanup(func() { conn.CloseNow() })
	return &client{t: t, ctx: ctx, conn: conn}
}

func (c *client) send(b []byte) {
	c.t.Helper()
	if err := c.conn.Write(c.ctx, websocket.MessageBinary, b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read() (raw string, m map[string]any) {
	c.t.Helper()
	kind, b, err := c.conn.Read(c.ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	if kind != websocket.MessageText {
		c.t.Fatalf("a binary message from the server: %q", b)
	}
	return string(b), object(c.t, b)
}

// rest reads all states up to ready_to_stop, which it checks to be the end.
func (c *client) rest() (states []map[string]any) {
	c.t.Helper()
	for {
		raw, m := c.read()
		if raw == `{"type":"ready_to_stop"}` {
			return states
		}
		if _, typed := m["type"]; typed {
			c.t.Fatalf("a message with a type of its own: %s", raw)
		}
		states = append(states, m)
	}
}

func (c *client) greeting() map[string]any {
	c.t.Helper()
	_, m := c.read()
	if m["type"] != "config" {
		c.t.Fatalf("first message %v", m)
	}
	if _, first := c.read(); first["status"] != "no_audio_detected" {
		c.t.Fatalf("second message %v", first)
	}
	return m
}

func texts(state map[string]any) (all []string) {
	for _, l := range state["lines"].([]any) {
		all = append(all, l.(map[string]any)["text"].(string))
	}
	return all
}

// said is n bursts with a second of quiet after each, as PCM.
func said(n int, each time.Duration) []byte {
	pcm := make([]int16, audio.Samples(600*time.Millisecond))
	for range n {
		for i := range audio.Samples(each) {
			pcm = append(pcm, int16(6000*math.Sin(2*math.Pi*600*float64(i)/audio.SampleRate)))
		}
		pcm = append(pcm, make([]int16, audio.SampleRate)...)
	}
	return audio.Bytes(nil, pcm)
}

func scripted(s recognisertest.Script) voice.Recogniser { return recognisertest.NewScripted(s) }

// syllable is speech that goes on: a burst and a gap too short to end an utterance.
func syllable() []byte {
	b := said(1, 340*time.Millisecond)[2*audio.Samples(600*time.Millisecond):]
	return b[:2*audio.Samples(400*time.Millisecond)]
}
