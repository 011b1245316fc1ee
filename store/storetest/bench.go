package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/store"
)

// Sample makes an event as voice sessions produce them: about 700 bytes, and
// forty words from a vocabulary in which some are much more common than others.
func Sample(tb testing.TB, i int, parents ...bloodbank.EventID) store.Incoming {
	tb.Helper()
	text := ""
	for w := range 32 {
		n := (i*7919 + w*104729 + w*w*i) % 20000
		text += fmt.Sprintf("word%d ", n*n/20000)
	}
	e := bloodbank.Envelope{
		EventID:        newID(tb),
		EventType:      bloodbank.EventType(fmt.Sprintf("transcription.voice.kind%d", i%12)),
		Timestamp:      time.UnixMicro(1_769_500_000_000_000 + int64(i)*1000).UTC(),
		Version:        bloodbank.Version,
		Source:         bloodbank.Source{Host: "workstation", Type: bloodbank.SourceManual, App: fmt.Sprintf("app%d", i%5)},
		CorrelationIDs: parents,
		Payload: fmt.Appendf(nil, `{"session_id":"session-%d","project":"bloodbank","text":%q,"duration_ms":%d,"is_final":true,"confidence":0.93}`,
			i/50, text, i%9000),
	}
	raw, err := e.AppendJSON(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return store.Incoming{Envelope: e, Raw: raw}
}

// Samples have up to two parents each, among themselves.
func Samples(tb testing.TB, first, n int) []store.Incoming {
	tb.Helper()
	events := make([]store.Incoming, 0, n)
	for i := range n {
		var parents []bloodbank.EventID
		if i > 1 {
			parents = append(parents, events[i-1].Envelope.EventID)
			if i%2 == 0 {
				parents = append(parents, events[i-2].Envelope.EventID)
			}
		}
		events = append(events, Sample(tb, first+i, parents...))
	}
	return events
}

// Put appends events, 500 at a time.
func Put(tb testing.TB, s store.Store, events []store.Incoming) {
	tb.Helper()
	for part := range slices.Chunk(events, 500) {
		if _, err := s.Append(context.WithoutCancel(tb.Context()), store.Batch{Events: part}); err != nil {
			tb.Fatal(err)
		}
	}
}

// Adder makes a store the other end of correlationtest.Subject.
func Adder(s store.Store) func(ctx context.Context, events ...bloodbank.Envelope) error {
	return func(ctx context.Context, events ...bloodbank.Envelope) error {
		var batch store.Batch
		for _, e := range events {
			raw, err := e.AppendJSON(nil)
			if err != nil {
				return err
			}
			batch.Events = append(batch.Events, store.Incoming{Envelope: e, Raw: raw})
		}
		_, err := s.Append(ctx, batch)
		return err
	}
}

// Appending reports events per second in batches of a size, with edges and
// search text, through to the disk, and returns how many bytes of JSON it wrote.
func Appending(b *testing.B, s store.Store, size int) (bytes int) {
	events := 0
	for b.Loop() {
		b.StopTimer()
		batch := Samples(b, events, size)
		for _, e := range batch {
			bytes += len(e.Raw)
		}
		events += size
		b.StartTimer()
		if _, err := s.Append(b.Context(), store.Batch{Events: batch}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
	return bytes
}

// Chains walks a line of 1,000 and a tree of 1,023 events that lie among 20,000
// others.
func Chains(b *testing.B, s interface {
	store.Store
	correlation.Tracker
}) {
	Put(b, s, Samples(b, 0, 20_000))
	var line, tree []store.Incoming
	for i := range 1023 {
		var above, before []bloodbank.EventID
		if i > 0 {
			above, before = append(above, tree[(i-1)/2].Envelope.EventID), append(before, line[i-1].Envelope.EventID)
		}
		tree, line = append(tree, Sample(b, i, above...)), append(line, Sample(b, i, before...))
	}
	line = line[:1000]
	Put(b, s, slices.Concat(line, tree))
	for _, c := range []struct {
		name  string
		start store.Incoming
		d     correlation.Direction
		want  int
	}{
		{"line/ancestors", line[999], correlation.Ancestors, 1000},
		{"line/descendants", line[0], correlation.Descendants, 1000},
		{"tree/descendants", tree[0], correlation.Descendants, 1023},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				chain, err := s.Chain(b.Context(), c.start.Envelope.EventID, c.d, correlation.Limits{MaxDepth: 1000})
				if err != nil || len(chain.Nodes) != c.want {
					b.Fatal(len(chain.Nodes), err)
				}
			}
		})
	}
}

// Queries asks for pages of 100 of 50,000 events, and counts them.
func Queries(b *testing.B, s interface {
	store.Store
	store.Counter
}) {
	Put(b, s, Samples(b, 0, 50_000))
	for _, text := range []string{"", "session:session-7", "type:transcription.voice.kind3", "type:*.kind3,*.kind4", "word0", "word19001", `payload.duration_ms:>8000`, `payload.session_id:"session-7"`, "is:failed"} {
		f := parse(b, text)
		b.Run("q="+text, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Query(b.Context(), store.Query{Filter: f}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, text := range []string{"", "type:*.kind3,*.kind4", "app:app1", "word0"} {
		f := parse(b, text)
		b.Run("count="+text, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Count(b.Context(), f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Keeping measures what the ledger and retention cost on a store of 20,000
// events: to verify it, and to remove 200 of them in one transaction.
func Keeping(b *testing.B, s interface {
	store.Store
	store.Ledger
	store.Remover
}) {
	const size = 20_000
	Put(b, s, Samples(b, 0, size))
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			report, err := store.VerifyLedger(b.Context(), s, store.VerifyOptions{})
			if err != nil || !report.OK {
				b.Fatalf("%+v, %v", report, err)
			}
		}
		b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("remove 200", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			Put(b, s, Samples(b, 0, 400))
			heads, err := s.Heads(b.Context(), 0, 200)
			if err != nil {
				b.Fatal(err)
			}
			var sequences []int64
			for _, h := range heads {
				sequences = append(sequences, h.Sequence)
			}
			b.StartTimer()
			if r, err := s.Remove(b.Context(), sequences, "test"); err != nil || r.Events != 200 {
				b.Fatal(r.Events, err)
			}
		}
	})
}
