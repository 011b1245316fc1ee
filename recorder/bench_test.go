package recorder_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus/jetstream"
	"github.com/33god/bloodbank/dispatch"
	"github.com/33god/bloodbank/gateway"
	"github.com/33god/bloodbank/live"
	"github.com/33god/bloodbank/recorder"
	"github.com/33god/bloodbank/schema"
	"github.com/33god/bloodbank/store/sqlite"
	"github.com/33god/bloodbank/wal"
)

// BenchmarkPipeline measures the whole way in one process: accepted one by one
// by 64 callers, checked, fsynced, dispatched, recorded and seen by a watcher.
func BenchmarkPipeline(b *testing.B) {
	for _, sessions := range []int{1000, 1} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			const n = 30_000
			var total time.Duration
			for b.Loop() {
				total += pipelineOnce(b, n, sessions)
			}
			b.ReportMetric(float64(n*b.N)/total.Seconds(), "events/s")
		})
	}
}

func pipelineOnce(b *testing.B, n, sessions int) time.Duration {
	ctx, dir := b.Context(), b.TempDir()
	log, err := wal.Open(ctx, wal.Options{Dir: filepath.Join(dir, "wal")})
	must(b, err)
	deadLog, err := wal.Open(ctx, wal.Options{Dir: filepath.Join(dir, "dead"), SegmentSize: 1 << 20})
	must(b, err)
	dead, err := dispatch.OpenDeadLetters(ctx, deadLog)
	must(b, err)
	js, err := jetstream.Open(ctx, jetstream.Options{Dir: filepath.Join(dir, "bus")})
	must(b, err)
	db, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(dir, "events.db")})
	must(b, err)
	hub := live.New(live.Options{Store: db})
	must(b, hub.Start(ctx))
	rec := recorder.New(recorder.Options{Subscriber: js, Store: db, Committed: hub.Wake})
	must(b, rec.Start(ctx))
	d, err := dispatch.New(dispatch.Options{Log: log, Publisher: js, Dead: dead})
	must(b, err)
	must(b, d.Start(ctx))
	schemas, err := schema.Open(ctx, schema.Options{})
	must(b, err)
	g := gateway.New(gateway.Options{Log: log, Schemas: schemas, Archive: db})

	watcher := hub.Watch(-1)
	begin := time.Now()
	accept(b, g, n, sessions)
	for seen := 0; seen < n; {
		events, err := watcher.Next(ctx)
		must(b, err)
		seen += len(events)
	}
	took := time.Since(begin)
	watcher.Close()
	must(b, errors.Join(d.Stop(ctx), rec.Stop(ctx), hub.Stop(ctx), js.Close(ctx), db.Close(), log.Close(), deadLog.Close()))
	return took
}

func accept(b *testing.B, g *gateway.Gateway, n, sessions int) {
	payloads := make([][]byte, sessions)
	for i := range payloads {
		payloads[i] = fmt.Appendf(nil, `{"text":"%s","timestamp":"2026-01-27T10:00:00Z","source":"whisperlivekit","session_id":"0198c0de-0000-7000-8000-%012d","audio_metadata":{"duration_seconds":1.5,"sample_rate":16000}}`,
			strings.Repeat("word ", 40), i)
	}
	var wg sync.WaitGroup
	for caller := range 64 {
		wg.Go(func() {
			for i := caller; i < n; i += 64 {
				_, err := g.Accept(context.WithoutCancel(b.Context()), gateway.Request{Envelope: bloodbank.Envelope{
					EventType: bloodbank.TypeVoiceCompleted, Payload: payloads[i%sessions],
				}})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
