package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlfilter"
)

const eventColumns = "e.sequence, e.stored_at, e.occurred_at, e.event_id, e.parents, e.raw"

// stored is an event as the database holds it.
type stored struct {
	seq                int64
	storedAt, happened time.Time
	id                 [16]byte
	parents            [][16]byte
	raw                []byte
}

func (r *stored) scan(row pgx.Row) error {
	return row.Scan(&r.seq, &r.storedAt, &r.happened, &r.id, &r.parents, &r.raw)
}

func (r *stored) position() store.Position {
	return store.Position{Micros: r.happened.UnixMicro(), Sequence: r.seq}
}

// event decodes a row. A wire form that this version no longer reads must not
// block those behind it: it comes with the members that have columns.
func (s *Store) event(r *stored) store.Event {
	e := store.Event{Sequence: r.seq, StoredAt: r.storedAt.UTC(), Raw: r.raw}
	envelope, err := bloodbank.DecodeEnvelope(r.raw)
	if err != nil {
		s.opts.Logger.Warn("a stored event cannot be decoded; only its bytes are whole", "sequence", r.seq, "error", err)
		envelope = bloodbank.Envelope{EventID: r.id, Timestamp: r.happened.UTC(), CorrelationIDs: eventIDs(r.parents)}
	}
	e.Envelope = envelope
	return e
}

func eventIDs(raw [][16]byte) []bloodbank.EventID {
	var ids []bloodbank.EventID
	for _, id := range raw {
		ids = append(ids, id)
	}
	return ids
}

// rawIDs are ids as the driver takes them.
func rawIDs(ids []bloodbank.EventID) [][16]byte {
	raw := make([][16]byte, len(ids))
	for i, id := range ids {
		raw[i] = id
	}
	return raw
}

func notFound(id bloodbank.EventID) error {
	return bloodbank.Errorf(bloodbank.CodeNotFound, "there is no event %s in the store", id)
}

// Get returns one event, or an error with CodeNotFound.
func (s *Store) Get(ctx context.Context, id bloodbank.EventID) (store.Event, error) {
	var r stored
	err := s.call(ctx, "read an event from", func(ctx context.Context, c *pgx.Conn) error {
		err := r.scan(c.QueryRow(ctx, "SELECT "+eventColumns+" FROM events e WHERE e.event_id = $1", [16]byte(id)))
		if errors.Is(err, pgx.ErrNoRows) {
			return notFound(id)
		}
		return err
	})
	if err != nil {
		return store.Event{}, err
	}
	return s.event(&r), nil
}

// Has reports whether the event is stored, without reading it.
func (s *Store) Has(ctx context.Context, id bloodbank.EventID) (has bool, err error) {
	err = s.call(ctx, "read from", func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM events WHERE event_id = $1)", [16]byte(id)).Scan(&has)
	})
	return has, err
}

// The sizes are summed up before the events are read: nothing is sent that would
// be thrown away. What octet_length reads is the head of a large value alone.
const afterSQL = `SELECT ` + eventColumns + ` FROM (
	SELECT f.*, sum(octet_length(f.raw)) OVER (ORDER BY f.sequence) AS upto FROM (
		SELECT * FROM events WHERE sequence > $1 ORDER BY sequence LIMIT $2) f) e
	WHERE e.upto - octet_length(e.raw) < $3 ORDER BY e.sequence`

// After returns up to limit events with a sequence above seq; a limit of 0
// means [store.DefaultLimit]. Sequences are drawn under a lock that lasts until
// the commit, so none becomes visible below one that was seen. Fewer than limit
// does not mean the end: large events fill an answer earlier. None does.
func (s *Store) After(ctx context.Context, seq int64, limit int) (events []store.Event, err error) {
	if limit <= 0 {
		limit = store.DefaultLimit
	}
	err = s.call(ctx, "read events from", func(ctx context.Context, c *pgx.Conn) error {
		rows, err := collect(ctx, c, afterSQL, seq, limit, sqlfilter.MaxPageBytes)
		events = make([]store.Event, len(rows))
		for i := range rows {
			events[i] = s.event(&rows[i])
		}
		return err
	})
	return events, err
}

// collect runs a query for eventColumns.
func collect(ctx context.Context, c *pgx.Conn, query string, args ...any) ([]stored, error) {
	rows, err := c.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r stored, err error) {
		return r, r.scan(row)
	})
}

// Last is the newest sequence, 0 in an empty store.
func (s *Store) Last(ctx context.Context) (last int64, err error) {
	err = s.call(ctx, "read", func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT coalesce(max(sequence), 0) FROM events").Scan(&last)
	})
	return last, err
}

// Check reads and writes the database, through to its disk.
func (s *Store) Check(ctx context.Context) error {
	return s.call(ctx, "write to", func(ctx context.Context, c *pgx.Conn) error {
		if _, err := c.Exec(ctx, "SELECT max(sequence) FROM events"); err != nil {
			return err
		}
		_, err := c.Exec(ctx, "UPDATE checks SET checked_at = $1", s.opts.Now())
		return err
	})
}

// Rejected returns the newest messages that were no events, up to limit.
func (s *Store) Rejected(ctx context.Context, limit int) (out []store.Rejected, err error) {
	err = s.call(ctx, "read", func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, "SELECT reason, raw FROM rejected ORDER BY id DESC LIMIT $1", limit)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r store.Rejected, err error) {
			err = row.Scan(&r.Reason, &r.Raw)
			r.Reason = unescape(r.Reason)
			return r, err
		})
		return err
	})
	return out, err
}
