package files_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/files"
	"github.com/33god/bloodbank/voice/pocketsphinx"
	"github.com/33god/bloodbank/voice/recognisertest"
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
	Door        files.Options
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
	desk := voice.NewDesk(context.WithoutCancel(t.Context()), voice.DeskOptions{
		Recogniser: o.Recogniser, Emitter: o.Emitter, MaxSessions: o.MaxSessions, Transcoder: o.Transcoder,
	})
	o.Door.Desk, o.Door.TempDir = desk, t.TempDir()
	door := files.New(o.Door)
	s := httptest.NewServer(door)
	t.Cleanup(func() {
		closeDesk(t, desk)
		door.Wait()
		s.Close()
		o.Recogniser.Close()
		if left, err := os.ReadDir(o.Door.TempDir); err != nil || len(left) > 0 {
			t.Errorf("temporary files are left: %v (%v)", left, err)
		}
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

// upload is a form of fields in order, name and value in turns; the name "file" is the
// recording.
func upload(t *testing.T, fields ...string) (kind string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		create := w.CreateFormField
		if fields[i] == "file" {
			create = func(name string) (io.Writer, error) { return w.CreateFormFile(name, "speech.wav") }
		}
		part, err := create(fields[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(part, fields[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}

// post sends a form and returns the answer.
func post(t *testing.T, s *httptest.Server, fields ...string) (status int, header http.Header, body string) {
	t.Helper()
	kind, form := upload(t, fields...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/v1/audio/transcriptions", bytes.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	return do(t, s, r)
}

func do(t *testing.T, s *httptest.Server, r *http.Request) (status int, header http.Header, body string) {
	t.Helper()
	answer, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(b)
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

// release lets the recogniser write one utterance down.
func release(t *testing.T, hold chan<- struct{}) {
	t.Helper()
	select {
	case hold <- struct{}{}:
	case <-time.After(patience):
		t.Fatal("no utterance is being written down")
	}
}
