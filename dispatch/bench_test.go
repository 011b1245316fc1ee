package dispatch

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/bus/jetstream"
	"github.com/33god/bloodbank/wal"
)

// yes is a bus that confirms at once and keeps nothing.
type yes struct{}

func (yes) Publish(_ context.Context, _ bus.Message, done func(error)) error { done(nil); return nil }
func (yes) Check(context.Context) error                                      { return nil }
func (yes) Features() bus.Features                                           { return bus.Features{Name: "yes"} }
func (yes) Close(context.Context) error                                      { return nil }

// record is a spoken sentence of some 750 bytes.
func record(tb testing.TB, session string) []byte {
	tb.Helper()
	id, err := bloodbank.NewEventID()
	if err != nil {
		tb.Fatal(err)
	}
	e := bloodbank.Envelope{
		EventID: id, EventType: bloodbank.TypeVoiceCompleted, Timestamp: time.Now(), Version: bloodbank.Version,
		Source: bloodbank.Source{Host: "box", Type: bloodbank.SourceManual, App: "bb"}, CorrelationIDs: []bloodbank.EventID{eventID(1)},
		Payload: []byte(`{"text":"` + strings.Repeat("word ", 80) + `","timestamp":"2026-01-27T10:00:00Z","source":"whisperlivekit",` +
			`"session_id":"` + session + `","audio_metadata":{"duration_seconds":1.5,"sample_rate":16000}}`),
	}
	data, err := e.AppendJSON(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// BenchmarkDispatch measures the way from the log to the bus: with a bus that
// costs nothing, with the embedded one, with many sessions and with one. The
// bare rows are the embedded bus without dispatch.
func BenchmarkDispatch(b *testing.B) {
	const n = 20_000
	for _, sessions := range []int{1000, 1} {
		records := make([][]byte, n)
		for i := range records {
			records[i] = record(b, fmt.Sprintf("session-%d", i%sessions))
		}
		for _, kind := range []string{"no bus", "jetstream", "bare jetstream"} {
			b.Run(fmt.Sprintf("%s/sessions=%d", kind, sessions), func(b *testing.B) {
				var total time.Duration
				for b.Loop() {
					total += dispatchOnce(b, kind, records)
				}
				b.ReportMetric(float64(n*b.N)/total.Seconds(), "events/s")
			})
		}
	}
}

func dispatchOnce(b *testing.B, kind string, records [][]byte) time.Duration {
	ctx, dir := b.Context(), b.TempDir()
	var p bus.Publisher = yes{}
	if kind != "no bus" {
		js, err := jetstream.Open(ctx, jetstream.Options{Dir: filepath.Join(dir, "bus")})
		check(b, err)
		p = js
	}
	defer func() { check(b, p.Close(ctx)) }()
	if kind == "bare jetstream" {
		return bare(b, p, records)
	}
	log, err := wal.Open(ctx, wal.Options{Dir: filepath.Join(dir, "wal")})
	check(b, err)
	deadLog, err := wal.Open(ctx, wal.Options{Dir: filepath.Join(dir, "dead"), SegmentSize: 1 << 20})
	check(b, err)
	dead, err := OpenDeadLetters(ctx, deadLog)
	check(b, err)
	for i := 0; i < len(records); i += 500 {
		_, err := log.AppendBatch(ctx, records[i:i+500])
		check(b, err)
	}
	d, err := New(Options{Log: log, Publisher: p, Dead: dead})
	check(b, err)
	begin := time.Now()
	check(b, d.Start(ctx))
	for seq := range uint64(len(records)) {
		check(b, d.Confirmed(ctx, seq+1))
	}
	took := time.Since(begin)
	check(b, d.Stop(ctx))
	check(b, log.Close())
	check(b, deadLog.Close())
	return took
}

// bare publishes without a dispatcher, as fast as the window allows.
func bare(b *testing.B, p bus.Publisher, records [][]byte) time.Duration {
	messages := make([]bus.Message, len(records))
	for i, r := range records {
		messages[i] = newMessage(wal.Record{Data: r}).bus
	}
	var open sync.WaitGroup
	open.Add(len(records))
	begin := time.Now()
	for _, m := range messages {
		check(b, p.Publish(b.Context(), m, func(err error) {
			if err != nil {
				b.Error(err)
			}
			open.Done()
		}))
	}
	open.Wait()
	return time.Since(begin)
}

func BenchmarkNewMessage(b *testing.B) {
	r := wal.Record{Seq: 1, Data: record(b, "session-7")}
	b.ReportAllocs()
	b.SetBytes(int64(len(r.Data)))
	for b.Loop() {
		if newMessage(r).refused != "" {
			b.Fatal("refused")
		}
	}
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
