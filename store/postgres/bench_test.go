package postgres

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/store"
)

// sample makes an event as voice sessions produce them: about 700 bytes, and
// forty words from a vocabulary in which some are much more common than others.
func sample(tb testing.TB, i int, parents ...bloodbank.EventID) store.Incoming {
	tb.Helper()
	id, err := bloodbank.NewEventID()
	if err != nil {
		tb.Fatal(err)
	}
	text := ""
	for w := range 32 {
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

// samples have up to two parents each, among themselves.
func samples(tb testing.TB, first, n int) []store.Incoming {
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
		events = append(events, sample(tb, first+i, parents...))
	}
	return events
}

// BenchmarkAppend reports events per second, with edges and search text, through
// to the disk. A batch of 1 is "one transaction per event". "waiting" keeps
// both turns busy, as a recorder does that reads ahead.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1, 100, 500} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := openTest(b, Options{})
			events := 0
			for b.Loop() {
				b.StopTimer()
				batch := samples(b, events, size)
				events += size
				b.StartTimer()
				if _, err := s.Append(b.Context(), store.Batch{Events: batch}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
		})
	}
	b.Run("500/two at once", func(b *testing.B) {
		s := openTest(b, Options{})
		batches := make([][]store.Incoming, b.N)
		for i := range batches {
			batches[i] = samples(b, i*500, 500)
		}
		b.ResetTimer()
		errs := make(chan error, 2)
		for half := range 2 {
			go func() {
				var err error
				for i := half; i < len(batches) && err == nil; i += 2 {
					_, err = s.Append(b.Context(), store.Batch{Events: batches[i]})
				}
				errs <- err
			}()
		}
		for range 2 {
			if err := <-errs; err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(500*b.N)/b.Elapsed().Seconds(), "events/s")
	})
}

func mustStore(tb testing.TB, s *Store, events []store.Incoming) {
	tb.Helper()
	for part := range slices.Chunk(events, 500) {
		if _, err := s.Append(tb.Context(), store.Batch{Events: part}); err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkChain walks a line of 1,000 and a tree of 1,023 events that lie
// among 20,000 others.
func BenchmarkChain(b *testing.B) {
	s := openTest(b, Options{})
	mustStore(b, s, samples(b, 0, 20_000))
	var line, tree []store.Incoming
	for i := range 1023 {
		var above, before []bloodbank.EventID
		if i > 0 {
			above, before = append(above, tree[(i-1)/2].Envelope.EventID), append(before, line[i-1].Envelope.EventID)
		}
		tree, line = append(tree, sample(b, i, above...)), append(line, sample(b, i, before...))
	}
	line = line[:1000]
	mustStore(b, s, slices.Concat(line, tree))
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

// BenchmarkQuery asks for a page of 100 of 50,000 events.
func BenchmarkQuery(b *testing.B) {
	s := openTest(b, Options{})
	for i := range 100 {
		mustStore(b, s, samples(b, i*500, 500))
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
