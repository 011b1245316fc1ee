package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/store"
)

// benchEvent makes an event as voice sessions produce them: about 700 bytes,
// two parents for every other one, forty words from a vocabulary.
func benchEvent(tb testing.TB, i int, parents ...bloodbank.EventID) store.Incoming {
	tb.Helper()
	id, err := bloodbank.NewEventID()
	if err != nil {
		tb.Fatal(err)
	}
	text := ""
	for w := range 32 {
		// Squared, so that some words are much more common than others.
		n := (i*7919 + w*104729 + w*w*i) % 20000
		text += fmt.Sprintf("word%d ", n*n/20000)
	}
	e := bloodbank.Envelope{
		EventID:        id,
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

func benchEvents(tb testing.TB, first, n int) []store.Incoming {
	events := make([]store.Incoming, 0, n)
	for i := range n {
		var parents []bloodbank.EventID
		if i > 1 {
			parents = append(parents, events[i-1].Envelope.EventID)
			if i%2 == 0 {
				parents = append(parents, events[i-2].Envelope.EventID)
			}
		}
		events = append(events, benchEvent(tb, first+i, parents...))
	}
	return events
}

// BenchmarkAppend reports events per second and the size of the file against
// the JSON. A batch of 1 is "one transaction per event".
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1, 100, 500} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "events.db")
			s, err := Open(b.Context(), Options{Path: path})
			if err != nil {
				b.Fatal(err)
			}
			bytes, events := 0, 0
			for b.Loop() {
				b.StopTimer()
				batch := benchEvents(b, events, size)
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
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(info.Size())/float64(bytes), "file/json")
			b.ReportMetric(float64(bytes)/float64(events), "B/event")
		})
	}
}

// BenchmarkChain walks a line of 1,000 and a tree of 1,023 events that lie
// among 20,000 others.
func BenchmarkChain(b *testing.B) {
	s := openTest(b, Options{})
	add := func(events []store.Incoming) {
		for chunk := range slices.Chunk(events, 500) {
			if _, err := s.Append(b.Context(), store.Batch{Events: chunk}); err != nil {
				b.Fatal(err)
			}
		}
	}
	add(benchEvents(b, 0, 20_000))
	var line, tree []store.Incoming
	for i := range 1023 {
		var above, before []bloodbank.EventID
		if i > 0 {
			above, before = append(above, tree[(i-1)/2].Envelope.EventID), append(before, line[i-1].Envelope.EventID)
		}
		tree, line = append(tree, benchEvent(b, i, above...)), append(line, benchEvent(b, i, before...))
	}
	line = line[:1000]
	add(line)
	add(tree)
	l := correlation.Limits{MaxDepth: 1000}
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
				chain, err := s.Chain(b.Context(), c.start.Envelope.EventID, c.d, l)
				if err != nil || len(chain.Nodes) != c.want {
					b.Fatal(len(chain.Nodes), err)
				}
			}
		})
	}
}

// BenchmarkQuery asks for a page of 100 of 50,000 events.
func BenchmarkQuery(b *testing.B) {
	s := openTest(b, Options{})
	for i := range 100 {
		if _, err := s.Append(b.Context(), store.Batch{Events: benchEvents(b, i*500, 500)}); err != nil {
			b.Fatal(err)
		}
	}
	for _, text := range []string{"", "session:session-7", "type:transcription.voice.kind3", "type:*.kind3,*.kind4", "word0", "word19001", `payload.duration_ms:>8000`, `payload.session_id:"session-7"`, "is:failed"} {
		f, err := store.ParseFilter(text, time.Now())
		if err != nil {
			b.Fatal(err)
		}
		b.Run("q="+text, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Query(b.Context(), store.Query{Filter: f}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
