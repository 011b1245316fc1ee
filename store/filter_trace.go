package store

import (
	"slices"

	"github.com/33god/bloodbank"
)

// MaxTrace is how many events of a trace a filter knows by their ids, in each
// direction.
const MaxTrace = 3000

// Trace is what is known around the event of a FieldTrace value.
type Trace struct {
	// Up are the ids of its causes, stored or not; Down those of its effects.
	Up, Down map[bloodbank.EventID]bool
}

// Traces returns the events whose traces the filter is about. Before it is used on
// more than single events, [Filter.WithTrace] should say what is known of each:
// a filter is asked about one event at a time and knows no graph.
func (f Filter) Traces() (ids []bloodbank.EventID) {
	for _, t := range f.Terms {
		if t.Field != FieldTrace {
			continue
		}
		for _, v := range t.Values {
			if id, err := bloodbank.ParseEventID(v.Text); err == nil && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// WithTrace returns the filter with what is known of a trace, MaxTrace events in
// each direction at the most. Its text stays the same, and so do its cursors.
func (f Filter) WithTrace(id bloodbank.EventID, up, down []bloodbank.EventID) Filter {
	known := &Trace{Up: setOf(up), Down: setOf(down)}
	terms := slices.Clone(f.Terms)
	for i, t := range terms {
		if t.Field != FieldTrace {
			continue
		}
		terms[i].Values = slices.Clone(t.Values)
		for j, v := range t.Values {
			if v.Text == id.String() {
				terms[i].Values[j].Trace = known
			}
		}
	}
	return Filter{Terms: terms}
}

func setOf(ids []bloodbank.EventID) map[bloodbank.EventID]bool {
	set := make(map[bloodbank.EventID]bool, min(len(ids), MaxTrace))
	for _, id := range ids[:min(len(ids), MaxTrace)] {
		set[id] = true
	}
	return set
}

// Follow tells the filter of an event that came after what it knows: if it is an
// effect, so are those that name it. It must not run beside Match.
func (f Filter) Follow(e *bloodbank.Envelope) {
	for _, t := range f.Terms {
		if t.Field != FieldTrace {
			continue
		}
		for _, v := range t.Values {
			if v.Trace != nil && len(v.Trace.Down) < MaxTrace && v.causes(e) {
				v.Trace.Down[e.EventID] = true
			}
		}
	}
}

// traces reports whether e is in the trace, as far as that is known.
func (v Value) traces(e *bloodbank.Envelope) bool {
	if v.Text == e.EventID.String() || v.causes(e) {
		return true
	}
	return v.Trace != nil && (v.Trace.Up[e.EventID] || v.Trace.Down[e.EventID])
}

// causes reports whether e names the event itself or one of its effects.
func (v Value) causes(e *bloodbank.Envelope) bool {
	return slices.ContainsFunc(e.CorrelationIDs, func(id bloodbank.EventID) bool {
		return v.Text == id.String() || v.Trace != nil && v.Trace.Down[id]
	})
}

// TraceIDs returns what a store looks for: events with one of ids, and events that
// name one of parents.
func (v Value) TraceIDs() (ids, parents []bloodbank.EventID) {
	if id, err := bloodbank.ParseEventID(v.Text); err == nil {
		ids, parents = append(ids, id), append(parents, id)
	}
	if v.Trace != nil {
		for id := range v.Trace.Up {
			ids = append(ids, id)
		}
		for id := range v.Trace.Down {
			ids, parents = append(ids, id), append(parents, id)
		}
	}
	return ids, parents
}
