package postgres

import (
	"context"
	"testing"

	"github.com/33god/bloodbank/correlation/correlationtest"
	"github.com/33god/bloodbank/internal/testenv"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/storetest"
)

func TestStoreSuite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) (store.Store, func() store.Store) {
		url := testenv.Postgres(t).URL()
		s := openTest(t, Options{URL: url})
		return s, func() store.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openTest(t, Options{URL: url})
			return s
		}
	})
}

func TestCorrelationSuite(t *testing.T) {
	t.Parallel()
	correlationtest.Run(t, func(t *testing.T) correlationtest.Subject {
		s := openTest(t, Options{})
		return correlationtest.Subject{Tracker: s, Add: storetest.Adder(s)}
	})
}

// openTest opens a store, in a database of its own unless one is named, closed
// when the test ends.
func openTest(tb testing.TB, o Options) *Store {
	tb.Helper()
	if o.URL == "" {
		o.URL = testenv.Postgres(tb).URL()
	}
	s, err := Open(context.WithoutCancel(tb.Context()), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}
