package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// mediaCandystore asks for Candystore's answer where none of its own parameters
// is given.
const mediaCandystore = "application/vnd.candystore+json"

// maxCounted is how far total is counted where the store cannot count; beyond it
// total is a lower bound.
const maxCounted = 10_000

// Counter is implemented by stores that can count what a filter finds without
// reading it.
type Counter interface {
	Count(ctx context.Context, f store.Filter) (int64, error)
}

// candyPage is Candystore's answer.
type candyPage struct {
	Events  []candyEvent `json:"events"`
	Total   int64        `json:"total"`
	Limit   int          `json:"limit"`
	Offset  int          `json:"offset"`
	HasMore bool         `json:"has_more"`
}

type candyEvent struct {
	ID               bloodbank.EventID   `json:"id"`
	EventType        bloodbank.EventType `json:"event_type"`
	Source           string              `json:"source"`
	Target           *string             `json:"target"`
	RoutingKey       bloodbank.EventType `json:"routing_key"`
	Timestamp        string              `json:"timestamp"`
	StoredAt         string              `json:"stored_at"`
	Payload          json.RawMessage     `json:"payload"`
	SessionID        *string             `json:"session_id"`
	CorrelationID    *bloodbank.EventID  `json:"correlation_id"`
	StorageLatencyMS float64             `json:"storage_latency_ms"`
}

// candystoreParameters are those that only Candystore has; it shares limit with
// us.
func candystoreParameters() []string {
	return []string{"session_id", "event_type", "source", "target", "start_time", "end_time", "offset"}
}

func isCandystore(r *http.Request, query url.Values) bool {
	return slices.ContainsFunc(candystoreParameters(), query.Has) || wants(r, mediaCandystore)
}

func (s *Server) candystore(w http.ResponseWriter, r *http.Request, query url.Values) {
	for _, ours := range []string{"q", "cursor", "order"} {
		if query.Has(ours) {
			s.failCandystore(w, ours, "cannot be combined with Candystore's parameters; put them into q")
			return
		}
	}
	limit, err := number(query, "limit", store.DefaultLimit, 1, store.MaxLimit)
	if err != nil {
		s.failCandystore(w, "limit", err.Error())
		return
	}
	offset, err := number(query, "offset", 0, 0, 1<<31-1)
	if err != nil {
		s.failCandystore(w, "offset", err.Error())
		return
	}
	filter, name, err := candyFilter(query, s.o.Now())
	if err != nil {
		s.failCandystore(w, name, err.Error())
		return
	}
	page, err := s.candyPage(r.Context(), filter, limit, offset)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.answer(w, http.StatusOK, page)
}

// failCandystore answers 422 in the form that Candystore's clients know.
func (s *Server) failCandystore(w http.ResponseWriter, parameter, message string) {
	type fault struct {
		Loc  []string `json:"loc"`
		Msg  string   `json:"msg"`
		Type string   `json:"type"`
	}
	s.answer(w, http.StatusUnprocessableEntity, failure{
		Error:  bloodbank.Errorf(bloodbank.CodeInvalid, "parameter %s: %s", parameter, message),
		Detail: []fault{{Loc: []string{"query", parameter}, Msg: message, Type: "value_error"}},
	})
}

// candyFilter says in the filter language what Candystore's parameters say. On
// an error name is the parameter at fault.
func candyFilter(query url.Values, now time.Time) (f store.Filter, name string, err error) {
	keys := map[string]string{"session_id": "session:", "event_type": "type:", "target": "payload.target:", "start_time": "since:", "end_time": "until:"}
	for _, name := range candystoreParameters() {
		value := query.Get(name)
		if value == "" || name == "offset" {
			continue
		}
		text := keys[name] + quoted(value)
		switch name {
		case "source": // app@host, or an app alone
			app, host, found := cutLast(value, "@")
			if text = "app:" + quoted(app); found {
				text += " host:" + quoted(host)
			}
		case "start_time", "end_time":
			// A + for the offset arrives as a space unless it was escaped.
			at, err := bloodbank.ParseTimestamp(strings.Replace(value, " ", "+", strings.Count(value, " ")*strings.Count(value, "T")))
			if err != nil {
				return f, name, err
			}
			text = keys[name] + at.Format(time.RFC3339Nano)
		}
		part, err := store.ParseFilter(text, now)
		if err != nil {
			return f, name, err
		}
		f.Terms = append(f.Terms, part.Terms...)
	}
	return f, "", nil
}

func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// candyPage walks to the offset by cursors: the order is total, so pages neither
// overlap nor leave gaps.
func (s *Server) candyPage(ctx context.Context, f store.Filter, limit, offset int) (candyPage, error) {
	page := candyPage{Events: []candyEvent{}, Limit: limit, Offset: offset}
	q := store.Query{Filter: f, Order: store.NewestFirst}
	counter, counts := s.o.Store.(Counter)
	seen := 0
	for first := true; first || q.Cursor != ""; first = false {
		q.Limit = store.MaxLimit
		if seen >= offset {
			q.Limit = max(1, offset+limit-seen)
		}
		if seen >= offset+limit {
			if counts || seen >= maxCounted {
				break
			}
			q.Limit = store.MaxLimit
		}
		p, err := s.o.Store.Query(ctx, q)
		if err != nil {
			return page, err
		}
		for _, e := range p.Events {
			if seen >= offset && seen < offset+limit {
				page.Events = append(page.Events, candyEventOf(&e))
			}
			seen++
		}
		q.Cursor = p.Next
	}
	page.Total = int64(seen)
	if counts {
		total, err := counter.Count(ctx, f)
		if err != nil {
			return page, err
		}
		page.Total = max(total, page.Total)
	}
	// A total may be a lower bound: then the cursor knows better.
	page.HasMore = q.Cursor != "" || int64(offset+len(page.Events)) < page.Total
	return page, nil
}

func candyEventOf(e *store.Event) candyEvent {
	env := &e.Envelope
	c := candyEvent{
		ID: env.EventID, EventType: env.EventType, RoutingKey: env.EventType,
		Source:    env.Source.App + "@" + env.Source.Host,
		Timestamp: bloodbank.FormatTimestamp(env.Timestamp), StoredAt: bloodbank.FormatTimestamp(e.StoredAt),
		Payload:          env.Payload,
		StorageLatencyMS: float64(e.StoredAt.Sub(env.Timestamp).Microseconds()) / 1000,
	}
	var payload struct {
		Target *string `json:"target"`
	}
	if json.Unmarshal(env.Payload, &payload) == nil {
		c.Target = payload.Target
	}
	if id := env.SessionID(); id != "" {
		c.SessionID = &id
	}
	if len(env.CorrelationIDs) > 0 {
		c.CorrelationID = &env.CorrelationIDs[0]
	}
	return c
}
