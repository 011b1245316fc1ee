package sqlite

import (
	"context"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// Query returns a page.
func (s *Store) Query(ctx context.Context, q store.Query) (store.Page, error) {
	return store.Page{}, bloodbank.Errorf(bloodbank.CodeUnsupported, "not built yet")
}
