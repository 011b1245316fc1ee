package postgres

import (
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/internal/testenv"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/storetest"
)

// behindProxy opens a store whose way to the server can be broken, and one that
// sees the server itself.
func behindProxy(t *testing.T, o Options) (s, direct *Store, p *testenv.Proxy) {
	t.Helper()
	server := testenv.Postgres(t)
	p = testenv.NewProxy(t, server.Addr())
	o.URL = server.URLAt(p.Addr())
	return openTest(t, o), openTest(t, Options{URL: server.URL()}), p
}

// Failed: the connection breaks while the batch is on its way.
func TestResetOnTheWayThere(t *testing.T) {
	t.Parallel()
	s, direct, p := behindProxy(t, Options{})
	all := map[bloodbank.EventID][]byte{}
	mustStore(t, s, remember(all, samples(t, 0, 50)))
	for i, n := range []int{1, 40, 700, 9_000, 30_000} {
		p.ResetAfter(testenv.ToServer, n)
		batch := remember(all, samples(t, 50+50*i, 50))
		out, err := s.Append(t.Context(), store.Batch{Events: batch})
		if err != nil || out.Duplicates != 0 {
			t.Fatalf("reset after %d bytes: %+v, %v", n, out, err)
		}
		storetest.CheckStore(t, direct, all)
	}
}

// Failed, but happened: the answer is lost with the connection. The batch is
// sent again and found to be there.
func TestResetOnTheWayBack(t *testing.T) {
	t.Parallel()
	s, direct, p := behindProxy(t, Options{})
	all := map[bloodbank.EventID][]byte{}
	happened := 0
	for i := 0; happened < 3 && t.Context().Err() == nil; i++ {
		mustStore(t, s, remember(all, samples(t, 40*i, 20)))
		p.ResetAfter(testenv.ToClient, 1)
		out, err := s.Append(t.Context(), store.Batch{Events: remember(all, samples(t, 40*i+20, 20))})
		if err != nil || out.Duplicates != 0 && out.Duplicates != 20 {
			t.Fatalf("%+v, %v", out, err)
		}
		// On a slow machine the pool may ask first whether the connection lives.
		happened += out.Duplicates / 20
		storetest.CheckStore(t, direct, all)
	}
}

// Failed, but happened, and nobody says so.
func TestAnswersVanish(t *testing.T) {
	t.Parallel()
	s, direct, p := behindProxy(t, Options{Timeout: 4 * time.Second})
	all := map[bloodbank.EventID][]byte{}
	mustStore(t, s, remember(all, samples(t, 0, 20)))
	batch := samples(t, 20, 20)
	p.Drop(testenv.ToClient)
	_, err := s.Append(t.Context(), store.Batch{Events: batch})
	refused(t, err, bloodbank.CodeTimeout, p.Addr(), "does not answer")
	p.Heal()
	mustStore(t, s, remember(all, batch))
	storetest.CheckStore(t, direct, all)
}

// The other machine is gone without a word: one call pays for all connections.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	s, direct, p := behindProxy(t, Options{Timeout: 4 * time.Second})
	all := map[bloodbank.EventID][]byte{}
	mustStore(t, s, remember(all, samples(t, 0, 20)))
	held := make(chan struct{})
	done := make(chan error, 3)
	for range 3 { // several connections
		go func() {
			c, err := s.pool.Acquire(t.Context())
			if err == nil {
				<-held
				c.Release()
			}
			done <- err
		}()
	}
	for s.pool.Stat().AcquiredConns() < 3 {
		if t.Context().Err() != nil {
			t.Fatal("no connections")
		}
	}
	close(held)
	for range 3 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	p.HalfOpen()
	batch := samples(t, 20, 20)
	_, err := s.Append(t.Context(), store.Batch{Events: batch})
	refused(t, err, bloodbank.CodeTimeout, p.Addr(), "does not answer")
	mustStore(t, s, remember(all, batch))
	storetest.CheckStore(t, s, all)
	storetest.CheckStore(t, direct, all)
}

func TestCut(t *testing.T) {
	t.Parallel()
	s, direct, p := behindProxy(t, Options{})
	all := map[bloodbank.EventID][]byte{}
	mustStore(t, s, remember(all, samples(t, 0, 20)))
	p.Cut()
	batch := samples(t, 20, 20)
	_, err := s.Append(t.Context(), store.Batch{Events: batch})
	refused(t, err, bloodbank.CodeUnavailable, p.Addr())
	p.Heal()
	mustStore(t, s, remember(all, batch))
	storetest.CheckStore(t, direct, all)
}
