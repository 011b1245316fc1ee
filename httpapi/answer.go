package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/33god/bloodbank"
)

// failure is the one shape of an error. Detail repeats the message for the
// original's clients.
type failure struct {
	Error  *bloodbank.Error `json:"error"`
	Detail any              `json:"detail"`
}

// fail answers with an error; the status follows from its code.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := s.known(w, r, err)
	s.failStatus(w, r, e.Code.HTTPStatus(), e)
}

func (s *Server) failStatus(w http.ResponseWriter, _ *http.Request, status int, e *bloodbank.Error) {
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusInsufficientStorage:
		w.Header().Set("Retry-After", "1")
	case http.StatusUnauthorized:
		w.Header().Set("Www-Authenticate", `Bearer realm="bloodbank"`)
	case http.StatusRequestEntityTooLarge:
		w.Header().Set("Connection", "close") // the rest of the body is not worth reading
	}
	s.answer(w, status, failure{Error: e, Detail: e.Message})
}

// known returns err as an [bloodbank.Error]. What is none, or says that the fault
// is ours, is logged, since nobody else is told more than the request's id.
func (s *Server) known(w http.ResponseWriter, r *http.Request, err error) *bloodbank.Error {
	var e *bloodbank.Error
	if errors.As(err, &e) && e.Code != bloodbank.CodeInternal {
		return &bloodbank.Error{Code: e.Code, Message: e.Message, Details: e.Details}
	}
	if r.Context().Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return bloodbank.Errorf(bloodbank.CodeTimeout, "the request was given up before it was done: %w", err)
	}
	id := w.Header().Get("X-Request-Id")
	s.o.Logger.Error("a request failed by a fault of ours", "request", id, "method", r.Method, "path", r.URL.Path, "error", err)
	if e != nil {
		return e
	}
	return bloodbank.Errorf(bloodbank.CodeInternal, "a fault of ours; the server's log has it under request %s", id)
}

// answer writes v as JSON. A value that cannot be written is a fault of ours.
func (s *Server) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		s.o.Logger.Error("an answer cannot be written as JSON", "error", err)
		status = http.StatusInternalServerError
		b.Reset()
		b.WriteString(`{"error":{"code":"internal","message":"an answer cannot be written as JSON"},"detail":"an answer cannot be written as JSON"}` + "\n")
	}
	s.send(w, status, "application/json", b.Bytes())
}

// sniffed is up to where net/http finds the length by itself.
const sniffed = 2048

// send writes an answer. A client that has gone does not learn it, so the error
// of the write tells nobody anything.
func (s *Server) send(w http.ResponseWriter, status int, mediaType string, body []byte) {
	h := w.Header()
	if mediaType == mediaJSON {
		h["Content-Type"] = s.json
	} else {
		h.Set("Content-Type", mediaType)
	}
	if len(body) > sniffed {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
