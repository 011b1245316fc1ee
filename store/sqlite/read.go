package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlfilter"
)

const (
	eventColumnList = "e.sequence, e.stored_us, e.time_us, e.event_id, e.parents, e.raw"
	eventSelect     = "SELECT " + eventColumnList + " FROM events e "
)

// stored is an event as the file holds it.
type stored struct {
	seq, storedUS, timeUS int64
	id, parents, raw      []byte
}

func (r *stored) scan(rows interface{ Scan(...any) error }) error {
	return rows.Scan(&r.seq, &r.storedUS, &r.timeUS, &r.id, &r.parents, &r.raw)
}

// event decodes a row. A wire form that this version no longer reads must not
// block those behind it: it comes with the members that have columns.
func (s *Store) event(r *stored) store.Event {
	e := store.Event{Sequence: r.seq, StoredAt: time.UnixMicro(r.storedUS).UTC(), Raw: r.raw}
	envelope, err := bloodbank.DecodeEnvelope(r.raw)
	if err != nil {
		s.opts.Logger.Warn("a stored event cannot be decoded; only its bytes are whole", "sequence", r.seq, "error", err)
		envelope = bloodbank.Envelope{EventID: eventID(r.id), Timestamp: time.UnixMicro(r.timeUS).UTC(), CorrelationIDs: eventIDs(r.parents)}
	}
	e.Envelope = envelope
	return e
}

func eventID(b []byte) (id bloodbank.EventID) {
	copy(id[:], b)
	return id
}

// eventIDs splits a column of 16 bytes each.
func eventIDs(b []byte) []bloodbank.EventID {
	var ids []bloodbank.EventID
	for ; len(b) >= 16; b = b[16:] {
		ids = append(ids, eventID(b))
	}
	return ids
}

// Get returns one event, or an error with CodeNotFound.
func (s *Store) Get(ctx context.Context, id bloodbank.EventID) (store.Event, error) {
	ctx, leave, err := s.gate.Enter(ctx)
	if err != nil {
		return store.Event{}, err
	}
	defer leave()
	var r stored
	err = r.scan(s.readers.QueryRowContext(ctx, eventSelect+"WHERE e.event_id = ?", id[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return store.Event{}, notFound(id)
	}
	if err != nil {
		return store.Event{}, explain(s.opts.Path, "read an event from", err)
	}
	return s.event(&r), nil
}

func notFound(id bloodbank.EventID) error {
	return bloodbank.Errorf(bloodbank.CodeNotFound, "there is no event %s in the store", id)
}

// After returns up to limit events with a sequence above seq; a limit of 0
// means [store.DefaultLimit]. The one writer gives out sequences within its
// transaction, so none becomes visible below one that was seen. Fewer than limit
// does not mean the end: large events fill an answer earlier. None does.
func (s *Store) After(ctx context.Context, seq int64, limit int) ([]store.Event, error) {
	ctx, leave, err := s.gate.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if limit <= 0 {
		limit = store.DefaultLimit
	}
	rows, err := s.readers.QueryContext(ctx, eventSelect+"WHERE e.sequence > ? ORDER BY e.sequence LIMIT ?", seq, limit)
	if err != nil {
		return nil, explain(s.opts.Path, "read events from", err)
	}
	var events []store.Event
	for bytes := 0; bytes < sqlfilter.MaxPageBytes && rows.Next(); {
		var r stored
		if err = r.scan(rows); err != nil {
			break
		}
		bytes += len(r.raw)
		events = append(events, s.event(&r))
	}
	err = errors.Join(err, rows.Err(), rows.Close())
	return events, explain(s.opts.Path, "read events from", err)
}

// eachRow visits all rows and closes them.
func eachRow(rows *sql.Rows, visit func() error) error {
	for rows.Next() {
		if err := visit(); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

// Last is the newest sequence, 0 in an empty store.
func (s *Store) Last(ctx context.Context) (last int64, err error) {
	ctx, leave, err := s.gate.Enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	err = s.readers.QueryRowContext(ctx, "SELECT last FROM counters").Scan(&last)
	return last, explain(s.opts.Path, "read", err)
}

// Check reads and writes the file, through to the disk.
func (s *Store) Check(ctx context.Context) error {
	if _, err := s.Last(ctx); err != nil {
		return err
	}
	ctx, leave, err := s.gate.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if s.writer == nil {
		return s.readOnly()
	}
	err = s.writer.do(ctx, func() error {
		_, err := s.writer.c.exec("UPDATE counters SET checked_us = ?", named(s.opts.Now().UnixMicro()))
		return err
	})
	return explain(s.opts.Path, "write to", err)
}

// Rejected returns the newest messages that were no events, up to limit.
func (s *Store) Rejected(ctx context.Context, limit int) ([]store.Rejected, error) {
	ctx, leave, err := s.gate.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	rows, err := s.readers.QueryContext(ctx, "SELECT reason, raw FROM rejected ORDER BY id DESC LIMIT ?", limit)
	if err != nil {
		return nil, explain(s.opts.Path, "read", err)
	}
	var out []store.Rejected
	err = eachRow(rows, func() error {
		var r store.Rejected
		err := rows.Scan(&r.Reason, &r.Raw)
		out = append(out, r)
		return err
	})
	return out, explain(s.opts.Path, "read", err)
}
