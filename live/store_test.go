package live

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank/store"
)

// fakeStore is what the hub needs of a store: events in memory, which can fail.
// The methods that it lacks panic when called, as they must not be.
type fakeStore struct {
	store.Store
	mu     sync.Mutex
	events []store.Event
	err    error
	reads  int           // calls of After
	read   chan struct{} // when not nil, gets a token per call of After
}

// add appends n events of the given size, skipping gap sequences before each.
func (s *fakeStore) add(n, size, gap int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var last int64
	if len(s.events) > 0 {
		last = s.events[len(s.events)-1].Sequence
	}
	for range n {
		last += 1 + int64(gap)
		s.events = append(s.events, store.Event{Sequence: last, Raw: make([]byte, size)})
	}
}

func (s *fakeStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *fakeStore) readCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

func (s *fakeStore) sequences() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sequences(s.events)
}

func sequences(events []store.Event) []int64 {
	all := make([]int64, len(events))
	for i, e := range events {
		all[i] = e.Sequence
	}
	return all
}

func (s *fakeStore) After(ctx context.Context, seq int64, limit int) ([]store.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if s.read != nil {
		select {
		case s.read <- struct{}{}:
		default:
		}
	}
	if err := errors.Join(s.err, ctx.Err()); err != nil {
		return nil, err
	}
	i, _ := slices.BinarySearchFunc(s.events, seq+1, func(e store.Event, seq int64) int { return int(e.Sequence - seq) })
	return slices.Clone(s.events[i:min(i+limit, len(s.events))]), nil
}

func (s *fakeStore) Last(ctx context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(s.err, ctx.Err()); err != nil {
		return 0, err
	}
	if len(s.events) == 0 {
		return 0, nil
	}
	return s.events[len(s.events)-1].Sequence, nil
}

// deadline bounds every wait of a test. It is long, because it is only reached
// when something is broken.
const deadline = 30 * time.Second

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// start returns a running hub that is stopped at the end of the test. It never
// polls unless o says so.
func start(t *testing.T, s *fakeStore, o Options) *Hub {
	t.Helper()
	o.Store = s
	if o.Poll == 0 {
		o.Poll = time.Hour
	}
	h := New(o)
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return h
}

// collect reads until the watcher has seen n events.
func collect(ctx context.Context, w *Watcher, n int) ([]int64, error) {
	var all []int64
	for len(all) < n {
		events, err := w.Next(ctx)
		if err != nil {
			return all, err
		}
		all = append(all, sequences(events)...)
	}
	return all, nil
}
