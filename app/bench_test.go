package app

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/bus/jetstream"
	"github.com/33god/bloodbank/config"
	"github.com/33god/bloodbank/gateway"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlite"
)

// startApp starts a server on a free port with its data in a folder of the test.
func startApp(tb testing.TB) *App {
	tb.Helper()
	cfg, _, err := config.Load(config.Sources{
		DotEnvPath: config.None, FilePath: config.None,
		Flags: map[string]string{"listen": "127.0.0.1:0", "data_dir": tb.TempDir(), "log.level": "error", "voice.workers": "1"},
	})
	if err != nil {
		tb.Fatal(err)
	}
	a := New(cfg, "test", io.Discard)
	if err := a.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := a.Stop(context.WithoutCancel(tb.Context())); err != nil {
			tb.Error(err)
		}
	})
	return a
}

// waitLimit bounds what tests wait for.
const waitLimit = 30 * time.Second

// benchPayload makes an event of about 700 bytes on the wire.
func benchPayload() json.RawMessage {
	return json.RawMessage(`{"provider":"anthropic","model":"opus","prompt":"the meeting starts at ten in the morning and we ` +
		`need to talk about the budget before the children play in the garden, there is a problem with the server that I would ` +
		`like to understand first: why does the queue grow at night, and who restarts the consumer?","project":"33god",` +
		`"working_dir":"~/code/bloodbank","domain":"ops","tags":["voice","evening","kitchen"]}`)
}

func benchRequest() gateway.Request {
	return gateway.Request{Envelope: bloodbank.Envelope{
		EventType: "llm.prompt", Payload: benchPayload(),
		Source: bloodbank.Source{Host: "bench", Type: bloodbank.SourceManual, App: "bench"},
	}}
}

// acceptAll has n events accepted by many producers at once.
func acceptAll(tb testing.TB, a *App, n, producers int) {
	tb.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range producers {
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				if _, err := a.gateway.Accept(tb.Context(), benchRequest()); err != nil {
					tb.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// awaitStored waits until the store's sequence has reached last.
func awaitStored(tb testing.TB, a *App, last int64) {
	tb.Helper()
	w := a.live.Watch(last - 1)
	defer w.Close()
	for {
		at, err := a.store.Last(tb.Context())
		if err != nil {
			tb.Fatal(err)
		}
		if at >= last {
			return
		}
		if _, err := w.Next(tb.Context()); err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkPipeline is accept → stored through the log, embedded JetStream and
// SQLite, with 64 producers that do not wait; the time ends with the last event
// in the store.
func BenchmarkPipeline(b *testing.B) {
	a := startApp(b)
	b.ResetTimer()
	acceptAll(b, a, b.N, 64)
	accepted := b.Elapsed()
	awaitStored(b, a, int64(b.N))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "stored/s")
	b.ReportMetric(float64(b.N)/accepted.Seconds(), "accepted/s")
}

// BenchmarkPipelineNaive is what the bar compares with: JetStream that syncs
// each message, and one transaction for each event.
func BenchmarkPipelineNaive(b *testing.B) {
	js, err := jetstream.Open(b.Context(), jetstream.Options{Dir: b.TempDir(), SyncAlways: true})
	if err != nil {
		b.Fatal(err)
	}
	db, err := sqlite.Open(b.Context(), sqlite.Options{Path: b.TempDir() + "/events.db"})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithCancel(b.Context())
	var consumer sync.WaitGroup
	var stored atomic.Int64
	all := make(chan struct{})
	consumer.Go(func() {
		err := js.Consume(ctx, bus.Consumer{Group: "naive", MaxBatch: 1}, func(ctx context.Context, ds []bus.Delivery) error {
			for _, d := range ds {
				e, err := bloodbank.DecodeEnvelope(d.Data)
				if err != nil {
					return err
				}
				if _, err := db.Append(ctx, store.Batch{Events: []store.Incoming{{Envelope: e, Raw: d.Data}}}); err != nil {
					return err
				}
				if stored.Add(1) == int64(b.N) {
					close(all)
				}
			}
			return nil
		})
		if err != nil {
			b.Error(err)
		}
	})
	b.ResetTimer()
	naivePublish(b, js)
	<-all
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "stored/s")
	cancel()
	consumer.Wait()
	if err := js.Close(context.WithoutCancel(ctx)); err != nil {
		b.Error(err)
	}
}

func naivePublish(b *testing.B, js *jetstream.Bus) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				e := benchRequest().Envelope
				e.EventID, _ = bloodbank.NewEventID()
				e.Timestamp, e.Version = time.Now(), bloodbank.Version
				raw, err := e.AppendJSON(nil)
				if err != nil {
					b.Error(err)
					return
				}
				confirmed := make(chan error, 1)
				err = js.Publish(b.Context(), bus.Message{ID: e.EventID, Type: e.EventType, Data: raw}, func(err error) { confirmed <- err })
				if err == nil {
					err = <-confirmed
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkLatency is accept → stored at a steady 500 events a second, once the
// log has made its files ready, which a new server does in its first second.
func BenchmarkLatency(b *testing.B) {
	a := startApp(b)
	if err := errors.Join(a.wal.Settle(b.Context()), a.deadLog.Settle(b.Context())); err != nil {
		b.Fatal(err)
	}
	took := make([]time.Duration, b.N)
	var waiting sync.WaitGroup
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	b.ResetTimer()
	for i := range b.N {
		<-tick.C
		waiting.Go(func() {
			began := time.Now()
			r := benchRequest()
			r.Ack = bloodbank.AckStored
			receipt, err := a.gateway.Accept(b.Context(), r)
			if err != nil || receipt.Ack != bloodbank.AckStored {
				b.Errorf("%v, reached %q", err, receipt.Ack)
			}
			took[i] = time.Since(began)
		})
	}
	waiting.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkMemory drives many events through and reports how the heap stood half
// way and at the end, after a collection each time.
func BenchmarkMemory(b *testing.B) {
	a := startApp(b)
	acceptAll(b, a, b.N/2, 64)
	awaitStored(b, a, int64(b.N/2))
	half := heap()
	acceptAll(b, a, b.N-b.N/2, 64)
	awaitStored(b, a, int64(b.N))
	b.ReportMetric(half, "half-MiB")
	b.ReportMetric(heap(), "end-MiB")
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}
