package gateway

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/33god/bloodbank"
)

// A store that fails, or hangs for archiveTimeout, is not asked again for
// archiveRest: it must cost one timeout, not one per event.
const (
	archiveTimeout = 2 * time.Second
	archiveRest    = 5 * time.Second
)

// archive asks the store for ids, as long as it answers.
type archive struct {
	ids    Archive // nil: nothing is stored
	now    func() time.Time
	logger *slog.Logger
	rests  atomic.Int64 // until this time in Unix nanoseconds
}

// has reports whether the event is stored. A store that does not say means "no":
// the event is accepted again, and the store, which is idempotent, keeps the
// first one.
func (a *archive) has(ctx context.Context, id bloodbank.EventID) bool {
	rests := a.rests.Load()
	left := time.Duration(rests - a.now().UnixNano())
	if a.ids == nil || 0 < left && left <= archiveRest { // more is left when the clock was set back: then it rests no longer
		return false
	}
	asking, cancel := context.WithTimeout(ctx, archiveTimeout)
	defer cancel()
	has, err := a.ids.Has(asking, id)
	if err == nil {
		return has
	}
	if ctx.Err() == nil && a.rests.CompareAndSwap(rests, a.now().Add(archiveRest).UnixNano()) {
		a.logger.Warn("cannot look for duplicates in the store; events are accepted without", "for", archiveRest, "error", err)
	}
	return false
}
