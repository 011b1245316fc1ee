package vosk_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/pocketsphinx"
	"github.com/33god/bloodbank/voice/recognisertest"
	"github.com/33god/bloodbank/voice/vosk"
	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

// TestMain is a worker of PocketSphinx when the fake server starts this binary again.
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

const token = "not-a-secret"

// call is one connection as the fake server sees it.
type call struct {
	*websocket.Conn
	n   int // from 1
	ctx context.Context
}

// fake is a Vosk server whose connections do what a test wants.
type fake struct {
	*httptest.Server
	mu    sync.Mutex
	calls int
}

func serve(t *testing.T, do func(c call)) *fake {
	t.Helper()
	f := &fake{}
	// The server does not see the end of a connection that it gave away.
	life, stop := context.WithTimeout(context.Background(), 5*time.Minute)
	var talks sync.WaitGroup
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		conn.SetReadLimit(1 << 20)
		f.mu.Lock()
		f.calls++
		n := f.calls
		f.mu.Unlock()
		talks.Add(1)
		defer talks.Done()
		do(call{conn, n, life})
	}))
	t.Cleanup(func() {
		stop()
		f.Close()
		talks.Wait()
	})
	return f
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

func (f *fake) config() vosk.Config {
	return vosk.Config{URL: "ws" + strings.TrimPrefix(f.URL, "http"), Token: token, Language: "en-US", Timeout: 2 * time.Second}
}

// next reads a message: audio, or a text. ok is false when the client has gone.
func (c call) next() (pcm []int16, text string, ok bool) {
	kind, b, err := c.Read(c.ctx)
	if err != nil {
		return nil, "", false
	}
	if kind == websocket.MessageText {
		return nil, string(b), true
	}
	for ; len(b) > 1; b = b[2:] {
		pcm = append(pcm, int16(binary.LittleEndian.Uint16(b)))
	}
	return pcm, "", true
}

func (c call) partial(text string) { c.say(map[string]any{"partial": text}) }

// result answers with words that have the given place each, in seconds.
func (c call) result(text string, at ...float64) {
	words := []any{}
	for i, w := range strings.Fields(text) {
		start := float64(i)
		if i < len(at) {
			start = at[i]
		}
		words = append(words, map[string]any{"word": w, "start": start, "end": start + 0.25, "conf": 0.5})
	}
	c.say(map[string]any{"text": text, "result": words})
}

func (c call) say(v any) {
	b, _ := json.Marshal(v)
	_ = c.Write(c.ctx, websocket.MessageText, b)
}

const (
	eof   = `{"eof" : 1}`
	reset = `{"reset" : 1}`
)

// speaks is a server that hears a second of audio as one word, and says what it heard at
// the end.
func speaks(c call) {
	heard := 0
	for {
		pcm, text, ok := c.next()
		heard += len(pcm)
		said := strings.TrimSpace(strings.Repeat("word ", heard/audio.SampleRate))
		switch {
		case !ok:
			return
		case text == eof:
			c.result(said)
			return
		case text == reset:
			c.result(said)
			heard = 0
		case pcm != nil:
			c.partial(said)
		}
	}
}

func open(t *testing.T, c vosk.Config) *vosk.Recogniser {
	t.Helper()
	r, err := vosk.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// behind is a PocketSphinx for a server to answer with. The test is skipped where it is
// missing.
func behind(t *testing.T) *pocketsphinx.Recogniser {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := pocketsphinx.New(pocketsphinx.Config{Command: []string{self}, Env: []string{"BB_TEST_ASR_WORKER=1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if err := r.Check(t.Context()); errors.Is(err, voice.ErrUnavailable) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	return r
}

const padding = audio.SampleRate / 2

// real is the state of a server that finds utterances like Vosk, in the stream of one
// connection, and has PocketSphinx write them down.
type real struct {
	ends  *audio.Endpointer
	start int64
	pcm   []int16
	open  bool
	ended bool
}

func (r *real) SpeechStart(at int64)                 { r.start, r.pcm, r.open = at, nil, true }
func (r *real) SpeechAudio(pcm []int16)              { r.pcm = append(r.pcm, pcm...) }
func (r *real) SpeechEnd(_ int64, _ audio.EndReason) { r.open, r.ended = false, true }

// converses is a Vosk server with words from PocketSphinx.
func converses(ps voice.Recogniser) func(c call) {
	return func(c call) {
		ends, err := audio.NewEndpointer(audio.EndpointSettings{})
		if err != nil {
			return
		}
		r := &real{ends: ends}
		for {
			pcm, text, ok := c.next()
			if !ok {
				return
			}
			if strings.Contains(text, "config") {
				continue
			}
			if text == eof {
				r.ends.Flush(r)
			}
			r.ends.Write(pcm, r)
			switch {
			case r.ended:
				r.ended = false
				if !r.transcribe(c, ps) {
					return
				}
			case text == eof:
				c.result("")
			case r.open:
				c.partial("somebody speaks")
			default:
				c.partial("")
			}
			if text == eof {
				return
			}
		}
	}
}

func (r *real) transcribe(c call, ps voice.Recogniser) bool {
	s, err := ps.Open(c.ctx, voice.StreamOptions{})
	if err != nil {
		return false
	}
	defer s.Close()
	all := append(recognisertest.Silence(padding), r.pcm...)
	if errors.Join(s.Write(c.ctx, append(all, recognisertest.Silence(2*padding)...)), s.CloseWrite()) != nil {
		return false
	}
	var texts []string
	words := []any{}
	shift := audio.Duration(r.start - padding)
	for result := range s.Results() {
		f, ok := result.(voice.Final)
		if !ok {
			continue
		}
		for _, w := range f.Words {
			texts = append(texts, w.Text)
			words = append(words, map[string]any{"word": w.Text, "start": (w.Start + shift).Seconds(), "end": (w.End + shift).Seconds(), "conf": w.Confidence})
		}
	}
	c.say(map[string]any{"text": strings.Join(texts, " "), "result": words})
	return c.ctx.Err() == nil
}

func mentions(err error, words ...string) bool {
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			return false
		}
	}
	return true
}
