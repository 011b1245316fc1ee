package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// listenCheck is how long a listener hears nothing before it asks whether
	// the connection still lives.
	listenCheck = 15 * time.Second
	// listenRetry is the longest time between two attempts to connect.
	listenRetry = 5 * time.Second
)

// Listen calls wake after each commit of events, by this or any other process,
// until ctx or the store ends; then it returns nil. It holds one connection more
// than Options.Connections, and makes it anew when it breaks.
// After each connecting it wakes as well: something may have been missed. wake
// must not block, and may be called where nothing is new: who is woken reads
// [Store.After].
func (s *Store) Listen(ctx context.Context, wake func()) error {
	ctx, leave, err := s.gate.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	for failed := 0; ctx.Err() == nil; failed++ {
		heard, err := s.listen(ctx, wake)
		if ctx.Err() != nil {
			break
		}
		if heard {
			failed = 0
		}
		s.opts.Logger.Debug("listening to the store broke off; it is tried again", "server", s.place, "error", err)
		pause := min(listenRetry, 100*time.Millisecond<<min(failed, 6))
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done():
		}
	}
	return nil
}

// listen serves one connection. heard says that it came about.
func (s *Store) listen(ctx context.Context, wake func()) (heard bool, err error) {
	if err := s.prepare(ctx); err != nil {
		return false, err
	}
	pooled, err := s.pool.Acquire(ctx)
	if err != nil {
		return false, err
	}
	// Nobody else may get a connection that listens.
	c := pooled.Hijack()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
		defer cancel()
		_ = c.Close(ctx) // it is broken, or not needed any more
	}()
	if err := s.subscribe(ctx, c); err != nil {
		return false, err
	}
	for {
		wake()
		for {
			err := s.await(ctx, c)
			if err == nil {
				break
			}
			if !errors.Is(err, errSilent) {
				return true, err
			}
			if err := s.within(ctx, s.opts.Timeout, c.Ping); err != nil {
				return true, err
			}
		}
	}
}

func (s *Store) subscribe(ctx context.Context, c *pgx.Conn) error {
	return s.within(ctx, s.opts.Timeout, func(ctx context.Context) error {
		var channel string
		if err := c.QueryRow(ctx, "SELECT 'bb_' || md5($1)", s.schema).Scan(&channel); err != nil {
			return err
		}
		_, err := c.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize())
		return err
	})
}

// await returns nil for a notification, errSilent where there is none for long.
func (s *Store) await(ctx context.Context, c *pgx.Conn) error {
	return s.within(ctx, listenCheck, func(ctx context.Context) error {
		_, err := c.WaitForNotification(ctx)
		return err
	})
}

// within bounds f. Its time being up is errSilent.
func (s *Store) within(ctx context.Context, allowed time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, allowed, errSilent)
	defer cancel()
	err := f(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errSilent) {
		return errors.Join(errSilent, err)
	}
	return err
}
