package postgres

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/bus/jetstream"
	"github.com/33god/bloodbank/internal/testenv"
	"github.com/33god/bloodbank/recorder"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/storetest"
)

// BenchmarkRecorder compares the whole way from the bus into the tables (fetched,
// decoded, indexed, stored, acknowledged) with one caller who appends the same
// events, decoded before, in batches of the same size. They take turns on one
// server, so that the machine's moods strike both.
func BenchmarkRecorder(b *testing.B) {
	const n, size, rounds = 10_000, 500, 9
	server := testenv.PrivatePostgres(b)
	var alone, whole []time.Duration
	for b.Loop() {
		for round := range rounds {
			events := make([]store.Incoming, 0, n)
			for i := 0; i < n; i += size {
				events = append(events, storetest.Samples(b, round*n+i, size)...)
			}
			for i := range 2 {
				server.Exec("DROP SCHEMA IF EXISTS bloodbank CASCADE")
				server.Exec("CHECKPOINT")
				if i == round%2 {
					alone = append(alone, insertAlone(b, server.URL(), events, size))
				} else {
					whole = append(whole, record(b, server.URL(), events, size))
				}
			}
		}
	}
	ratios := make([]float64, len(whole))
	for i := range whole {
		ratios[i] = alone[i].Seconds() / whole[i].Seconds()
	}
	b.ReportMetric(n/median(whole).Seconds(), "stored/s")
	b.ReportMetric(n/median(alone).Seconds(), "alone/s")
	b.ReportMetric(median(ratios), "stored÷alone")
	b.Log(ratios)
}

func median[T cmp.Ordered](all []T) T { return slices.Sorted(slices.Values(all))[len(all)/2] }

func insertAlone(b *testing.B, url string, events []store.Incoming, size int) time.Duration {
	b.Helper()
	s, err := Open(b.Context(), Options{URL: url})
	must(b, err)
	begin := time.Now()
	for part := range slices.Chunk(events, size) {
		_, err := s.Append(b.Context(), store.Batch{Events: part})
		must(b, err)
	}
	took := time.Since(begin)
	must(b, s.Close())
	return took
}

func record(b *testing.B, url string, events []store.Incoming, size int) time.Duration {
	b.Helper()
	ctx := b.Context()
	s, err := Open(ctx, Options{URL: url})
	must(b, err)
	js, err := jetstream.Open(ctx, jetstream.Options{Dir: b.TempDir()})
	must(b, err)
	publish(b, js, events)
	done := make(chan struct{})
	r := recorder.New(recorder.Options{Subscriber: js, Store: s, MaxBatch: size, Committed: func(last int64) {
		if last == int64(len(events)) {
			close(done)
		}
	}})
	begin := time.Now()
	must(b, r.Start(ctx))
	select {
	case <-done:
	case <-time.After(5 * time.Minute):
		b.Fatal("the recorder did not come to the end")
	}
	took := time.Since(begin)
	must(b, errors.Join(r.Stop(ctx), js.Close(ctx), s.Close()))
	return took
}

func publish(b *testing.B, js bus.Publisher, events []store.Incoming) {
	b.Helper()
	var wg sync.WaitGroup
	for _, e := range events {
		wg.Add(1)
		must(b, js.Publish(context.WithoutCancel(b.Context()), bus.Message{ID: e.Envelope.EventID, Type: e.Envelope.EventType, Data: e.Raw}, func(err error) {
			if err != nil {
				b.Error(err)
			}
			wg.Done()
		}))
	}
	wg.Wait()
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
