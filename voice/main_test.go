package voice_test

import (
	"context"
	"encoding/json"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/recognisertest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ledger is an Emitter that keeps what it accepts.
type ledger struct {
	mu     sync.Mutex
	events []bloodbank.Envelope
	refuse func(bloodbank.Envelope) error
}

func (l *ledger) Emit(_ context.Context, e bloodbank.Envelope) (bloodbank.Receipt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != nil {
		if err := l.refuse(e); err != nil {
			return bloodbank.Receipt{}, err
		}
	}
	l.events = append(l.events, e)
	return bloodbank.Receipt{EventID: e.EventID, Sequence: uint64(len(l.events)), Ack: bloodbank.AckWAL}, nil
}

func (l *ledger) all() []bloodbank.Envelope {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]bloodbank.Envelope(nil), l.events...)
}

func payload(t *testing.T, e bloodbank.Envelope) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(e.Payload, &m); err != nil {
		t.Fatalf("payload %s: %v", e.Payload, err)
	}
	return m
}

// said is PCM bytes of n bursts with a second of silence after each.
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

// open starts a session with a reader of its updates; the function returns them all.
func open(t *testing.T, o voice.SessionOptions, script recognisertest.Script) (*voice.Session, *ledger, func() []voice.Update) {
	t.Helper()
	l, ok := o.Emitter.(*ledger)
	if !ok {
		l = &ledger{}
		o.Emitter = l
	}
	r := recognisertest.NewScripted(script)
	t.Cleanup(func() { r.Close() })
	o.Recogniser = r
	s, err := voice.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var all []voice.Update
	var reading sync.WaitGroup
	reading.Go(func() {
		f := s.Follow(0)
		for u, err := f.Next(t.Context()); err == nil; u, err = f.Next(t.Context()) {
			all = append(all, u)
		}
	})
	return s, l, func() []voice.Update { reading.Wait(); return all }
}
