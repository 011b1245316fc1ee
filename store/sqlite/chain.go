package sqlite

import (
	"context"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
)

// Parents returns the parents that id names, in its order.
func (s *Store) Parents(ctx context.Context, id bloodbank.EventID) ([]bloodbank.EventID, error) {
	return nil, bloodbank.Errorf(bloodbank.CodeUnsupported, "not built yet")
}

// Children returns the events that name id as a parent, oldest first.
func (s *Store) Children(ctx context.Context, id bloodbank.EventID) ([]bloodbank.EventID, error) {
	return nil, bloodbank.Errorf(bloodbank.CodeUnsupported, "not built yet")
}

// Chain walks from id.
func (s *Store) Chain(ctx context.Context, id bloodbank.EventID, d correlation.Direction, l correlation.Limits) (correlation.Chain, error) {
	return correlation.Chain{}, bloodbank.Errorf(bloodbank.CodeUnsupported, "not built yet")
}
