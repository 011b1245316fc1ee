package sqlite

import (
	"context"

	"github.com/33god/bloodbank"
)

// Has reports whether the event is stored, without reading it.
func (s *Store) Has(ctx context.Context, id bloodbank.EventID) (has bool, err error) {
	ctx, leave, err := s.gate.Enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	err = s.readers.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM events WHERE event_id = ?)", id[:]).Scan(&has)
	return has, explain(s.opts.Path, "read from", err)
}
