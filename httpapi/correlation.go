package httpapi

import (
	"net/http"
	"net/url"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
)

// The bounds of a walk that a caller may ask for.
const (
	maxDepth = 10_000
	maxNodes = 10_000
)

// correlationAnswer is the original's, with truncated beside it.
type correlationAnswer struct {
	EventID     bloodbank.EventID   `json:"event_id"`
	Parents     []bloodbank.EventID `json:"parents"`
	Children    []bloodbank.EventID `json:"children"`
	Ancestors   []bloodbank.EventID `json:"ancestors"`
	Descendants []bloodbank.EventID `json:"descendants"`
	// Metadata is {} for an event with parents, else null, as in the original
	// where nobody gave any.
	Metadata  map[string]string `json:"metadata"`
	Truncated bool              `json:"truncated"`
}

// chainAnswer is the original's, with truncated, cyclic and nodes beside it.
type chainAnswer struct {
	EventID   bloodbank.EventID     `json:"event_id"`
	Direction correlation.Direction `json:"direction"`
	Chain     []bloodbank.EventID   `json:"chain"`
	Count     int                   `json:"count"`
	Truncated bool                  `json:"truncated"`
	Cyclic    bool                  `json:"cyclic"`
	Nodes     []correlation.Node    `json:"nodes"`
}

// correlation answers what caused an event and what it caused, in ids.
func (s *Server) correlation(w http.ResponseWriter, r *http.Request) {
	id, limits, _, err := s.readWalk(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer, err := s.correlationOf(r, id, limits)
	if bloodbank.CodeOf(err) == bloodbank.CodeNotFound {
		err = bloodbank.Errorf(bloodbank.CodeNotFound, "No correlation data found for event %s", id)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.answer(w, http.StatusOK, answer)
}

func (s *Server) correlationOf(r *http.Request, id bloodbank.EventID, limits correlation.Limits) (a correlationAnswer, err error) {
	up, err := s.o.Tracker.Chain(r.Context(), id, correlation.Ancestors, limits)
	if err != nil {
		return a, err
	}
	down, err := s.o.Tracker.Chain(r.Context(), id, correlation.Descendants, limits)
	if err != nil {
		return a, err
	}
	children, err := s.o.Tracker.Children(r.Context(), id)
	if err != nil {
		return a, err
	}
	a = correlationAnswer{
		EventID: id, Parents: []bloodbank.EventID{}, Children: listed(children),
		Ancestors: idsOf(up), Descendants: idsOf(down), Truncated: up.Truncated || down.Truncated,
	}
	for _, n := range up.Nodes {
		if n.ID == id {
			a.Parents = listed(n.Parents)
		}
	}
	if len(a.Parents) > 0 {
		a.Metadata = map[string]string{}
	}
	return a, nil
}

// chain answers with everything on one side of an event, causes first.
func (s *Server) chain(w http.ResponseWriter, r *http.Request) {
	id, limits, direction, err := s.readWalk(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	chain, err := s.o.Tracker.Chain(r.Context(), id, direction, limits)
	if bloodbank.CodeOf(err) == bloodbank.CodeNotFound {
		err = bloodbank.Errorf(bloodbank.CodeNotFound, "No correlation chain found for event %s", id)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	ids := idsOf(chain)
	s.answer(w, http.StatusOK, chainAnswer{
		EventID: id, Direction: direction, Chain: ids, Count: len(ids),
		Truncated: chain.Truncated, Cyclic: chain.Cyclic, Nodes: chain.Nodes,
	})
}

// readWalk reads what both questions have in common. Without a direction it is
// ancestors.
func (s *Server) readWalk(r *http.Request) (id bloodbank.EventID, l correlation.Limits, d correlation.Direction, err error) {
	if id, err = pathID(r); err != nil {
		return id, l, d, err
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return id, l, d, bloodbank.Errorf(bloodbank.CodeInvalid, "the query of the address cannot be read: %w", err)
	}
	d = correlation.Ancestors
	if query.Has("direction") {
		if d, err = correlation.ParseDirection(query.Get("direction")); err != nil {
			return id, l, d, err
		}
	}
	if l.MaxDepth, err = number(query, "max_depth", correlation.DefaultMaxDepth, 1, maxDepth); err != nil {
		return id, l, d, err
	}
	if l.MaxNodes, err = number(query, "max_nodes", maxNodes, 1, maxNodes); err != nil {
		return id, l, d, err
	}
	if s.o.Tracker == nil {
		err = bloodbank.Errorf(bloodbank.CodeUnavailable, "Correlation tracking is not enabled. Initialize Publisher with enable_correlation_tracking=True")
	}
	return id, l, d, err
}

// idsOf lists a chain as the original does: nothing for an event without links
// in that direction, else with the start.
func idsOf(c correlation.Chain) []bloodbank.EventID {
	ids := make([]bloodbank.EventID, 0, len(c.Nodes))
	if len(c.Nodes) < 2 {
		return ids
	}
	for _, n := range c.Nodes {
		ids = append(ids, n.ID)
	}
	return ids
}

// listed makes an absent list an empty one.
func listed(ids []bloodbank.EventID) []bloodbank.EventID {
	if ids == nil {
		return []bloodbank.EventID{}
	}
	return ids
}
