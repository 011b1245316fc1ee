package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/dispatch"
)

const (
	// redriveTimeout bounds a request that sends dead letters again.
	redriveTimeout = 30 * time.Second
	// maxLetters is how many dead letters one request may name or work off.
	maxLetters = 1000
)

// DeadLetters is what /dlq needs; [dispatch.DeadLetters] has it.
type DeadLetters interface {
	// Find returns up to limit open dead letters that the filter chooses, with a
	// number above after, oldest first, without their events.
	Find(f dispatch.Filter, after uint64, limit int) []dispatch.DeadLetter
	// Count says how many open ones the filter chooses.
	Count(f dispatch.Filter) int
	// Get returns one with its event, or an error with CodeNotFound.
	Get(number uint64) (dispatch.DeadLetter, error)
	// Redrive sends one again and waits for the bus.
	Redrive(ctx context.Context, number uint64) error
	// RedriveMany sends many again, in order.
	RedriveMany(ctx context.Context, r dispatch.RedriveRequest) (dispatch.RedriveReport, error)
	// Discard closes some for good.
	Discard(ctx context.Context, r dispatch.DiscardRequest) (dispatch.DiscardReport, error)
}

func (s *Server) listDead(w http.ResponseWriter, r *http.Request) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		s.fail(w, r, bloodbank.Errorf(bloodbank.CodeInvalid, "the query of the address cannot be read: %w", err))
		return
	}
	limit, err := number(query, "limit", 100, 1, maxLetters)
	if err == nil {
		err = s.needDeadLetters()
	}
	var after uint64
	if err == nil && query.Get("after") != "" {
		after, err = parseNumber(query.Get("after"))
	}
	var filter dispatch.Filter
	if err == nil {
		filter, err = deadFilter(query)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	list := s.o.DeadLetters.Find(filter, after, limit)
	if list == nil {
		list = []dispatch.DeadLetter{}
	}
	s.answer(w, http.StatusOK, struct {
		DeadLetters []dispatch.DeadLetter `json:"dead_letters"`
		Open        int                   `json:"open"`
		Matched     int                   `json:"matched"`
	}{list, s.o.DeadLetters.Count(dispatch.Filter{}), s.o.DeadLetters.Count(filter)})
}

// deadFilter reads a filter from an address.
func deadFilter(query url.Values) (dispatch.Filter, error) {
	f := dispatch.Filter{Type: query.Get("type"), Reason: query.Get("reason"), Target: query.Get("target")}
	for name, to := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		text := query.Get(name)
		if text == "" {
			continue
		}
		at, err := bloodbank.ParseTimestamp(text)
		if err != nil {
			return f, bloodbank.Errorf(bloodbank.CodeInvalid, "%s must be a time like 2026-01-27T10:00:00Z, not %q", name, short(text))
		}
		*to = at
	}
	return f, nil
}

func (s *Server) deadLetter(w http.ResponseWriter, r *http.Request) {
	n, err := s.readNumber(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	letter, err := s.o.DeadLetters.Get(n)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.answer(w, http.StatusOK, letter)
}

func (s *Server) readNumber(r *http.Request) (uint64, error) {
	if err := s.needDeadLetters(); err != nil {
		return 0, err
	}
	return parseNumber(r.PathValue("number"))
}

func parseNumber(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, bloodbank.Errorf(bloodbank.CodeInvalid, "%q is no number of a dead letter; GET /dlq lists them", short(text))
	}
	return n, nil
}

func (s *Server) needDeadLetters() error {
	if s.o.DeadLetters == nil {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "this server keeps no dead letters")
	}
	return nil
}
