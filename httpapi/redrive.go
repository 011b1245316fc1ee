package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/dispatch"
)

// lettersRequest names dead letters, by number or by filter.
type lettersRequest struct {
	Numbers []uint64         `json:"numbers"`
	Filter  *dispatch.Filter `json:"filter"`
	Limit   int              `json:"limit"`
	DryRun  bool             `json:"dry_run"`
	After   string           `json:"after"`  // redrive alone
	Reason  string           `json:"reason"` // discard alone
}

// outcome is what became of one dead letter. In a dry run nothing did, and OK is
// false without an error.
type outcome struct {
	Number    uint64              `json:"number"`
	EventID   bloodbank.EventID   `json:"event_id,omitzero"`
	EventType bloodbank.EventType `json:"event_type,omitempty"`
	Target    string              `json:"target,omitempty"`
	Sequence  uint64              `json:"sequence,omitempty"`
	OK        bool                `json:"ok"`
	Error     *bloodbank.Error    `json:"error,omitempty"`
}

// manyAnswer is the answer to a request about many.
type manyAnswer struct {
	Results []outcome `json:"results"`
	DryRun  bool      `json:"dry_run,omitempty"`
	Matched int       `json:"matched"`
	// Done counts the results that are ok, Failed the others; Left those that were
	// not tried or stay for another reason.
	Done   int `json:"done"`
	Failed int `json:"failed"`
	Left   int `json:"left"`
	// Next is where to go on, Stopped why it ended early.
	Next    string           `json:"next,omitempty"`
	Stopped *bloodbank.Error `json:"stopped,omitempty"`
}

func (s *Server) redriveOne(w http.ResponseWriter, r *http.Request) {
	n, err := s.readNumber(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), redriveTimeout)
	defer cancel()
	if err := s.o.DeadLetters.Redrive(ctx, n); err != nil {
		s.fail(w, r, err)
		return
	}
	s.answer(w, http.StatusOK, outcome{Number: n, OK: true})
}

// redriveMany sends several again, in order; each has its own outcome.
func (s *Server) redriveMany(w http.ResponseWriter, r *http.Request) {
	request, filter, err := s.readLetters(r)
	if err == nil && request.Reason != "" {
		err = bloodbank.Errorf(bloodbank.CodeInvalid, "a redrive takes no reason; to choose by it use filter.reason")
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), redriveTimeout)
	defer cancel()
	report, err := s.o.DeadLetters.RedriveMany(ctx, dispatch.RedriveRequest{
		Filter: filter, After: request.After, Limit: request.Limit, DryRun: request.DryRun,
	})
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer := s.many(w, r, request, report.Outcomes)
	answer.Matched, answer.Left, answer.Next = report.Matched, report.Left, report.Next
	if report.Stopped != nil {
		answer.Stopped = s.known(w, r, report.Stopped)
	}
	s.answer(w, http.StatusOK, answer)
}

// discard closes several for good.
func (s *Server) discard(w http.ResponseWriter, r *http.Request) {
	request, filter, err := s.readLetters(r)
	if err == nil && request.After != "" {
		err = bloodbank.Errorf(bloodbank.CodeInvalid, "a discard takes no after: what is discarded is chosen no more, so ask again")
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	report, err := s.o.DeadLetters.Discard(r.Context(), dispatch.DiscardRequest{
		Filter: filter, Reason: request.Reason, Limit: request.Limit, DryRun: request.DryRun,
	})
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer := s.many(w, r, request, report.Outcomes)
	answer.Matched, answer.Left = report.Matched, report.Left
	s.answer(w, http.StatusOK, answer)
}

func (s *Server) many(w http.ResponseWriter, r *http.Request, request lettersRequest, outcomes []dispatch.Outcome) manyAnswer {
	answer := manyAnswer{Results: make([]outcome, 0, len(outcomes)), DryRun: request.DryRun}
	known := make(map[uint64]bool)
	for _, o := range outcomes {
		l := o.DeadLetter
		known[l.Number] = true
		result := outcome{Number: l.Number, EventID: l.EventID, EventType: l.EventType, Target: l.Target, Sequence: l.Sequence}
		switch {
		case request.DryRun:
		case o.Err == nil:
			result.OK = true
			answer.Done++
		default:
			result.Error = s.known(w, r, o.Err)
			answer.Failed++
		}
		answer.Results = append(answer.Results, result)
	}
	for _, n := range request.Numbers { // those that are not open, and those that were not tried
		if known[n] {
			continue
		}
		if _, err := s.o.DeadLetters.Get(n); bloodbank.CodeOf(err) == bloodbank.CodeNotFound {
			known[n] = true
			answer.Results = append(answer.Results, outcome{Number: n, Error: s.known(w, r, err)})
			answer.Failed++
		}
	}
	return answer
}

// readLetters reads a request about many. A member that it does not know is
// refused: a filter with a slip in it would choose too much.
func (s *Server) readLetters(r *http.Request) (request lettersRequest, filter dispatch.Filter, err error) {
	if err := s.needDeadLetters(); err != nil {
		return request, filter, err
	}
	if _, err := mediaType(r, mediaJSON); err != nil {
		return request, filter, err
	}
	b, err := s.readBody(r)
	if err != nil {
		return request, filter, err
	}
	defer s.release(b)
	decoder := json.NewDecoder(bytes.NewReader(b.buf.Bytes()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil {
		return request, filter, bloodbank.Errorf(bloodbank.CodeInvalid, `the body must be {"numbers":[…]} or {"filter":{…}}: %w`, err)
	}
	switch {
	case request.Numbers == nil && request.Filter == nil:
		err = bloodbank.Errorf(bloodbank.CodeInvalid, `the body must be {"numbers":[…]} or {"filter":{…}}; "filter":{} chooses all`)
	case request.Numbers != nil && request.Filter != nil:
		err = bloodbank.Errorf(bloodbank.CodeInvalid, "name dead letters by numbers or by a filter, not by both")
	case request.Filter == nil && (len(request.Numbers) == 0 || len(request.Numbers) > maxLetters):
		err = bloodbank.Errorf(bloodbank.CodeInvalid, `the body must be {"numbers":[…]} with 1 to %d numbers, not %d`, maxLetters, len(request.Numbers))
	case request.Limit < 0 || request.Limit > maxLetters:
		err = bloodbank.Errorf(bloodbank.CodeInvalid, "limit must be a whole number from 1 to %d, not %d", maxLetters, request.Limit)
	case request.Filter != nil:
		filter = *request.Filter
	default:
		filter.Numbers = request.Numbers
	}
	return request, filter, err
}
