package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/33god/bloodbank"
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
