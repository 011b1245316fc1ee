package recorder_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/recorder"
)

func TestBatches(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.bus.lag = func(context.Context) (uint64, error) { return 7, nil }
	a, b, c := event(t), event(t), event(t)
	noEvent := bus.Delivery{Message: bus.Message{Data: []byte(`{"x":1}`)}}

	f.deliver(t, a, b)
	if last := receive(t, f.committed); last != 2 {
		t.Errorf("committed %d", last)
	}
	f.deliver(t, b, noEvent, c) // b comes a second time
	f.deliver(t, noEvent)       // nothing but rejects

	want := recorder.Status{Stored: 3, Duplicates: 1, Rejected: 2, Lag: 7}
	if got := f.Status(t.Context()); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if len(f.store.rejected) != 2 || string(f.store.rejected[0].Raw) != `{"x":1}` || !strings.Contains(f.store.rejected[0].Reason, "event_id") {
		t.Errorf("rejected: %+v", f.store.rejected)
	}
}

// After an error nothing is acknowledged or told to anybody, and the same batch
// comes again.
func TestStoreError(t *testing.T) {
	t.Parallel()
	f := fixture{bus: newFakeBus(), store: newFakeStore(), committed: make(chan int64, 100)}
	f.bus.lag = func(context.Context) (uint64, error) { return 0, errors.New("no answer") }
	f.store.failures = []error{errBroken, errBroken}
	f.store.hold = make(chan struct{})
	f.run(t)
	e := event(t)
	stored := wait(t, f, e.ID)
	send(t, f.bus.batches, []bus.Delivery{e})
	for range 2 {
		receive(t, f.store.entered)
		f.store.hold <- struct{}{}
	}
	receive(t, f.store.entered) // the third try waits: both failures are over
	status := f.Status(t.Context())
	if !strings.Contains(status.Fault, "disk is gone") || status.Stored != 0 || status.Lag != -1 {
		t.Errorf("status %+v", status)
	}
	if len(f.bus.acked)+len(f.committed)+len(stored) != 0 {
		t.Error("somebody was told of a batch that is not stored")
	}
	f.store.hold <- struct{}{}
	receive(t, f.bus.acked)
	receive(t, f.committed)
	if err := receive(t, stored); err != nil {
		t.Error(err)
	}
	if status := f.Status(t.Context()); status.Fault != "" || status.Stored != 1 {
		t.Errorf("status %+v", status)
	}
}

// wait calls Stored in the background and returns once it has looked into the
// store, so that it waits for a commit.
func wait(t *testing.T, f fixture, id bloodbank.EventID) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f.Stored(t.Context(), id) }()
	receive(t, f.store.gets)
	return done
}

func TestStored(t *testing.T) {
	t.Parallel()
	f := start(t)
	a, b := event(t), event(t)
	first, second, other := wait(t, f, a.ID), wait(t, f, a.ID), wait(t, f, b.ID)
	f.deliver(t, a)
	for _, ch := range []<-chan error{first, second} {
		if err := receive(t, ch); err != nil {
			t.Error(err)
		}
	}
	if len(other) != 0 {
		t.Error("told of another's event")
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Stored(over, a.ID); err != nil {
		t.Errorf("already stored, with a ctx that is over: %v", err)
	}
	if err := f.Stored(over, b.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	f.deliver(t, a, b) // a is a duplicate and nobody waits for it
	if err := receive(t, other); err != nil {
		t.Error(err)
	}
}

// Waiting is decided by the event that is committed between the look into the
// store and the wait, too.
func TestStoredRaces(t *testing.T) {
	t.Parallel()
	f := start(t)
	for range 200 {
		e := event(t)
		done := make(chan error, 1)
		go func() { done <- f.Stored(t.Context(), e.ID) }()
		f.deliver(t, e)
		if err := receive(t, done); err != nil {
			t.Fatal(err)
		}
		receive(t, f.store.gets)
		receive(t, f.committed)
	}
}

// The caller's time is over but the store hangs: the answer comes all the same.
func TestStoredWhileTheStoreHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.getHang = make(chan struct{})
		r := recorder.New(recorder.Options{Subscriber: newFakeBus(), Store: s})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begin := time.Now()
		if err := r.Stored(ctx, event(t).ID); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// Where another process of the group stored the event nobody here is told: the
// store itself is asked again.
func TestStoredByAnotherProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		r := recorder.New(recorder.Options{Subscriber: newFakeBus(), Store: s})
		e := event(t)
		done := make(chan error, 1)
		go func() { done <- r.Stored(t.Context(), e.ID) }()
		<-s.gets
		s.mu.Lock()
		s.ids[e.ID] = true
		s.mu.Unlock()
		begin := time.Now()
		if err := <-done; err != nil || time.Since(begin) > time.Second {
			t.Errorf("got %v after %v", err, time.Since(begin))
		}
	})
}

func TestStopMidBatch(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		inTime bool
	}{{"the batch is finished", true}, {"the batch is broken off", false}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := fixture{bus: newFakeBus(), store: newFakeStore(), committed: make(chan int64, 100)}
			f.store.hold = make(chan struct{})
			f.run(t)
			e := event(t)
			waiter := wait(t, f, event(t).ID)
			send(t, f.bus.batches, []bus.Delivery{e})
			receive(t, f.store.entered)

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stopped := make(chan error, 1)
			go func() { stopped <- f.Stop(ctx) }()
			if err := receive(t, waiter); bloodbank.CodeOf(err) != bloodbank.CodeUnavailable {
				t.Errorf("a waiter got %v", err)
			}
			if tt.inTime {
				f.store.hold <- struct{}{}
			} else {
				cancel()
			}
			err := receive(t, stopped)
			if tt.inTime != (err == nil) {
				t.Errorf("stop: %v", err)
			}
			if !tt.inTime && bloodbank.CodeOf(err) != bloodbank.CodeTimeout {
				t.Errorf("code %s", bloodbank.CodeOf(err))
			}
			if err := f.Stop(t.Context()); err != nil { // joins, in both cases
				t.Errorf("second stop: %v", err)
			}
			want := 0
			if tt.inTime {
				want = 1
			}
			if len(f.bus.acked) != want || len(f.store.ids) != want {
				t.Errorf("%d acknowledged, %d stored, want %d", len(f.bus.acked), len(f.store.ids), want)
			}
		})
	}
}

func TestConsumeThatCannotStartIsTriedAgain(t *testing.T) {
	t.Parallel()
	f := fixture{bus: newFakeBus(), store: newFakeStore(), committed: make(chan int64, 100)}
	f.bus.lag = func(context.Context) (uint64, error) { return 0, nil }
	f.run(t)
	send(t, f.bus.refuse, errors.New("no such host"))
	f.deliver(t, event(t)) // only the second call of Consume can have taken it
	if status := f.Status(t.Context()); status.Stored != 1 || status.Fault != "" {
		t.Errorf("status %+v", status)
	}
}

func TestLifecycle(t *testing.T) {
	t.Parallel()
	r := recorder.New(recorder.Options{Subscriber: newFakeBus(), Store: newFakeStore()})
	if r.Name() != "recorder" {
		t.Error(r.Name())
	}
	if err := r.Stop(t.Context()); err != nil {
		t.Errorf("stop before start: %v", err)
	}
	if err := r.Start(t.Context()); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("start after stop: %v", err)
	}
	f := start(t)
	if err := f.Start(t.Context()); err != nil {
		t.Errorf("second start: %v", err)
	}
	f.deliver(t, event(t)) // and there is one consumer only
}
