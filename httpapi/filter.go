package httpapi

import (
	"context"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/store"
)

// maxTraces is how many traces a filter may be about.
const maxTraces = 3

// parseFilter reads a filter, and finds out what is known of the traces in it.
func (s *Server) parseFilter(ctx context.Context, text string) (store.Filter, error) {
	f, err := store.ParseFilter(text, s.o.Now())
	if err != nil {
		return f, err
	}
	ids := f.Traces()
	if len(ids) > maxTraces {
		return f, bloodbank.Errorf(bloodbank.CodeInvalid, "the filter is about %d traces; the limit is %d", len(ids), maxTraces)
	}
	for _, id := range ids {
		if s.o.Tracker == nil {
			return f, bloodbank.Errorf(bloodbank.CodeUnavailable, "this server keeps no causes, which trace: asks for")
		}
		up, err := s.traceOf(ctx, id, correlation.Ancestors)
		if err != nil {
			return f, err
		}
		down, err := s.traceOf(ctx, id, correlation.Descendants)
		if err != nil {
			return f, err
		}
		f = f.WithTrace(id, up, down)
	}
	return f, nil
}

// traceOf lists one side of a trace, nothing for an event that nobody knows yet.
func (s *Server) traceOf(ctx context.Context, id bloodbank.EventID, d correlation.Direction) ([]bloodbank.EventID, error) {
	chain, err := s.o.Tracker.Chain(ctx, id, d, correlation.Limits{MaxDepth: maxDepth, MaxNodes: store.MaxTrace})
	if bloodbank.CodeOf(err) == bloodbank.CodeNotFound {
		return nil, nil
	}
	ids := make([]bloodbank.EventID, 0, len(chain.Nodes))
	for _, n := range chain.Nodes {
		if n.ID != id {
			ids = append(ids, n.ID)
		}
	}
	return ids, err
}
