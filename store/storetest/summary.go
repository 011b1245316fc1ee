package storetest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

func (k *kit) summarizer() store.Summarizer {
	k.Helper()
	s, ok := k.Store.(store.Summarizer)
	if !ok {
		k.Skipf("SKIPPED: %T summarizes nothing", k.Store)
	}
	return s
}

// facetValue is what an event counts for, "" for nothing.
func facetValue(f store.Field, e *bloodbank.Envelope) string {
	switch f {
	case store.FieldType:
		return string(e.EventType)
	case store.FieldApp:
		return e.Source.App
	case store.FieldHost:
		return e.Source.Host
	case store.FieldSource:
		return string(e.Source.Type)
	case store.FieldSession:
		return e.SessionID()
	case store.FieldAgent:
		if e.AgentContext == nil {
			return ""
		}
		if e.AgentContext.Name != nil {
			return *e.AgentContext.Name
		}
		return string(e.AgentContext.Type)
	case store.FieldProject:
		if strings.Contains(string(e.Payload), `"project":"p"`) {
			return "p"
		}
	case store.FieldIs:
		if !e.ReplayOf.IsZero() {
			return "replayed"
		}
		if strings.HasSuffix(string(e.EventType), ".failed") {
			return "failed"
		}
	}
	return ""
}

