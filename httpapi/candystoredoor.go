package httpapi

import (
	"net/http"
	"net/url"

	"github.com/33god/bloodbank"
)

// Below /candystore everything answers as the original Candystore did, so that
// its clients need another base address and nothing else.

func (s *Server) candystoreEvents(w http.ResponseWriter, r *http.Request) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		s.fail(w, r, bloodbank.Errorf(bloodbank.CodeInvalid, "the query of the address cannot be read: %w", err))
		return
	}
	s.candystore(w, r, query)
}

// candystoreEvent answers 404 for any text that is no id of an event: Candystore
// looked it up without looking at it.
func (s *Server) candystoreEvent(w http.ResponseWriter, r *http.Request) {
	text := r.PathValue("id")
	notFound := bloodbank.Errorf(bloodbank.CodeNotFound, "Event %s not found", short(text))
	id, err := bloodbank.ParseEventID(text)
	if err != nil {
		s.fail(w, r, notFound)
		return
	}
	e, err := s.o.Store.Get(r.Context(), id)
	switch {
	case bloodbank.CodeOf(err) == bloodbank.CodeNotFound:
		s.fail(w, r, notFound)
	case err != nil:
		s.fail(w, r, err)
	default:
		s.answer(w, http.StatusOK, candyEventOf(&e))
	}
}

// health is Candystore's: whether the store can be read and written. It tells
// nothing that needs a token.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	status, word := http.StatusOK, "healthy"
	if s.o.Store.Check(r.Context()) != nil {
		status, word = http.StatusServiceUnavailable, "unhealthy"
	}
	s.answer(w, status, struct {
		Status   string `json:"status"`
		Version  string `json:"version"`
		Database string `json:"database"`
	}{word, s.o.Version, s.o.Database})
}
