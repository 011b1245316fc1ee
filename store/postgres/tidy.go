package postgres

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// New words are sorted in when so many events have them, or when the events of a
// while are more than a few: each search reads through what waits.
const (
	tidyAfter = 4000
	tidyEvery = time.Second
	tidyFew   = 200
)

// tidier sorts new words into their index beside the appends, which else would
// stop for it now and then. A search finds them in either place. Where it may
// not or cannot, PostgreSQL does it: in an append (the index has a limit for
// that) or in a vacuum.
type tidier struct {
	waiting atomic.Int64
	wake    chan struct{} // holds one token
	done    chan struct{} // closed when it has ended
}

func newTidier() *tidier {
	return &tidier{wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// added never blocks.
func (t *tidier) added(events int) {
	if t.waiting.Add(int64(events)) < tidyAfter {
		return
	}
	select {
	case t.wake <- struct{}{}:
	default: // it is awake already
	}
}

// run ends with ctx, or when it turns out that it may not do its work.
func (t *tidier) run(ctx context.Context, s *Store) {
	defer close(t.done)
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		case <-tick.C:
			if t.waiting.Load() <= tidyFew {
				continue
			}
		}
		t.waiting.Store(0)
		_, err := s.attempt(ctx, s.opts.Timeout, func(ctx context.Context, c *pgx.Conn) error {
			_, err := c.Exec(ctx, "SELECT gin_clean_pending_list('events_words')")
			return err
		})
		if err == nil || ctx.Err() != nil {
			continue
		}
		s.opts.Logger.Debug("the index of words was not tidied; PostgreSQL will", "server", s.place, "error", err)
		var fault *pgconn.PgError
		if errors.As(err, &fault) && fault.Code == "42501" {
			return // it belongs to another user
		}
	}
}
