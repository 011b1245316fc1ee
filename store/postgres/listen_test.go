package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/33god/bloodbank/internal/testenv"
	"github.com/33god/bloodbank/live"
	"github.com/33god/bloodbank/store"
)

func noFilter() store.Filter { return store.Filter{} }

// listening starts Listen, and returns its wakes.
func listening(t *testing.T, s *Store) (woken chan struct{}, stop func()) {
	t.Helper()
	woken = make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.Listen(ctx, func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
	}()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
	}
	t.Cleanup(stop)
	return woken, stop
}

// grows waits until the store has reached n events, looking only when woken.
func grows(t *testing.T, s *Store, woken <-chan struct{}, n int64) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case <-woken:
		case <-deadline:
			t.Fatalf("nobody was woken for event %d", n)
		}
		if got, err := s.Count(t.Context(), noFilter()); err == nil && got >= n {
			return
		}
	}
}

// What one process stores wakes the others, whatever happens to the connection
// in between.
func TestListen(t *testing.T) {
	t.Parallel()
	server := testenv.PrivatePostgres(t)
	p := testenv.NewProxy(t, server.Addr())
	writer := openTest(t, Options{URL: server.URL()})
	reader := openTest(t, Options{URL: server.URLAt(p.Addr())})
	woken, stop := listening(t, reader)
	grows(t, reader, woken, 0) // it is connected
	mustStore(t, writer, samples(t, 0, 10))
	grows(t, reader, woken, 10)
	p.Cut()
	mustStore(t, writer, samples(t, 10, 10)) // nobody hears it
	p.Heal()
	grows(t, reader, woken, 20)
	server.Kill()
	server.Start()
	mustStore(t, writer, samples(t, 20, 10))
	grows(t, reader, woken, 30)
	mustExec(t, writer, "DROP SCHEMA bloodbank CASCADE")
	mustStore(t, writer, samples(t, 30, 5)) // in new tables
	grows(t, reader, woken, 5)
	stop()
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if err := reader.Listen(t.Context(), func() {}); err == nil {
		t.Fatal("a closed store listens")
	}
}

// A store that is closed ends who listens, with a server that does not answer too.
func TestListenEndsWithTheStore(t *testing.T) {
	t.Parallel()
	server := testenv.PrivatePostgres(t)
	s := openTest(t, Options{URL: server.URL()})
	woken, _ := listening(t, s)
	<-woken
	server.Freeze()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	server.Thaw()
}

// Two processes, one store: the watchers of either see what the other records,
// in the order of the store, long before the next poll.
func TestLiveAcrossProcesses(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t).URL()
	var stores [2]*Store
	var watchers [2]*live.Watcher
	for i := range stores {
		stores[i] = openTest(t, Options{URL: url})
		hub := live.New(live.Options{Store: stores[i], Poll: time.Hour})
		if err := hub.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := hub.Stop(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
		connected := make(chan struct{}, 1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- stores[i].Listen(ctx, func() {
				hub.Wake(0)
				select {
				case connected <- struct{}{}:
				default:
				}
			})
		}()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		<-connected
		watchers[i] = hub.Watch(-1)
		defer watchers[i].Close()
	}
	const each = 40
	for i := range stores {
		go func() {
			for n := range each {
				if _, err := stores[i].Append(t.Context(), store.Batch{Events: samples(t, n*5, 5)}); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	for i, w := range watchers {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		before := int64(0)
		for seen := 0; seen < 2*each*5; {
			events, err := w.Next(ctx)
			if err != nil {
				t.Fatalf("watcher %d saw %d events: %v", i, seen, err)
			}
			for _, e := range events {
				if e.Sequence != before+1 {
					t.Fatalf("watcher %d: %d follows %d", i, e.Sequence, before)
				}
				before = e.Sequence
			}
			seen += len(events)
		}
		cancel()
	}
}
