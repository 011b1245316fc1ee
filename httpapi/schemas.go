package httpapi

import (
	"net/http"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/schema"
)

func (s *Server) listSchemas(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, http.StatusOK, struct {
		Schemas []schema.Info `json:"schemas"`
	}{s.o.Schemas.Types()})
}

// schema answers with the exact document.
func (s *Server) schema(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("type")
	info, found := s.o.Schemas.Lookup(name)
	document, ok := s.o.Schemas.Schema(info.Type)
	if !found || !ok {
		s.fail(w, r, bloodbank.Errorf(bloodbank.CodeNotFound, "there is no schema for %q; GET /schemas lists them", short(name)))
		return
	}
	s.send(w, http.StatusOK, "application/schema+json", document)
}

// validate checks a payload and keeps nothing of it.
func (s *Server) validate(w http.ResponseWriter, r *http.Request) {
	eventType, err := bloodbank.ParseEventType(r.PathValue("type"))
	if err == nil {
		_, err = mediaType(r, mediaJSON)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	b, err := s.readBody(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer s.release(b)
	payload := trim(b.buf.Bytes())
	if err = checkValue(payload); err == nil {
		err = s.o.Schemas.Validate(eventType, payload)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
