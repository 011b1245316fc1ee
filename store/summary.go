package store

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/33god/bloodbank"
)

// Limits of summaries, see [Summarizer].
const (
	// MaxSample is how many events a summary looks at; where they must be read it
	// is MaxCountRead, and where the time is all that matters and an index tells
	// it, MaxCount.
	MaxSample = 100_000
	// MaxBuckets is how fine a histogram can be.
	MaxBuckets     = 1000
	DefaultBuckets = 60
	// MaxFacets is how many values a facet can list.
	MaxFacets     = 1000
	DefaultFacets = 20
)

// FacetFields are the fields that can be counted by value. FieldIs has the values
// failed and replayed. FieldAgent is the agent's name, or its type where it has
// none.
func FacetFields() []Field {
	return []Field{FieldType, FieldApp, FieldHost, FieldSource, FieldAgent, FieldSession, FieldProject, FieldIs}
}

// FacetQuery asks which values the events have that a filter finds.
type FacetQuery struct {
	Filter Filter
	Keys   []Field
	// Limit is how many values of each key are listed, the most frequent first;
	// 0 means DefaultFacets.
	Limit int
}

// ValueCount is a value and how many events have it.
type ValueCount struct {
	Value string `json:"value"`
	Count int64  `json:"count"`
}

// Facets is the answer. Events without a value are not counted.
type Facets struct {
	Facets map[Field][]ValueCount
	// Scanned is how many events were looked at, the newest first; Complete says
	// that there are no more.
	Scanned  int64
	Complete bool
}

// HistogramQuery asks when the events happened that a filter finds.
type HistogramQuery struct {
	Filter Filter
	// Buckets is 1..MaxBuckets; 0 means DefaultBuckets.
	Buckets int
}

// Histogram is the answer. Bucket i holds the events from From + i*Step on,
// before From + (i+1)*Step, which is in microseconds. From is the filter's since, or else the oldest event
// that was found; To is its until, or else the newest. Without any event, a time
// that the filter does not name is zero.
type Histogram struct {
	From, To time.Time
	Step     int64
	Counts   []int64
	// Scanned and Complete are those of [Facets].
	Scanned  int64
	Complete bool
}

// Summarizer is what a store offers beyond [Store] to summarize what a filter
// finds. Its cost is bounded: it looks at the newest events that an index yields
// for the filter, and says how many those were.
type Summarizer interface {
	Facets(ctx context.Context, q FacetQuery) (Facets, error)
	Histogram(ctx context.Context, q HistogramQuery) (Histogram, error)
}

// Normalize fills in what is zero. What is out of bounds is CodeInvalid.
func (q FacetQuery) Normalize() (FacetQuery, error) {
	q.Limit = cmp.Or(q.Limit, DefaultFacets)
	if q.Limit < 0 || q.Limit > MaxFacets {
		return q, bloodbank.Errorf(bloodbank.CodeInvalid, "limit is %d; use 1 to %d", q.Limit, MaxFacets)
	}
	if len(q.Keys) == 0 {
		return q, bloodbank.Errorf(bloodbank.CodeInvalid, "no keys are named; use some of %s", facetNames())
	}
	var keys []Field
	for _, k := range q.Keys {
		if !slices.Contains(FacetFields(), k) {
			return q, bloodbank.Errorf(bloodbank.CodeInvalid, "%.40q cannot be counted by value; use some of %s", string(k), facetNames())
		}
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	q.Keys = keys
	return q, nil
}

func facetNames() string {
	var names []string
	for _, f := range FacetFields() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// Normalize fills in what is zero. What is out of bounds is CodeInvalid.
func (q HistogramQuery) Normalize() (HistogramQuery, error) {
	q.Buckets = cmp.Or(q.Buckets, DefaultBuckets)
	if q.Buckets < 0 || q.Buckets > MaxBuckets {
		return q, bloodbank.Errorf(bloodbank.CodeInvalid, "buckets is %d; use 1 to %d", q.Buckets, MaxBuckets)
	}
	return q, nil
}

// Span returns the times that the filter itself sets, zero where it sets none.
func (f Filter) Span() (since, until time.Time) {
	for _, t := range f.Terms {
		if t.Not || len(t.Values) != 1 {
			continue
		}
		at := t.Values[0].Time
		if t.Field == FieldSince && at.After(since) {
			since = at
		}
		if t.Field == FieldUntil && (until.IsZero() || at.Before(until)) {
			until = at
		}
	}
	return since, until
}
