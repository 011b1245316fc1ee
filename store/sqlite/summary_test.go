package sqlite

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/storetest"
)

// A summary costs no more than its sample, however rare what the filter wants is.
func TestSampleHasAnEnd(t *testing.T) {
	t.Parallel()
	s := openTest(t, Options{})
	storetest.Put(t, s, storetest.Samples(t, 0, 1000))
	for text, want := range map[string]struct{ scanned, found int64 }{
		"": {100, 100}, "app:app1": {100, 20}, "type:*.kind3 app:app1,app2": {84, 33}, "since:2026-01-27T07:46:40.950Z host:workstation": {50, 50}, "app:none": {0, 0},
	} {
		f, err := store.ParseFilter(text, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		err = s.snapshot(t.Context(), "test", func(ctx context.Context, tx *sql.Tx) error {
			from, err := newSample(ctx, tx, f)
			if err != nil || from.Never {
				return err
			}
			from.limit = 100
			n, complete, err := from.scanned(ctx, tx)
			if err != nil || n != want.scanned || complete != (n < 100) {
				t.Errorf("%q: %d scanned, %v, %v", text, n, complete, err)
			}
			h, err := histogram(ctx, tx, from, store.HistogramQuery{Filter: f, Buckets: 1})
			if err != nil || h.Counts[0] != want.found {
				t.Errorf("%q: found %v, %v", text, h.Counts, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
