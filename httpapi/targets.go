package httpapi

import (
	"context"
	"net/http"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/dispatch"
)

// Targets is what /targets needs; [dispatch.Retention] has it.
type Targets interface {
	// Holds lists who holds the log where, by name.
	Holds() []dispatch.Hold
	// GiveUp ends the hold of a target that is not configured any more.
	GiveUp(ctx context.Context, target string) error
}

func (s *Server) listTargets(w http.ResponseWriter, r *http.Request) {
	if s.o.Targets == nil {
		s.fail(w, r, noTargets())
		return
	}
	s.answerTargets(w)
}

func (s *Server) answerTargets(w http.ResponseWriter) {
	s.answer(w, http.StatusOK, struct {
		Targets []dispatch.Hold `json:"targets"`
	}{s.o.Targets.Holds()})
}

// giveUp answers with the targets that are left.
func (s *Server) giveUp(w http.ResponseWriter, r *http.Request) {
	if s.o.Targets == nil {
		s.fail(w, r, noTargets())
		return
	}
	if err := s.o.Targets.GiveUp(r.Context(), r.PathValue("name")); err != nil {
		s.fail(w, r, err)
		return
	}
	s.answerTargets(w)
}

func noTargets() error {
	return bloodbank.Errorf(bloodbank.CodeUnavailable, "this server hands events to nobody")
}
