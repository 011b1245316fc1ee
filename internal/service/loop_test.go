package service_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank/internal/service"
)

// obedient runs until it is told to stop and counts who is inside.
func obedient(inside *atomic.Int32) func(context.Context, func()) error {
	return func(ctx context.Context, ready func()) error {
		inside.Add(1)
		defer inside.Add(-1)
		ready()
		<-ctx.Done()
		return context.Cause(ctx)
	}
}

// stress starts and stops s from many goroutines; s must end up stopped.
func stress(t *testing.T, s service.Service, inside *atomic.Int32) {
	t.Helper()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range 50 {
				if err := s.Start(t.Context()); err != nil && !errors.Is(err, service.ErrStop) {
					t.Error(err)
				}
				if n := inside.Load(); n > 1 {
					t.Errorf("%d lives at once", n)
				}
				if err := s.Stop(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := inside.Load(); n != 0 {
		t.Errorf("%d lives are left after the last Stop", n)
	}
}

func TestLoopStress(t *testing.T) {
	t.Parallel()
	var inside atomic.Int32
	stress(t, service.NewLoop("loop", obedient(&inside)), &inside)
}

func TestLoopIsIdempotentAndRestarts(t *testing.T) {
	t.Parallel()
	var inside atomic.Int32
	s := service.NewLoop("loop", obedient(&inside))
	if err := s.Stop(t.Context()); err != nil || s.Done() != nil || s.Err() != nil {
		t.Errorf("before the first Start: Stop %v, Done %v, Err %v", err, s.Done(), s.Err())
	}
	for range 2 {
		for range 2 {
			if err := s.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := inside.Load(); n != 1 {
			t.Fatalf("%d lives after two Starts", n)
		}
		done := s.Done()
		for range 2 {
			if err := s.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		<-done
		if err := s.Err(); err != nil {
			t.Errorf("Err after Stop: %v", err)
		}
	}
}

func TestLoopOutlivesTheContextOfItsStart(t *testing.T) {
	t.Parallel()
	var inside atomic.Int32
	s := service.NewLoop("loop", obedient(&inside))
	ctx, cancel := context.WithCancel(t.Context())
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	if inside.Load() != 1 || s.Err() != nil {
		t.Error("the service ended with the context of its Start")
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Start(ctx); !errors.Is(err, context.Canceled) || inside.Load() != 0 {
		t.Errorf("Start with an ended context: %v", err)
	}
}

func TestLoopDies(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is gone")
	for _, cause := range []error{broken, nil} {
		die := make(chan struct{})
		s := service.NewLoop("log", func(_ context.Context, ready func()) error {
			ready()
			<-die
			return cause
		})
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		close(die)
		<-s.Done()
		if err := s.Err(); !errors.Is(err, service.ErrEnded) || cause != nil && !errors.Is(err, cause) || !strings.Contains(err.Error(), "log") {
			t.Errorf("Err = %v, want %v in it", err, cause)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Errorf("Stop reports the death again: %v", err)
		}
	}
}

func TestLoopFailsBeforeReady(t *testing.T) {
	t.Parallel()
	broken := errors.New("the port is taken")
	s := service.NewLoop("http", func(context.Context, func()) error { return broken })
	if err := s.Start(t.Context()); !errors.Is(err, broken) || !errors.Is(err, service.ErrEnded) {
		t.Errorf("Start = %v", err)
	}
}

func TestLoopNeverReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		left := false
		s := service.NewLoop("slow", func(ctx context.Context, _ func()) error {
			<-ctx.Done()
			left = true
			return ctx.Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Start(ctx); !errors.Is(err, context.DeadlineExceeded) || !left {
			t.Errorf("Start = %v, goroutine gone: %v", err, left)
		}
	})
}

func TestLoopStopEndsAStartInProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := service.NewLoop("slow", func(ctx context.Context, _ func()) error {
			<-ctx.Done()
			return ctx.Err()
		})
		started := make(chan error, 1)
		go func() { started <- s.Start(t.Context()) }()
		synctest.Wait()
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-started; !errors.Is(err, service.ErrStop) {
			t.Errorf("Start = %v, want ErrStop", err)
		}
	})
}

func TestLoopStopTakesTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := service.NewLoop("stubborn", func(ctx context.Context, ready func()) error {
			ready()
			<-ctx.Done()
			<-time.After(time.Hour) // virtual time: the work that it must finish
			return errors.New("could not flush")
		})
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "stubborn") {
			t.Errorf("first Stop = %v", err)
		}
		if err := s.Start(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Start while it stops = %v", err)
		}
		if err := s.Stop(t.Context()); err == nil || !strings.Contains(err.Error(), "could not flush") {
			t.Errorf("second Stop = %v, want the failure of the stop", err)
		}
	})
}

func TestResource(t *testing.T) {
	t.Parallel()
	var inside atomic.Int32
	s := service.NewResource("store",
		func(context.Context) error { inside.Add(1); return nil },
		func(context.Context) error { inside.Add(-1); return nil })
	stress(t, s, &inside)

	broken := errors.New("locked")
	s = service.NewResource("store", func(context.Context) error { return broken }, func(context.Context) error {
		t.Error("close was called though open failed")
		return nil
	})
	if err := s.Start(t.Context()); !errors.Is(err, broken) {
		t.Errorf("Start = %v", err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("Stop = %v", err)
	}
}

func TestResourceClosesWithAnEndedContext(t *testing.T) {
	t.Parallel()
	closed := false
	s := service.NewResource("store", func(context.Context) error { return nil }, func(context.Context) error { closed = true; return nil })
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(ctx); err != nil || !closed {
		t.Errorf("Stop = %v, closed: %v", err, closed)
	}
}
