package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/store"
)

// queryEvents answers with a page of events in their exact stored bytes. A
// request with one of Candystore's own parameters, or that accepts only its
// media type, gets Candystore's answer.
func (s *Server) queryEvents(w http.ResponseWriter, r *http.Request) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		s.fail(w, r, bloodbank.Errorf(bloodbank.CodeInvalid, "the query of the address cannot be read: %w", err))
		return
	}
	if isCandystore(r, query) {
		s.candystore(w, r, query)
		return
	}
	q, err := s.readQuery(r.Context(), query)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	page, err := s.o.Store.Query(r.Context(), q)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	size := 64 + len(page.Next)
	for _, e := range page.Events {
		size += len(e.Raw) + 1
	}
	b := append(make([]byte, 0, size), `{"events":[`...)
	for i, e := range page.Events {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, e.Raw...)
	}
	b = append(b, `],"next":`...)
	b = strconv.AppendQuote(b, page.Next) // cursors are plain ASCII
	s.send(w, http.StatusOK, mediaJSON, append(b, "}\n"...))
}

func (s *Server) readQuery(ctx context.Context, query url.Values) (q store.Query, err error) {
	for name := range query {
		if name != "q" && name != "limit" && name != "cursor" && name != "order" {
			return q, bloodbank.Errorf(bloodbank.CodeInvalid, "parameter %q is not known here; use q, limit, cursor and order, or Candystore's: %s", short(name), strings.Join(candystoreParameters(), ", "))
		}
	}
	if q.Filter, err = s.parseFilter(ctx, query.Get("q")); err != nil {
		return q, err
	}
	if q.Limit, err = number(query, "limit", store.DefaultLimit, 1, store.MaxLimit); err != nil {
		return q, err
	}
	q.Cursor = query.Get("cursor")
	switch q.Order = store.Order(query.Get("order")); q.Order {
	case "":
		q.Order = store.NewestFirst
	case store.NewestFirst, store.OldestFirst:
	default:
		return q, bloodbank.Errorf(bloodbank.CodeInvalid, "order must be desc (newest first) or asc, not %q", short(string(q.Order)))
	}
	return q, nil
}

// number reads a whole number within bounds; an absent one is usual.
func number(query url.Values, name string, usual, low, high int) (int, error) {
	text := query.Get(name)
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return 0, bloodbank.Errorf(bloodbank.CodeInvalid, "%s must be a whole number from %d to %d, not %q", name, low, high, short(text))
	}
	return n, nil
}

// event answers with one event: its exact bytes, or a CloudEvent for callers that
// ask for one.
func (s *Server) event(w http.ResponseWriter, r *http.Request) {
	id, err := pathID(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	e, err := s.o.Store.Get(r.Context(), id)
	if bloodbank.CodeOf(err) == bloodbank.CodeNotFound {
		err = bloodbank.Errorf(bloodbank.CodeNotFound, "Event %s not found", id)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Bb-Sequence", strconv.FormatInt(e.Sequence, 10))
	h.Set("Vary", "Accept")
	if wants(r, mediaCloud) {
		s.cloudEvent(w, r, e)
		return
	}
	tag := `"` + id.String() + `"` // an event never changes
	h.Set("Etag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	s.send(w, http.StatusOK, mediaJSON, e.Raw)
}

func (s *Server) cloudEvent(w http.ResponseWriter, r *http.Request, e store.Event) {
	data, err := e.Envelope.ToCloudEvent(s.rootOf(r, &e.Envelope))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.send(w, http.StatusOK, mediaCloud, data)
}

// rootOf is the first event of the chain. Where nobody can tell it is the first
// parent, or the event itself.
func (s *Server) rootOf(r *http.Request, e *bloodbank.Envelope) bloodbank.EventID {
	if len(e.CorrelationIDs) == 0 {
		return e.EventID
	}
	if s.o.Tracker != nil {
		chain, err := s.o.Tracker.Chain(r.Context(), e.EventID, correlation.Ancestors, correlation.Limits{})
		if err == nil && len(chain.Nodes) > 0 {
			return chain.Nodes[0].ID
		}
	}
	return e.CorrelationID()
}

// pathID reads the id in the path; the words of its error are the original's.
func pathID(r *http.Request) (bloodbank.EventID, error) {
	text := r.PathValue("id")
	id, err := bloodbank.ParseEventID(text)
	if err != nil {
		return id, bloodbank.Errorf(bloodbank.CodeInvalid, "Invalid UUID format: %s", short(text))
	}
	return id, nil
}
