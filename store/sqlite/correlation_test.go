package sqlite

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/33god/bloodbank/correlation/correlationtest"
	"github.com/33god/bloodbank/store/storetest"
)

func TestCorrelationSuite(t *testing.T) {
	t.Parallel()
	correlationtest.Run(t, func(t *testing.T) correlationtest.Subject {
		s := openTest(t, Options{})
		return correlationtest.Subject{Tracker: s, Add: storetest.Adder(s)}
	})
}

// openTest opens a store in a fresh folder, closed when the test ends.
func openTest(tb testing.TB, o Options) *Store {
	tb.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(tb.TempDir(), "events.db")
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
