package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank/bus"
)

func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bus.NewWindow(3)
		first, err := w.Enter(t.Context(), 0)
		if err != nil || first != 1 || w.Idle() {
			t.Fatalf("%d, %v", first, err)
		}
		w.Next()
		// A message of 128 KiB and more has three places, of which two are free.
		type entry struct {
			places int
			err    error
		}
		big, small := make(chan entry, 1), make(chan entry, 1)
		go func() {
			n, err := w.Enter(t.Context(), 128<<10)
			big <- entry{n, err}
		}()
		synctest.Wait()
		go func() { // there is room for it, but not before its turn
			n, err := w.Enter(t.Context(), 1)
			small <- entry{n, err}
		}()
		synctest.Wait()
		if len(big)+len(small) != 0 {
			t.Fatal("entered without room, or out of turn")
		}
		over, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.Enter(over, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		w.Give(first)
		if e := <-big; e.err != nil || e.places != 3 {
			t.Errorf("the big one: %+v", e)
		}
		w.Next()
		synctest.Wait()
		w.Give(3)
		if e := <-small; e.err != nil || e.places != 1 {
			t.Errorf("the small one: %+v", e)
		}
		w.Next()
		ended, stop := context.WithCancel(t.Context())
		stop()
		w.Shut(ended) // one is still under way
		if _, err := w.Enter(t.Context(), 0); !errors.Is(err, bus.ErrClosed) {
			t.Errorf("after Shut: %v", err)
		}
		go w.Give(1)
		w.Await()
	})
}

// Who gives up waiting for room leaves its turn and what it had to the others.
func TestWindowGivesBack(t *testing.T) {
	t.Parallel()
	w := bus.NewWindow(2)
	if _, err := w.Enter(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	w.Next()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		if n, err := w.Enter(over, 100<<10); err == nil {
			t.Fatalf("%d places", n)
		}
	}
	if n, err := w.Enter(t.Context(), 0); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
}

// With a context that has ended nobody enters, however much room there is: a
// message that did would overtake those that were sent away before it.
func TestWindowIsShutForTheLate(t *testing.T) {
	t.Parallel()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	w := bus.NewWindow(8)
	for i := range 200 {
		if _, err := w.Enter(over, 0); !errors.Is(err, context.Canceled) {
			t.Fatalf("try %d with a ctx that is over: %v", i, err)
		}
	}
	w.Shut(t.Context())
	for i := range 200 {
		if _, err := w.Enter(t.Context(), 0); !errors.Is(err, bus.ErrClosed) {
			t.Fatalf("try %d after Shut: %v", i, err)
		}
	}
}
