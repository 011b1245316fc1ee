package recorder_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/recorder"
	"github.com/33god/bloodbank/store"
)

// deadline bounds every wait of a test. It is only reached when something is
// broken.
const deadline = 30 * time.Second

// fakeBus hands its batches to the one consumer: each again and again until it
// is acknowledged, as the contract of bus.Subscriber says.
type fakeBus struct {
	batches chan []bus.Delivery
	acked   chan int   // sizes of acknowledged batches
	refuse  chan error // errors of Consume itself
	lag     func(context.Context) (uint64, error)
}

func newFakeBus() *fakeBus {
	return &fakeBus{batches: make(chan []bus.Delivery), acked: make(chan int, 100), refuse: make(chan error)}
}

func (b *fakeBus) Consume(ctx context.Context, c bus.Consumer, handle func(context.Context, []bus.Delivery) error) error {
	if c.Group != recorder.Group || c.MaxBatch == 0 {
		return fmt.Errorf("consumer %+v", c)
	}
	for {
		select {
		case err := <-b.refuse:
			return err
		case <-ctx.Done():
			return nil
		case batch := <-b.batches:
			for handle(ctx, batch) != nil {
				if ctx.Err() != nil {
					return nil
				}
			}
			b.acked <- len(batch)
		}
	}
}

func (b *fakeBus) Lag(ctx context.Context, _ string) (uint64, error) { return b.lag(ctx) }

// fakeStore keeps events by id. The methods it lacks panic, as the recorder must
// not call them.
type fakeStore struct {
	store.Store
	mu       sync.Mutex
	ids      map[bloodbank.EventID]bool
	rejected []store.Rejected
	appends  int
	failures []error         // one per call of Append, in turn
	hold     chan struct{}   // Append waits for it where not nil, or for its context
	entered  chan struct{}   // told when Append waits
	gets     chan struct{}   // told of each Get
	getHang  <-chan struct{} // Get waits for it where not nil, or for its context
}

var errBroken = errors.New("the disk is gone")

func newFakeStore() *fakeStore {
	return &fakeStore{ids: make(map[bloodbank.EventID]bool), entered: make(chan struct{}, 10), gets: make(chan struct{}, 1000)}
}

func (s *fakeStore) Append(ctx context.Context, b store.Batch) (store.Appended, error) {
	if s.hold != nil {
		s.entered <- struct{}{}
		select {
		case <-s.hold:
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.appends++
	if len(s.failures) > 0 {
		err := s.failures[0]
		s.failures = s.failures[1:]
		return store.Appended{}, err
	}
	if ctx.Err() != nil {
		return store.Appended{}, ctx.Err()
	}
	var a store.Appended
	for _, e := range b.Events {
		if s.ids[e.Envelope.EventID] {
			a.Duplicates++
		}
		s.ids[e.Envelope.EventID] = true
	}
	s.rejected = append(s.rejected, b.Rejected...)
	a.Last = int64(len(s.ids))
	return a, nil
}

func (s *fakeStore) Get(ctx context.Context, id bloodbank.EventID) (store.Event, error) {
	s.gets <- struct{}{}
	if s.getHang != nil {
		select {
		case <-s.getHang:
		case <-ctx.Done():
			return store.Event{}, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ids[id] {
		return store.Event{}, bloodbank.Errorf(bloodbank.CodeNotFound, "no event %s", id)
	}
	return store.Event{}, nil
}

// event returns a delivery of a proper event.
func event(t testing.TB) bus.Delivery {
	t.Helper()
	id, err := bloodbank.NewEventID()
	if err != nil {
		t.Fatal(err)
	}
	e := bloodbank.Envelope{
		EventID: id, EventType: "demo.thing.happened", Timestamp: time.Now(), Version: bloodbank.Version,
		Source: bloodbank.Source{Host: "h", Type: bloodbank.SourceManual}, Payload: []byte(`{"n":1}`),
	}
	data, err := e.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	return bus.Delivery{Message: bus.Message{ID: id, Type: e.EventType, Data: data}}
}

// fixture is a running recorder between fakes.
type fixture struct {
	*recorder.Recorder
	bus       *fakeBus
	store     *fakeStore
	committed chan int64
}

func start(t *testing.T) fixture {
	t.Helper()
	f := fixture{bus: newFakeBus(), store: newFakeStore(), committed: make(chan int64, 100)}
	f.run(t)
	return f
}

func (f *fixture) run(t *testing.T) {
	t.Helper()
	f.Recorder = recorder.New(recorder.Options{
		Subscriber: f.bus, Store: f.store, Committed: func(last int64) { f.committed <- last }, Retry: time.Millisecond,
	})
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// deliver hands over a batch and waits until it is acknowledged.
func (f *fixture) deliver(t *testing.T, batch ...bus.Delivery) {
	t.Helper()
	send(t, f.bus.batches, batch)
	if n := receive(t, f.bus.acked); n != len(batch) {
		t.Fatalf("%d of %d were acknowledged", n, len(batch))
	}
}

func send[T any](t *testing.T, ch chan<- T, v T) {
	t.Helper()
	select {
	case ch <- v:
	case <-time.After(deadline):
		t.Fatal("nobody took it")
	}
}

func receive[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	var v T
	select {
	case v = <-ch:
	case <-time.After(deadline):
		t.Fatal("nothing came")
	}
	return v
}
