package httpapi

import (
	"net/http"
	"net/url"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// sessionAnswer is a voice session.
type sessionAnswer struct {
	ID         string             `json:"id"`
	Source     string             `json:"source"`
	Opened     string             `json:"opened"`
	Closed     *string            `json:"closed"`
	State      store.SessionState `json:"state"`
	Utterances int                `json:"utterances"`
	Words      int                `json:"words"`
	// Duration is how much was heard; where no event says, the time from the
	// first event to the last.
	Duration float64 `json:"duration_seconds"`
	LastText string  `json:"last_text"`
	Language string  `json:"language"`
}

func sessionOf(s *store.Session, now time.Time) sessionAnswer {
	a := sessionAnswer{
		ID: s.ID, Source: s.Source, Opened: bloodbank.FormatTimestamp(s.Opened), State: s.State(now),
		Utterances: s.Utterances, Words: s.Words, LastText: s.LastText, Language: s.Language,
	}
	if !s.Closed.IsZero() {
		closed := bloodbank.FormatTimestamp(s.Closed)
		a.Closed = &closed
	}
	heard := s.Audio
	if heard == 0 {
		heard = s.Last.Sub(s.Opened)
	}
	a.Duration = float64(heard.Milliseconds()) / 1000
	return a
}

// sessions is the store as a list of voice sessions.
func (s *Server) sessions() (store.Sessions, error) {
	if list, ok := s.o.Store.(store.Sessions); ok {
		return list, nil
	}
	return nil, bloodbank.Errorf(bloodbank.CodeUnavailable, "this server's store keeps no list of sessions")
}

// listSessions answers with a page of voice sessions, newest first.
func (s *Server) listSessions(w http.ResponseWriter, r *http.Request) {
	page, err := s.sessionPage(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer := struct {
		Sessions []sessionAnswer `json:"sessions"`
		Next     string          `json:"next"`
	}{[]sessionAnswer{}, page.Next}
	now := s.o.Now()
	for i := range page.Sessions {
		answer.Sessions = append(answer.Sessions, sessionOf(&page.Sessions[i], now))
	}
	s.answer(w, http.StatusOK, answer)
}

func (s *Server) sessionPage(r *http.Request) (page store.SessionPage, err error) {
	list, err := s.sessions()
	if err != nil {
		return page, err
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return page, bloodbank.Errorf(bloodbank.CodeInvalid, "the query of the address cannot be read: %w", err)
	}
	q := store.SessionQuery{State: store.SessionState(query.Get("state")), Now: s.o.Now(), Cursor: query.Get("cursor")}
	if q.Limit, err = number(query, "limit", store.DefaultLimit, 1, store.MaxLimit); err != nil {
		return page, err
	}
	return list.Sessions(r.Context(), q)
}

// session answers with one voice session.
func (s *Server) session(w http.ResponseWriter, r *http.Request) {
	list, err := s.sessions()
	if err != nil {
		s.fail(w, r, err)
		return
	}
	found, err := list.Session(r.Context(), r.PathValue("id"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.answer(w, http.StatusOK, sessionOf(&found, s.o.Now()))
}
