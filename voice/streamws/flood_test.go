package streamws_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/wsdoor"
	"github.com/coder/websocket"
)

// flood is a recogniser that hears more in the first sound than sessions keep.
type flood struct{ told chan struct{} }

func (f *flood) Name() string                { return "flood" }
func (f *flood) Features() voice.Features    { return voice.Features{} }
func (f *flood) Check(context.Context) error { return nil }
func (f *flood) Close() error                { return nil }
func (f *flood) Open(ctx context.Context, _ voice.StreamOptions) (voice.Stream, error) {
	return &floodStream{ctx: ctx, told: f.told, results: make(chan voice.Result)}, nil
}

type floodStream struct {
	ctx     context.Context
	told    chan struct{}
	results chan voice.Result
	once    sync.Once
}

const floodFinals = 6000

func (s *floodStream) Write(context.Context, []int16) error {
	s.once.Do(func() {
		long := strings.Repeat("x", 200<<10) // of which 100 are more than sockets hold
		for n := 1; n <= floodFinals; n++ {
			r := voice.Final{Transcription: voice.Transcription{Utterance: n}}
			if n <= 100 {
				r.Text = long
			}
			select {
			case s.results <- r:
			case <-s.ctx.Done():
				return
			}
		}
		close(s.told)
	})
	return nil
}

func (s *floodStream) Finalize() error              { return nil }
func (s *floodStream) CloseWrite() error            { close(s.results); return nil }
func (s *floodStream) Results() <-chan voice.Result { return s.results }
func (s *floodStream) Close() error                 { return nil }

// A client that falls behind by more than is kept for it is told so, and the session
// waits for it.
func TestClientThatFallsBehind(t *testing.T) {
	t.Parallel()
	f := &flood{told: make(chan struct{})}
	s, desk, _ := serve(t, setup{Recogniser: f, Limits: wsdoor.Limits{WriteWithin: patience}})
	c := dial(t, s, "")
	c.conn.SetReadLimit(16 << 20)
	c.expect("session.started")
	c.send(make([]byte, 3200))
	select {
	case <-f.told:
	case <-time.After(patience):
		t.Fatal("a client that does not read holds the session up")
	}
	finals := 0
	m := c.read()
	for ; m["type"] == "final"; m = c.read() {
		if finals++; m["utterance"] != float64(finals) {
			t.Fatalf("final %v after %d", m["utterance"], finals)
		}
	}
	if m["code"] != "slow_consumer" || m["retryable"] != true || finals == 0 || finals == floodFinals {
		t.Errorf("after %d finals %v", finals, m)
	}
	if status := c.status(); status != websocket.StatusPolicyViolation {
		t.Errorf("closed with %d", status)
	}
	if got := desk.Status(); got.Sessions != 1 || got.Waiting != 1 {
		t.Errorf("the session does not wait: %+v", got)
	}
}
