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

// largeRuns is how often each question is asked, each time about something else.
const largeRuns = 40

// LargeStore is a store with everything that the query side asks for.
type LargeStore interface {
	store.Store
	store.Outliner
	store.Summarizer
	store.Sessions
	correlation.Tracker
}

// FillLarge stores n events like those of an installation that has run for long:
// voice sessions of fifty events, agents, projects, a failure in a thousand, and
// chains of a thousand. It returns the bytes of their JSON.
func FillLarge(b *testing.B, s store.Store, n int) (bytes int64) {
	b.Helper()
	const size = 1000
	for first := 0; first < n; first += size {
		batch := make([]store.Incoming, 0, size)
		for i := first; i < min(n, first+size); i++ {
			var parents []bloodbank.EventID
			if len(batch) > 0 { // a line with shortcuts, as long as the batch
				parents = append(parents, batch[len(batch)-1].Envelope.EventID)
			}
			if len(batch)%5 == 4 {
				parents = append(parents, batch[len(batch)-3].Envelope.EventID)
			}
			e := Sample(b, i, parents...).Envelope
			if i%1000 == 7 {
				e.EventType = "transcription.voice.failed"
			}
			if i%4 == 0 {
				name := fmt.Sprintf("agent%d", i%30)
				e.AgentContext = &bloodbank.AgentContext{Type: bloodbank.AgentClaudeCode, Name: &name}
			}
			switch i % 50 {
			case 0:
				e.EventType = bloodbank.TypeSessionOpened
			case 49:
				e.EventType = bloodbank.TypeSessionClosed
			}
			raw, err := e.AppendJSON(nil)
			if err != nil {
				b.Fatal(err)
			}
			bytes += int64(len(raw))
			batch = append(batch, store.Incoming{Envelope: e, Raw: raw})
		}
		if _, err := s.Append(context.WithoutCancel(b.Context()), store.Batch{Events: batch}); err != nil {
			b.Fatal(err)
		}
	}
	return bytes
}

// Large asks a store of FillLarge everything, and reports the 95th percentile of
// the slowest question of each kind, in milliseconds.
func Large(b *testing.B, s LargeStore, n int) {
	b.Helper()
	pages := func(filters ...func(i int) string) (worst float64) {
		slowest := ""
		for _, filter := range filters {
			took := percentile(b, func(i int) {
				if _, err := s.Query(b.Context(), store.Query{Filter: parse(b, filter(i))}); err != nil {
					b.Fatal(err)
				}
			})
			if took > worst {
				worst, slowest = took, filter(3)
			}
		}
		b.Logf("the slowest page is that of %s", slowest)
		return worst
	}
	fixed := func(text string) func(int) string { return func(int) string { return text } }
	some, err := s.After(b.Context(), int64(n/2), 500)
	if err != nil {
		b.Fatal(err)
	}
	id := func(i int) string { return some[i*7].Envelope.EventID.String() }
	at := func(i int) string { return some[i].Envelope.Timestamp.Format(time.RFC3339Nano) }
	b.ReportMetric(pages(
		fixed(""), func(i int) string { return "since:" + at(i) }, func(i int) string { return "until:" + at(i) },
		func(i int) string { return fmt.Sprintf("type:transcription.voice.kind%d", 1+i%11) },
		func(i int) string { return fmt.Sprintf("type:*.kind%d,*.kind%d", 1+i%11, 1+(i+5)%11) },
		fixed("topic:transcription.voice.#"), fixed("type:transcription.voice.failed"), fixed("is:failed"),
		func(i int) string { return fmt.Sprintf("session:session-%d", (i*997)%max(n/50, 1)) },
		func(i int) string {
			return fmt.Sprintf("session:session-%d type:transcription.session.*", (i*997)%max(n/50, 1))
		},
		fixed("project:bloodbank"), func(i int) string { return fmt.Sprintf("app:app%d", i%5) }, func(i int) string { return fmt.Sprintf("agent:agent%d", i%15*2) },
		fixed("host:workstation has:parents"), fixed("source:manual -app:app1"),
		func(i int) string { return "id:" + id(i) }, func(i int) string { return "parent:" + id(i) },
		func(i int) string { return fmt.Sprintf("app:app%d type:*.kind%d until:%s", i%5, 1+i%11, at(i)) },
	), "indexed-ms")
	b.ReportMetric(pages(
		fixed("word0"), func(i int) string { return fmt.Sprintf("word%d", 19000+i) }, func(i int) string { return fmt.Sprintf("word%d word%d", i, 15000+i) },
		func(i int) string { return fmt.Sprintf(`"word0 word%d"`, i) }, fixed("word199*"), fixed("nowhere"), func(i int) string { return fmt.Sprintf("word%d app:app%d", i*100, i%5) },
	), "text-ms")
	b.ReportMetric(traces(b, s, some), "trace-ms")
	b.ReportMetric(percentile(b, func(i int) {
		f := parse(b, []string{"", "app:app1", "type:*.kind3", "session:session-7"}[i%4])
		if _, err := s.Facets(b.Context(), store.FacetQuery{Filter: f, Keys: []store.Field{store.FieldType, store.FieldApp, store.FieldAgent}}); err != nil {
			b.Fatal(err)
		}
	}), "facets-ms")
	b.ReportMetric(percentile(b, func(i int) {
		if _, err := s.Histogram(b.Context(), store.HistogramQuery{Filter: parse(b, []string{"", "app:app1", "type:transcription.voice.kind3"}[i%3])}); err != nil {
			b.Fatal(err)
		}
	}), "histogram-ms")
	b.ReportMetric(percentile(b, func(i int) {
		q := store.SessionQuery{Now: some[0].Envelope.Timestamp, State: []store.SessionState{"", store.SessionEnded, store.SessionLive}[i%3]}
		if _, err := s.Sessions(b.Context(), q); err != nil {
			b.Fatal(err)
		}
	}), "sessions-ms")
}

// traces draws graphs of a thousand events, as GET /events/{id}/graph does.
func traces(b *testing.B, s LargeStore, some []store.Event) float64 {
	smallest := 1 << 30
	took := percentile(b, func(i int) {
		start := some[i*7].Envelope.EventID
		var ids []bloodbank.EventID
		for _, d := range []correlation.Direction{correlation.Ancestors, correlation.Descendants} {
			chain, err := s.Chain(b.Context(), start, d, correlation.Limits{MaxDepth: 10_000, MaxNodes: 3000})
			if err != nil {
				b.Fatal(err)
			}
			for _, n := range chain.Nodes {
				if n.ID != start || d == correlation.Ancestors {
					ids = append(ids, n.ID)
				}
			}
		}
		outlines, err := s.Outlines(b.Context(), ids)
		if err != nil || len(outlines) != len(ids) {
			b.Fatal(len(outlines), err)
		}
		for i := range outlines {
			if _, err := bloodbank.DecodeEnvelope(outlines[i].Raw); err != nil {
				b.Fatal(err)
			}
		}
		smallest = min(smallest, len(ids))
	})
	b.Logf("graphs have %d events or more", smallest)
	return took
}

// percentile is the 95th, in milliseconds, after one run that does not count.
func percentile(b *testing.B, ask func(i int)) float64 {
	b.Helper()
	ask(0)
	took := make([]float64, largeRuns)
	for i := range took {
		began := time.Now()
		ask(i)
		took[i] = float64(time.Since(began).Microseconds()) / 1000
	}
	slices.Sort(took)
	return took[largeRuns*95/100-1]
}
