package streamws_test

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
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/pocketsphinx"
	"github.com/33god/bloodbank/voice/recognisertest"
	"github.com/33god/bloodbank/voice/streamws"
	"github.com/33god/bloodbank/voice/wsdoor"
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

func object(t *testing.T, b []byte) map[string]any {
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
	Emitter     *ledger
	MaxSessions int
	Transcoder  *audio.Transcoder
	Grace       time.Duration // 0 is a minute
	Guard       wsdoor.Guard
	Limits      wsdoor.Limits
}

// serve starts a server with a door; both end with the test.
func serve(t *testing.T, o setup) (*httptest.Server, *voice.Desk, *ledger) {
	t.Helper()
	if o.Emitter == nil {
		o.Emitter = newLedger()
	}
	if o.Recogniser == nil {
		o.Recogniser = scripted(recognisertest.Script{Finals: []string{"one", "two", "three"}})
	}
	if o.Grace == 0 {
		o.Grace = time.Minute
	}
	desk := voice.NewDesk(context.WithoutCancel(t.Context()), voice.DeskOptions{
		Recogniser: o.Recogniser, Emitter: o.Emitter, MaxSessions: o.MaxSessions, Grace: o.Grace,
		Transcoder: o.Transcoder,
	})
	door := streamws.New(streamws.Options{Desk: desk, Guard: o.Guard, Limits: o.Limits})
	s := httptest.NewServer(door)
	t.Cleanup(func() {
		closeDesk(t, desk)
		door.Wait()
		s.Close()
		o.Recogniser.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return s, desk, o.Emitter
}

func closeDesk(t *testing.T, desk *voice.Desk) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	if err := desk.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

type client struct {
	t    *testing.T
	ctx  context.Context
	conn *websocket.Conn
	seq  float64
}

func dial(t *testing.T, s *httptest.Server, query string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, strings.Replace(s.URL, "http", "ws", 1)+"/api/v1/voice"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	return &client{t: t, ctx: ctx, conn: conn}
}

func (c *client) send(b []byte) {
	c.t.Helper()
	if err := c.conn.Write(c.ctx, websocket.MessageBinary, b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) control(text string) {
	c.t.Helper()
	if err := c.conn.Write(c.ctx, websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// next returns the next message but progress, and checks what all have in common. It may
// be called in any goroutine.
func (c *client) next() (map[string]any, error) {
	for {
		kind, b, err := c.conn.Read(c.ctx)
		if err != nil {
			return nil, err
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil || kind != websocket.MessageText {
			return nil, fmt.Errorf("not a JSON text message: %q", b)
		}
		if c.seq++; m["seq"] != c.seq {
			return nil, fmt.Errorf("seq is not %g: %s", c.seq, b)
		}
		if m["type"] != "progress" {
			return m, nil
		}
	}
}

func (c *client) read() map[string]any {
	c.t.Helper()
	m, err := c.next()
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// expect reads a message of the type.
func (c *client) expect(kind string) map[string]any {
	c.t.Helper()
	m := c.read()
	if m["type"] != kind {
		c.t.Fatalf("want %s, got %v", kind, m)
	}
	return m
}

// rest reads all up to session.ended, which is the last.
func (c *client) rest() (all []map[string]any) {
	c.t.Helper()
	for {
		m := c.read()
		all = append(all, m)
		if m["type"] == "session.ended" {
			return all
		}
	}
}

// status is the close code that comes next.
func (c *client) status() websocket.StatusCode {
	c.t.Helper()
	for {
		if _, _, err := c.conn.Read(c.ctx); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

func ofType(kind string, all []map[string]any) (found []map[string]any) {
	for _, m := range all {
		if m["type"] == kind {
			found = append(found, m)
		}
	}
	return found
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

// unfinished is speech without the quiet behind it.
func unfinished() []byte {
	b := said(1, time.Second)
	return b[:2*audio.Samples(1600*time.Millisecond)]
}

// syllable is speech that goes on: a burst and a gap too short to end an utterance.
func syllable() []byte {
	b := said(1, 340*time.Millisecond)[2*audio.Samples(600*time.Millisecond):]
	return b[:2*audio.Samples(400*time.Millisecond)]
}
