package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// errSilent is the cause of a context that ended because the server said nothing.
var errSilent = errors.New("no answer in the time allowed")

// call runs f on a connection, once more where the connection turns out to be
// dead or the tables to be others: then the server was restarted, or the schema
// made anew, since the last use. So f must be idempotent. The error is explained.
func (s *Store) call(ctx context.Context, doing string, f func(ctx context.Context, c *pgx.Conn) error) error {
	ctx, leave, err := s.gate.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := s.prepare(ctx); err != nil {
		return err
	}
	err = s.retried(ctx, s.opts.Timeout, f)
	if isGone(err) {
		s.ready.Store(false)
		if err := s.prepare(ctx); err != nil {
			return err
		}
		err = s.retried(ctx, s.opts.Timeout, f)
	}
	return s.explain(ctx, doing, err)
}

func (s *Store) retried(ctx context.Context, allowed time.Duration, f func(ctx context.Context, c *pgx.Conn) error) error {
	broken, err := s.attempt(ctx, allowed, f)
	if broken && ctx.Err() == nil {
		// Its companions are as old as it was.
		s.pool.Reset()
		_, err = s.attempt(ctx, allowed, f)
	}
	return err
}

func (s *Store) attempt(ctx context.Context, allowed time.Duration, f func(ctx context.Context, c *pgx.Conn) error) (broken bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, allowed, errSilent)
	defer cancel()
	c, err := s.pool.Acquire(ctx)
	if err == nil {
		defer c.Release()
		err = f(ctx, c.Conn())
		broken = err != nil && ctx.Err() == nil && (c.Conn().IsClosed() || isStale(err) || isReadOnly(err))
	}
	if err != nil && errors.Is(context.Cause(ctx), errSilent) {
		err = errors.Join(errSilent, err)
		// Where one connection is dead without a word the others are too.
		s.pool.Reset()
	}
	return broken, err
}

// isStale reports whether the connection, though alive, remembers tables that a
// newer version has changed meanwhile.
func isStale(err error) bool {
	var fault *pgconn.PgError
	return errors.As(err, &fault) && fault.Code == "0A000" && fault.Routine == "RevalidateCachedQuery"
}

// isReadOnly reports whether the server at the other end takes no writes, as one
// that was the primary until a moment ago: connecting anew may lead to its heir.
func isReadOnly(err error) bool {
	var fault *pgconn.PgError
	return errors.As(err, &fault) && fault.Code == "25006"
}

// isGone reports whether tables of ours are missing, or are not those that we
// have known.
func isGone(err error) bool {
	var fault *pgconn.PgError
	if !errors.As(err, &fault) {
		return false
	}
	switch fault.Code {
	case "BB001", "3F000", "42P01", "42883":
		return true
	}
	return false
}