func testSummaries(t *testing.T, k *kit) {
	s := k.summarizer()
	ann := "Ann"
	k.add(k.events(600, func(i int, e *bloodbank.Envelope) {
		e.EventType = []bloodbank.EventType{"test.a.made", "test.b.made", "test.b.failed", "other.c.made"}[i%7%4]
		e.Source.App = []string{"", "app1", `it's "2" \`}[i%3]
		e.Source.Host = fmt.Sprintf("host%d", i%5)
		e.Payload = fmt.Appendf(nil, `{"n":%d,"session_id":"s%d","text":"word%d"}`, i, i%11, i%2)
		if i%4 == 0 {
			e.Payload = fmt.Appendf(nil, `{"n":%d,"project":"p","session_id":null}`, i)
		}
		switch i % 6 {
		case 1:
			e.AgentContext = &bloodbank.AgentContext{Type: bloodbank.AgentClaudeCode, Name: &ann}
		case 2:
			e.AgentContext = &bloodbank.AgentContext{Type: bloodbank.AgentClaudeCode}
		}
		if e.EventType == "other.c.made" {
			e.ReplayOf = newID(k)
		}
	})...)
	all := ReadAll(t, k.Store)
	for _, text := range []string{
		"", "type:test.b.made", "type:test.*", "-type:test.*", "session:s3", "session:s3,s4 app:app1", "project:p", "project:p type:test.a.made", "is:failed", "-is:failed",
		"app:app1", "app:nobody", "agent:ann agent:Ann", "agent:*", "host:host1 -app:app1", "has:parents", "has:agent", "id:" + all[7].Envelope.EventID.String(),
		"since:2026-01-27T10:05:00Z", "until:2026-01-27T10:05:00Z app:app1", "since:2026-01-27T10:02:00Z until:2026-01-27T10:04:00Z", "since:2026-01-27T10:02:00Z until:2026-01-27T10:01:00Z",
		"since:2026-01-28", "word1", "-word1 session:s3", `"word0" app:app1`, "payload.n:>500", "payload.n:>500 type:test.a.made",
	} {
		f := parse(t, text)
		k.sameFacets(s, all, f, text)
		k.sameHistogram(s, all, f, text)
	}
}

func (k *kit) sameFacets(s store.Summarizer, all []store.Event, f store.Filter, text string) {
	k.Helper()
	got, err := s.Facets(k.Context(), store.FacetQuery{Filter: f, Keys: append(store.FacetFields(), store.FieldType), Limit: 50})
	if err != nil || !got.Complete || len(got.Facets) != len(store.FacetFields()) {
		k.Fatalf("%q: %+v, %v", text, got, err)
	}
	found := int64(0)
	for _, key := range store.FacetFields() {
		want := map[string]int64{}
		found = 0
		for i := range all {
			if e := &all[i].Envelope; f.Match(e) {
				found++
				if v := facetValue(key, e); v != "" {
					want[v]++
				}
			}
		}
		have := map[string]int64{}
		for i, v := range got.Facets[key] {
			have[v.Value] = v.Count
			if i > 0 && v.Count > got.Facets[key][i-1].Count {
				k.Fatalf("%q: %s is not sorted: %v", text, key, got.Facets[key])
			}
		}
		if !maps.Equal(have, want) || len(have) != len(got.Facets[key]) || got.Facets[key] == nil {
			k.Fatalf("%q: %s is %v, want %v", text, key, got.Facets[key], want)
		}
	}
	if got.Scanned < found || got.Scanned > int64(len(all)) {
		k.Fatalf("%q: scanned %d of %d, found %d", text, got.Scanned, len(all), found)
	}
}

func (k *kit) sameHistogram(s store.Summarizer, all []store.Event, f store.Filter, text string) {
	k.Helper()
	for _, buckets := range []int{1, 7, 60} {
		h, err := s.Histogram(k.Context(), store.HistogramQuery{Filter: f, Buckets: buckets})
		if err != nil || !h.Complete || len(h.Counts) != buckets {
			k.Fatalf("%q: %+v, %v", text, h, err)
		}
		want := make([]int64, buckets)
		var oldest, newest time.Time
		for i := range all {
			if e := &all[i].Envelope; f.Match(e) {
				want[e.Timestamp.Sub(h.From).Microseconds()/h.Step]++
				if oldest.IsZero() {
					oldest = e.Timestamp
				}
				newest = e.Timestamp
			}
		}
		if since, until := f.Span(); !since.IsZero() {
			oldest = since
			if !until.IsZero() {
				newest = until
			}
		} else if !until.IsZero() {
			newest = until
		}
		if !slices.Equal(h.Counts, want) || !h.From.Equal(oldest) || !h.To.Equal(newest) {
			k.Fatalf("%q by %d: %+v, want %v from %s to %s", text, buckets, h, want, oldest, newest)
		}
	}
}

// summariesSoFar: where events must be read there is an end, and the answer says so.
// The store holds the events of testCountsSoFar.
func (k *kit) summariesSoFar() {
	k.Helper()
	s, t := k.summarizer(), k.T
	for text, scanned := range map[string]int64{"payload.n:<=600": store.MaxCountRead, "": 10_500, "app:suite": 10_500, "type:test.event.made": 10_500} {
		complete := scanned == 10_500
		facets, err := s.Facets(t.Context(), store.FacetQuery{Filter: parse(t, text), Keys: []store.Field{store.FieldApp}})
		if err != nil || facets.Scanned != scanned || facets.Complete != complete {
			t.Fatalf("%q: %+v, %v", text, facets, err)
		}
		h, err := s.Histogram(t.Context(), store.HistogramQuery{Filter: parse(t, text)})
		if err != nil || h.Scanned != scanned || h.Complete != complete || len(h.Counts) != store.DefaultBuckets {
			t.Fatalf("%q: %+v, %v", text, h, err)
		}
		want := int64(10_500)
		if !complete {
			want = 600 - (10_500 - store.MaxCountRead) // the newest are looked at
		}
		sum := int64(0)
		for _, n := range h.Counts {
			sum += n
		}
		if sum != want || facets.Facets[store.FieldApp][0] != (store.ValueCount{Value: "suite", Count: want}) {
			t.Fatalf("%q: %d, %+v; want %d", text, sum, facets.Facets, want)
		}
	}
}

func testSummaryBounds(t *testing.T, k *kit) {
	s := k.summarizer()
	h, err := s.Histogram(t.Context(), store.HistogramQuery{Buckets: 3})
	if err != nil || !reflect.DeepEqual(h, store.Histogram{Counts: []int64{0, 0, 0}, Complete: true}) {
		t.Fatalf("%+v, %v", h, err)
	}
	k.add(k.event(func(e *bloodbank.Envelope) { e.Timestamp = time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC) }),
		k.event(func(e *bloodbank.Envelope) { e.Timestamp = time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC) }))
	for _, n := range []int{1, 2, 1000} {
		h, err = s.Histogram(t.Context(), store.HistogramQuery{Buckets: n})
		if err != nil || h.Counts[0] == 0 || h.Counts[n-1] == 0 || h.From.Year() != 1 || h.To.Year() != 9999 {
			t.Fatalf("%v to %v, %v", h.From, h.To, err)
		}
	}
	for _, bad := range []store.FacetQuery{{}, {Keys: []store.Field{"text"}}, {Keys: []store.Field{store.FieldApp}, Limit: -1}, {Keys: []store.Field{store.FieldApp}, Limit: store.MaxFacets + 1}} {
		_, err := s.Facets(t.Context(), bad)
		k.code(err, bloodbank.CodeInvalid)
	}
	for _, n := range []int{-1, store.MaxBuckets + 1} {
		_, err := s.Histogram(t.Context(), store.HistogramQuery{Buckets: n})
		k.code(err, bloodbank.CodeInvalid)
	}
}
