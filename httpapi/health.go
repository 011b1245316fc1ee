package httpapi

import (
	_ "embed"
	"errors"
	"maps"
	"net/http"

	"github.com/33god/bloodbank"
)

//go:embed openapi.json
var openapiDocument []byte

// check is the state of one part in /readyz.
type check struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// healthz says that the process serves. It asks nobody else: a process with a
// broken broker must not be restarted for that.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, http.StatusOK, struct {
		OK      bool   `json:"ok"`
		Service string `json:"service"`
		Version string `json:"version,omitempty"`
	}{true, "bloodbank", s.o.Version})
}

// readyz says whether every part works. Why one does not is told only to those
// who may call.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	checks := map[string]check{}
	status := http.StatusOK
	if s.o.Checks != nil {
		hidden := s.authorise(r) != nil
		for name, err := range s.o.Checks(r.Context()) {
			c := check{OK: err == nil}
			if err != nil {
				status = http.StatusServiceUnavailable
				if c.Error = "not ready"; !hidden {
					c.Error = message(err)
				}
			}
			checks[name] = c
		}
	}
	s.answer(w, status, struct {
		Ready   bool             `json:"ready"`
		Version string           `json:"version,omitempty"`
		Checks  map[string]check `json:"checks"`
	}{status == http.StatusOK, s.o.Version, checks})
}

func message(err error) string {
	var e *bloodbank.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}

// status shows every follower with its position and lag.
func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	status := map[string]any{}
	if s.o.Status != nil {
		maps.Copy(status, s.o.Status(r.Context()))
	}
	status["service"], status["version"] = "bloodbank", s.o.Version
	s.answer(w, http.StatusOK, status)
}

func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	if s.o.Metrics == nil {
		s.fail(w, r, bloodbank.Errorf(bloodbank.CodeNotFound, "this server shows no metrics; see GET /status"))
		return
	}
	s.o.Metrics.ServeHTTP(w, r)
}

func (s *Server) openapi(w http.ResponseWriter, _ *http.Request) {
	s.send(w, http.StatusOK, mediaJSON, openapiDocument)
}

// hint tells who opens the address by hand where to go.
func (s *Server) hint(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, http.StatusOK, struct {
		Service string            `json:"service"`
		Version string            `json:"version,omitempty"`
		Try     map[string]string `json:"try"`
	}{"bloodbank", s.o.Version, map[string]string{
		"GET /events":        "the newest events; ?q= filters",
		"GET /events/stream": "events as they come",
		"POST /events":       "publish an event",
		"GET /schemas":       "the event types",
		"GET /status":        "every part with its lag",
		"GET /openapi.json":  "everything else",
	}})
}
