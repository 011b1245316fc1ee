package httpapi

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// usualFacets are counted where no keys are named.
const usualFacets = "type,app,agent"

// summaryQuery reads what both summaries have in common.
func (s *Server) summaryQuery(r *http.Request) (sum store.Summarizer, f store.Filter, query url.Values, err error) {
	sum, ok := s.o.Store.(store.Summarizer)
	if !ok {
		return sum, f, query, bloodbank.Errorf(bloodbank.CodeUnavailable, "this server's store counts nothing")
	}
	if query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return sum, f, query, bloodbank.Errorf(bloodbank.CodeInvalid, "the query of the address cannot be read: %w", err)
	}
	f, err = s.parseFilter(r.Context(), query.Get("q"))
	return sum, f, query, err
}

// facets answers which values the events have that a filter finds.
func (s *Server) facets(w http.ResponseWriter, r *http.Request) {
	sum, f, query, err := s.summaryQuery(r)
	q := store.FacetQuery{Filter: f}
	if err == nil {
		q.Limit, err = number(query, "limit", store.DefaultFacets, 1, store.MaxFacets)
	}
	var found store.Facets
	if err == nil {
		keys := query.Get("keys")
		if keys == "" {
			keys = usualFacets
		}
		for key := range strings.SplitSeq(keys, ",") {
			q.Keys = append(q.Keys, store.Field(key))
		}
		found, err = sum.Facets(r.Context(), q)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.answer(w, http.StatusOK, struct {
		Facets   map[store.Field][]store.ValueCount `json:"facets"`
		Scanned  int64                              `json:"scanned"`
		Complete bool                               `json:"complete"`
	}{found.Facets, found.Scanned, found.Complete})
}

// histogram answers when the events happened that a filter finds.
func (s *Server) histogram(w http.ResponseWriter, r *http.Request) {
	sum, f, query, err := s.summaryQuery(r)
	q := store.HistogramQuery{Filter: f}
	if err == nil {
		q.Buckets, err = number(query, "buckets", store.DefaultBuckets, 1, store.MaxBuckets)
	}
	var found store.Histogram
	if err == nil {
		found, err = sum.Histogram(r.Context(), q)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.answer(w, http.StatusOK, struct {
		From     *string `json:"from"`
		To       *string `json:"to"`
		Step     float64 `json:"step_seconds"`
		Counts   []int64 `json:"counts"`
		Scanned  int64   `json:"scanned"`
		Complete bool    `json:"complete"`
	}{timeOrNull(found.From), timeOrNull(found.To), float64(found.Step) / 1e6, found.Counts, found.Scanned, found.Complete})
}

func timeOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := bloodbank.FormatTimestamp(t)
	return &text
}
