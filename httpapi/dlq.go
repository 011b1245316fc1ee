package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/dispatch"
)

const (
	// redriveTimeout bounds a request that sends dead letters again.
	redriveTimeout = 30 * time.Second
	// maxRedrive is how many one request may name, redriveAtOnce how many of
	// them are under way together.
	maxRedrive    = 1000
	redriveAtOnce = 32
)

// DeadLetters is what /dlq needs of the dispatcher.
type DeadLetters interface {
	// List returns up to limit open dead letters with a number above after,
	// oldest first, without their events.
	List(after uint64, limit int) []dispatch.DeadLetter
	// Get returns one with its event, or an error with CodeNotFound.
	Get(number uint64) (dispatch.DeadLetter, error)
	// Redrive sends one again and waits for the bus.
	Redrive(ctx context.Context, number uint64) error
	// Open counts them.
	Open() int
}

// redriven is the outcome for one dead letter.
type redriven struct {
	Number uint64           `json:"number"`
	OK     bool             `json:"ok"`
	Error  *bloodbank.Error `json:"error,omitempty"`
}

func (s *Server) listDead(w http.ResponseWriter, r *http.Request) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		s.fail(w, r, bloodbank.Errorf(bloodbank.CodeInvalid, "the query of the address cannot be read: %w", err))
		return
	}
	limit, err := number(query, "limit", 100, 1, 1000)
	if err == nil {
		err = s.needDeadLetters()
	}
	var after uint64
	if err == nil && query.Get("after") != "" {
		after, err = parseNumber(query.Get("after"))
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	list := s.o.DeadLetters.List(after, limit)
	if list == nil {
		list = []dispatch.DeadLetter{}
	}
	s.answer(w, http.StatusOK, struct {
		DeadLetters []dispatch.DeadLetter `json:"dead_letters"`
		Open        int                   `json:"open"`
	}{list, s.o.DeadLetters.Open()})
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
	s.answer(w, http.StatusOK, redriven{Number: n, OK: true})
}

// redriveMany sends several again; each has its own outcome.
func (s *Server) redriveMany(w http.ResponseWriter, r *http.Request) {
	numbers, err := s.readNumbers(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), redriveTimeout)
	defer cancel()
	results := make([]redriven, len(numbers))
	slots := make(chan struct{}, redriveAtOnce)
	var wg sync.WaitGroup
	for i, n := range numbers {
		slots <- struct{}{} // each Redrive ends with ctx, so this does not block for long
		wg.Go(func() {
			defer func() { <-slots }()
			results[i] = redriven{Number: n, OK: true}
			if err := s.o.DeadLetters.Redrive(ctx, n); err != nil {
				results[i] = redriven{Number: n, Error: s.known(w, r, err)}
			}
		})
	}
	wg.Wait()
	s.answer(w, http.StatusOK, struct {
		Results []redriven `json:"results"`
	}{results})
}

func (s *Server) readNumbers(r *http.Request) ([]uint64, error) {
	if err := s.needDeadLetters(); err != nil {
		return nil, err
	}
	if _, err := mediaType(r, mediaJSON); err != nil {
		return nil, err
	}
	b, err := s.readBody(r)
	if err != nil {
		return nil, err
	}
	defer s.release(b)
	var request struct {
		Numbers []uint64 `json:"numbers"`
	}
	if err := json.Unmarshal(b.buf.Bytes(), &request); err != nil {
		return nil, bloodbank.Errorf(bloodbank.CodeInvalid, `the body must be {"numbers":[…]}: %w`, err)
	}
	if n := len(request.Numbers); n == 0 || n > maxRedrive {
		return nil, bloodbank.Errorf(bloodbank.CodeInvalid, `the body must be {"numbers":[…]} with 1 to %d numbers, not %d`, maxRedrive, n)
	}
	return request.Numbers, nil
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
