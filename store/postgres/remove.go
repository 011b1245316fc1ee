package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

var _ store.Remover = (*Store)(nil)

// Heads implements [store.Remover].
func (s *Store) Heads(ctx context.Context, after int64, limit int) (out []store.Head, err error) {
	err = s.call(ctx, "read events from", func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, `SELECT e.sequence, e.stored_at, n.text, e.size FROM
			(SELECT sequence, stored_at, type, octet_length(raw) AS size FROM events WHERE sequence > $1 ORDER BY sequence LIMIT $2) e
			JOIN names n ON n.id = e.type ORDER BY e.sequence`, after, limit)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (h store.Head, err error) {
			var text string
			err = row.Scan(&h.Sequence, &h.StoredAt, &text, &h.Bytes)
			h.StoredAt, h.Type = h.StoredAt.UTC(), bloodbank.EventType(unescape(text))
			return h, err
		})
		return err
	})
	return out, err
}

// Usage implements [store.Remover].
func (s *Store) Usage(ctx context.Context) (u store.Usage, err error) {
	err = s.call(ctx, "read the ledger of", func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, `SELECT (s.events + l.events - r.events)::bigint, (s.bytes + l.bytes - r.bytes)::bigint, r.events, r.bytes FROM ledger_start s,
			(SELECT coalesce(sum(octet_length(entries)), 0)::bigint / $1 AS events, coalesce(sum(bytes), 0)::bigint AS bytes FROM ledger) l,
			(SELECT coalesce(sum(events), 0)::bigint AS events, coalesce(sum(bytes), 0)::bigint AS bytes FROM removals) r`, int64(store.EntrySize)).
			Scan(&u.Events, &u.Bytes, &u.RemovedEvents, &u.RemovedBytes)
	})
	return u, err
}

// removalLock is held by who removes, until the commit: removals are one chain.
// Who appends does not wait for it.
const removalLock = 1111647607

const deleteEvents = `WITH gone AS (
		DELETE FROM events WHERE sequence = ANY ($1) AND sequence < (SELECT max(sequence) FROM events) RETURNING sequence, parents, session, octet_length(raw) AS size
	), edge AS (
		DELETE FROM edges e USING (SELECT DISTINCT p.id, g.sequence FROM gone g CROSS JOIN LATERAL unnest(g.parents) AS p (id)) x
		WHERE e.parent = x.id AND e.child = x.sequence
	)
	SELECT coalesce(array_agg(sequence ORDER BY sequence), '{}'), coalesce(array_agg(DISTINCT session), '{}'), coalesce(sum(size), 0)::bigint FROM gone`

// forgetSessions takes those out of the list of which no event is left.
const forgetSessions = `DELETE FROM voice_sessions v WHERE v.session = ANY ($1) AND v.session <> 0
	AND NOT EXISTS (SELECT FROM events e WHERE e.session = v.session AND e.session <> 0)`

// Remove implements [store.Remover]. Where the connection broke before the answer
// came it is tried again, and then finds nothing to remove.
func (s *Store) Remove(ctx context.Context, sequences []int64, reason string) (r store.Removal, err error) {
	if err := store.CheckRemove(sequences); err != nil {
		return r, err
	}
	err = s.call(ctx, "remove events from", func(ctx context.Context, c *pgx.Conn) error {
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) (err error) {
			r, err = remove(ctx, tx, sequences, reason, s.opts.Now())
			return err
		})
	})
	if err != nil {
		return store.Removal{}, err
	}
	return r, nil
}

func remove(ctx context.Context, tx pgx.Tx, sequences []int64, reason string, now time.Time) (store.Removal, error) {
	r := store.Removal{At: now.UTC().Truncate(time.Microsecond), Reason: reason}
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1, 'events'::regclass::oid::integer)", int32(removalLock)); err != nil {
		return r, err
	}
	var gone []int64
	var sessions []int32
	if err := tx.QueryRow(ctx, deleteEvents, sequences).Scan(&gone, &sessions, &r.Bytes); err != nil || len(gone) == 0 {
		return r, err
	}
	if _, err := tx.Exec(ctx, forgetSessions, sessions); err != nil {
		return r, err
	}
	r.Events, r.Ranges = int64(len(gone)), store.Ranges(gone)
	var before []byte
	err := tx.QueryRow(ctx, "SELECT id, link FROM removals ORDER BY id DESC LIMIT 1").Scan(&r.ID, &before)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return r, err
	}
	var link store.Hash
	copy(link[:], before)
	r.ID++
	r.Link = r.Follow(link)
	_, err = tx.Exec(ctx, "INSERT INTO removals (id, at, reason, first, last, events, bytes, ranges, link) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		r.ID, r.At, r.Reason, r.Ranges[0].First, r.Ranges[len(r.Ranges)-1].Last, r.Events, r.Bytes, store.AppendRanges(nil, r.Ranges), r.Link[:])
	return r, err
}
