package sqlfilter

import (
	"cmp"
	"slices"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// Drive returns the terms of a filter that an index decides which also knows the
// order of time: what is left of them is read from its newer end, as far as one
// likes. p is the plan of f.
func Drive(p *Plan, f store.Filter) (driving store.Filter) {
	var by []store.Field
	switch {
	case p.Session:
		by = []store.Field{store.FieldSession}
	case p.Project:
		by = []store.Field{store.FieldProject}
	case len(p.Types) == 1:
		by = []store.Field{store.FieldType, store.FieldTopic}
	}
	by = append(by, store.FieldSince, store.FieldUntil)
	for _, t := range f.Terms {
		if !t.Not && slices.Contains(by, t.Field) {
			driving.Terms = append(driving.Terms, t)
		}
	}
	return driving
}

// FacetColumn is the number of a name, or the flags, as an expression on e.
func FacetColumn(k store.Field) string {
	switch k {
	case store.FieldAgent:
		return "CASE WHEN e.agent <> 0 THEN e.agent ELSE e.agent_type END"
	case store.FieldIs:
		return "e.flags"
	}
	columns, _ := column(k)
	return columns[0]
}

// read visits candidates that Rest lets through, of the first
// [store.MaxCountRead]; scanned says how many there were, and complete that there
// are no more.
func (s Search[R]) read(visit func(*bloodbank.Envelope)) (scanned int64, complete bool, err error) {
	complete = true
	err = s.each(store.MaxLimit, func(r *R) bool {
		if scanned == store.MaxCountRead {
			complete = false
			return false
		}
		scanned++
		if e := s.Event(r); s.Rest.Match(&e.Envelope) {
			visit(&e.Envelope)
		}
		return true
	})
	return scanned, complete, err
}

// Facets counts values by reading events.
func (s Search[R]) Facets(q store.FacetQuery) (store.Facets, error) {
	counts := make([]map[string]int64, len(q.Keys))
	for i := range counts {
		counts[i] = map[string]int64{}
	}
	var out store.Facets
	var err error
	out.Scanned, out.Complete, err = s.read(func(e *bloodbank.Envelope) {
		for i, k := range q.Keys {
			for _, value := range values(k, e) {
				counts[i][value]++
			}
		}
	})
	if err != nil {
		return store.Facets{}, err
	}
	out.Facets = map[store.Field][]store.ValueCount{}
	for i, k := range q.Keys {
		out.Facets[k] = Most(counts[i], q.Limit)
	}
	return out, nil
}

// values are what an event counts for, nothing where it has no value.
func values(k store.Field, e *bloodbank.Envelope) []string {
	text := ""
	switch k {
	case store.FieldType:
		text = string(e.EventType)
	case store.FieldApp:
		text = e.Source.App
	case store.FieldHost:
		text = e.Source.Host
	case store.FieldSource:
		text = string(e.Source.Type)
	case store.FieldAgent:
		if a := e.AgentContext; a != nil && a.Name != nil {
			text = *a.Name
		} else if a != nil {
			text = string(a.Type)
		}
	case store.FieldSession:
		text = e.SessionID()
	case store.FieldProject:
		text = new(Indexer).projectOf(e)
	case store.FieldIs:
		return FlagNames(flagsOf(e))
	}
	if text == "" {
		return nil
	}
	return []string{text}
}

// projectOf reads the project as the column has it.
func (x *Indexer) projectOf(e *bloodbank.Envelope) string {
	x.Cut = func(word string) string { return word[:min(len(word), MaxWord)] }
	x.Read(e)
	return x.Project
}

// FlagNames are the words of the filter language for flags.
func FlagNames(flags int16) (names []string) {
	if flags&FlagFailed != 0 {
		names = append(names, "failed")
	}
	if flags&FlagReplayed != 0 {
		names = append(names, "replayed")
	}
	return names
}

// Most lists the most frequent values first, equal ones by name.
func Most(counts map[string]int64, limit int) []store.ValueCount {
	list := make([]store.ValueCount, 0, len(counts))
	for value, n := range counts {
		if value != "" {
			list = append(list, store.ValueCount{Value: value, Count: n})
		}
	}
	slices.SortFunc(list, func(a, b store.ValueCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value, b.Value))
	})
	return list[:min(len(list), limit)]
}

// Histogram counts events by time by reading them.
func (s Search[R]) Histogram(q store.HistogramQuery) (store.Histogram, error) {
	var times []int64
	scanned, complete, err := s.read(func(e *bloodbank.Envelope) { times = append(times, e.Timestamp.UnixMicro()) })
	if err != nil {
		return store.Histogram{}, err
	}
	var oldest, newest int64
	if len(times) > 0 {
		oldest, newest = slices.Min(times), slices.Max(times)
	}
	h, low, step := NewHistogram(q, oldest, newest, len(times) > 0)
	h.Scanned, h.Complete = scanned, complete
	for _, t := range times {
		h.Counts[(t-low)/step]++
	}
	return h, nil
}

// NewHistogram is an empty histogram for events from oldest to newest, in Unix
// microseconds, if there are any. Bucket (t - low) / step is that of time t.
func NewHistogram(q store.HistogramQuery, oldest, newest int64, some bool) (h store.Histogram, low, step int64) {
	h.Counts = make([]int64, q.Buckets)
	h.From, h.To = q.Filter.Span()
	if !some {
		return h, 0, 1
	}
	if h.From.IsZero() {
		h.From = time.UnixMicro(oldest).UTC()
	}
	if h.To.IsZero() {
		h.To = time.UnixMicro(newest).UTC()
	}
	low = h.From.UnixMicro()
	step = (h.To.UnixMicro()-low)/int64(q.Buckets) + 1
	h.Step = step
	return h, low, step
}
