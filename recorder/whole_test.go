package recorder_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/bus/jetstream"
	"github.com/33god/bloodbank/recorder"
	"github.com/33god/bloodbank/store/sqlite"
)

// The recorder between the real embedded bus and the real store: everything
// published is stored once, across a restart, duplicates and rejects included.
func TestRealBusAndStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	b, err := jetstream.Open(ctx, jetstream.Options{Dir: filepath.Join(dir, "bus")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}()
	s, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(dir, "events.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	var ids []bloodbank.EventID
	for round := range 2 {
		r := recorder.New(recorder.Options{Subscriber: b, Store: s, MaxBatch: 50})
		if err := r.Start(ctx); err != nil {
			t.Fatal(err)
		}
		for range 200 {
			d := event(t)
			ids = append(ids, d.ID)
			publish(t, ctx, b, d.Message)
		}
		odd := event(t).Message
		odd.Data = []byte(`no event`)
		publish(t, ctx, b, odd)
		for _, id := range ids {
			if err := r.Stored(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		if status := r.Status(ctx); status.Stored != 200 || status.Fault != "" {
			t.Errorf("round %d: %+v", round, status)
		}
	}
	if last, err := s.Last(ctx); err != nil || last < int64(len(ids)) {
		t.Errorf("last %d, %v", last, err)
	}
}

func publish(t *testing.T, ctx context.Context, b *jetstream.Bus, m bus.Message) {
	t.Helper()
	if err := b.Publish(ctx, m, func(err error) {
		if err != nil {
			t.Errorf("not confirmed: %v", err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}
