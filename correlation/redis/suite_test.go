package redis

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/correlation/correlationtest"
	"github.com/33god/bloodbank/internal/testenv"
)

// TestSuite runs the suite twice: with Redis alone, and with a store beside it.
func TestSuite(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	t.Run("edges only", func(t *testing.T) {
		t.Parallel()
		tracker := openTest(t, Options{Addr: server.Addr()})
		correlationtest.Run(t, func(*testing.T) correlationtest.Subject {
			return correlationtest.Subject{Tracker: tracker, NoDetails: true, Add: func(ctx context.Context, events ...bloodbank.Envelope) error {
				return tracker.Add(ctx, Links(events...)...)
			}}
		})
	})
	t.Run("with a store", func(t *testing.T) {
		t.Parallel()
		s := &events{byID: map[bloodbank.EventID]correlation.Node{}}
		tracker := openTest(t, Options{Addr: server.Addr(), DB: 1, Lookup: s.lookup})
		correlationtest.Run(t, func(*testing.T) correlationtest.Subject {
			return correlationtest.Subject{Tracker: tracker, Add: func(ctx context.Context, events ...bloodbank.Envelope) error {
				s.add(events...)
				return tracker.Add(ctx, Links(events...)...)
			}}
		})
	})
}

// events is the part of a store that a tracker asks.
type events struct {
	mu   sync.Mutex
	byID map[bloodbank.EventID]correlation.Node
}

func (s *events) add(list ...bloodbank.Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range list {
		s.byID[e.EventID] = correlation.Node{ID: e.EventID, Parents: e.CorrelationIDs, Type: e.EventType, Timestamp: e.Timestamp, App: e.Source.App}
	}
}

func (s *events) lookup(_ context.Context, ids []bloodbank.EventID) ([]correlation.Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var nodes []correlation.Node
	for _, id := range ids {
		if n, ok := s.byID[id]; ok {
			nodes = append(nodes, n)
		}
	}
	return nodes, nil
}

// patient is the timeout of trackers whose Redis has no fault: on a machine that
// is busy enough, a second is not much.
const patient = 20 * time.Second

// openTest opens a tracker that is closed when the test ends.
func openTest(tb testing.TB, o Options) *Tracker {
	tb.Helper()
	if o.Timeout == 0 {
		o.Timeout = patient
	}
	t, err := Open(context.WithoutCancel(tb.Context()), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := t.Close(); err != nil {
			tb.Error(err)
		}
	})
	return t
}
