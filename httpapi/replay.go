package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/replay"
	"github.com/33god/bloodbank/store"
)

// Replayer is what /replay needs; [replay.Replayer] has it.
type Replayer interface {
	// Plan says what a request would send, and sends nothing.
	Plan(ctx context.Context, r replay.Request) (replay.Plan, error)
	// Start begins to send, as a job that outlives the request.
	Start(ctx context.Context, r replay.Request) (replay.Job, error)
	// Job is one of the last jobs, or an error with CodeNotFound.
	Job(id string) (replay.Job, error)
}

// replayRequest is the body of POST /replay.
type replayRequest struct {
	IDs    []bloodbank.EventID `json:"ids"`
	Q      string              `json:"q"`
	Tree   bool                `json:"tree"`
	Target replay.Target       `json:"target"`
	// NewIDs and DryRun are true where they are left out.
	NewIDs *bool `json:"new_ids"`
	DryRun *bool `json:"dry_run"`
	Limit  int   `json:"limit"`
}

// replay answers with a plan, or with "dry_run": false begins to send: who leaves
// it out learns what would happen.
func (s *Server) replay(w http.ResponseWriter, r *http.Request) {
	request, dry, err := s.readReplay(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if dry {
		plan, err := s.o.Replayer.Plan(r.Context(), request)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.answer(w, http.StatusOK, struct {
			DryRun bool `json:"dry_run"`
			replay.Plan
		}{true, plan})
		return
	}
	job, err := s.o.Replayer.Start(r.Context(), request)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Location", "/replay/"+job.ID)
	s.answer(w, http.StatusAccepted, job)
}

func (s *Server) replayJob(w http.ResponseWriter, r *http.Request) {
	if err := s.needReplayer(); err != nil {
		s.fail(w, r, err)
		return
	}
	job, err := s.o.Replayer.Job(r.PathValue("job"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.answer(w, http.StatusOK, job)
}

// readReplay refuses members that it does not know: with a slip in one, too much
// might be sent.
func (s *Server) readReplay(r *http.Request) (out replay.Request, dry bool, err error) {
	if err := s.needReplayer(); err != nil {
		return out, false, err
	}
	if _, err := mediaType(r, mediaJSON); err != nil {
		return out, false, err
	}
	b, err := s.readBody(r)
	if err != nil {
		return out, false, err
	}
	defer s.release(b)
	var request replayRequest
	decoder := json.NewDecoder(bytes.NewReader(b.buf.Bytes()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil {
		return out, false, bloodbank.Errorf(bloodbank.CodeInvalid, `the body must be {"ids":[…]} or {"q":"…"}, with tree, target, new_ids, limit and dry_run: %w`, err)
	}
	out = replay.Request{IDs: request.IDs, Tree: request.Tree, Target: request.Target, Limit: request.Limit, SameIDs: request.NewIDs != nil && !*request.NewIDs}
	if request.Q != "" {
		f, err := store.ParseFilter(request.Q, s.o.Now())
		if err != nil {
			return out, false, err
		}
		out.Filter = &f
	}
	return out, request.DryRun == nil || *request.DryRun, nil
}

func (s *Server) needReplayer() error {
	if s.o.Replayer == nil {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "this server replays no events")
	}
	return nil
}
