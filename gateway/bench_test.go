package gateway

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/schema"
)

// noLog takes everything and keeps nothing.
type noLog struct{ next atomic.Uint64 }

func (l *noLog) Append(context.Context, []byte) (uint64, error) { return l.next.Add(1), nil }

func (l *noLog) AppendBatch(_ context.Context, records [][]byte) (uint64, error) {
	n := uint64(len(records))
	return l.next.Add(n) - n + 1, nil
}

// noSchemas accepts everything.
type noSchemas struct{}

func (noSchemas) Validate(bloodbank.EventType, []byte) error           { return nil }
func (noSchemas) ValidatePermissive(bloodbank.EventType, []byte) error { return nil }

// BenchmarkAccept measures what the gateway itself costs: a log and schemas that
// do nothing; then with the real schemas.
func BenchmarkAccept(b *testing.B) {
	payload := []byte(`{"text":"` + strings.Repeat("word ", 100) + `","timestamp":"2026-01-27T10:00:00Z","source":"whisperlivekit",` +
		`"session_id":"0198c0de-0000-7000-8000-000000000001","audio_metadata":{"duration_seconds":1.5,"sample_rate":16000}}`)
	registry, err := schema.Open(b.Context(), schema.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		schemas Schemas
		given   bool
		batch   int
	}{{"no schemas", noSchemas{}, false, 1}, {"id given", noSchemas{}, true, 1}, {"real schemas", registry, false, 1}, {"array of 100", noSchemas{}, false, 100}} {
		b.Run(c.name, func(b *testing.B) {
			g := New(Options{Log: &noLog{}, Schemas: c.schemas})
			requests := make([]Request, c.batch)
			for i := range requests {
				requests[i] = Request{Envelope: bloodbank.Envelope{EventType: bloodbank.TypeVoiceCompleted, Payload: payload}}
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if c.given {
					requests[0].Envelope.EventID = newID(b)
				}
				if _, err := g.AcceptAll(b.Context(), requests); err != nil {
					b.Fatal(err)
				}
				n += c.batch
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
