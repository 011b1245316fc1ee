package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/33god/bloodbank/store"
)

var _ store.Ledger = (*Store)(nil)

// ledgerPages is how many pages an answer holds at the most; a page has as many
// entries as a batch had events.
const ledgerPages = 64

// Place names the store without its secrets: host, port and database.
func (s *Store) Place() string { return s.place }

// LedgerStart implements [store.Ledger].
func (s *Store) LedgerStart(ctx context.Context) (out store.LedgerStart, err error) {
	err = s.call(ctx, "read the ledger of", func(ctx context.Context, c *pgx.Conn) error {
		err := c.QueryRow(ctx, "SELECT after, at, events, bytes FROM ledger_start").Scan(&out.After, &out.At, &out.Events, &out.Bytes)
		out.At = out.At.UTC()
		return err
	})
	return out, err
}

// LedgerPages implements [store.Ledger].
func (s *Store) LedgerPages(ctx context.Context, after int64) (pages []store.LedgerPage, err error) {
	err = s.call(ctx, "read the ledger of", func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, "SELECT first, last, before, entries FROM ledger WHERE last > $1 ORDER BY last LIMIT $2", after, ledgerPages)
		if err != nil {
			return err
		}
		pages, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (p store.LedgerPage, err error) {
			var before []byte
			err = row.Scan(&p.First, &p.Last, &before, &p.Raw)
			copy(p.Before[:], before)
			return p, err
		})
		return err
	})
	return pages, err
}

// Fingerprints implements [store.Ledger]. The server hashes, so that the events
// need not travel.
func (s *Store) Fingerprints(ctx context.Context, first, last int64, limit int) (out []store.Fingerprint, err error) {
	err = s.call(ctx, "read events from", func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, "SELECT sequence, event_id, sha256(raw) FROM events WHERE sequence BETWEEN $1 AND $2 ORDER BY sequence LIMIT $3", first, last, limit)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (f store.Fingerprint, err error) {
			var id [16]byte
			var digest []byte
			err = row.Scan(&f.Sequence, &id, &digest)
			f.ID = id
			copy(f.Digest[:], digest)
			return f, err
		})
		return err
	})
	return out, err
}

// Removals implements [store.Ledger].
func (s *Store) Removals(ctx context.Context, first, last int64) ([]store.Removal, error) {
	return s.removals(ctx, "WHERE last >= $1 AND first <= $2 ORDER BY id", first, last)
}

// RemovalLog implements [store.Ledger].
func (s *Store) RemovalLog(ctx context.Context, after int64, limit int) ([]store.Removal, error) {
	return s.removals(ctx, "WHERE id > $1 ORDER BY id LIMIT $2", after, limit)
}

func (s *Store) removals(ctx context.Context, which string, args ...any) (out []store.Removal, err error) {
	err = s.call(ctx, "read the removals of", func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, "SELECT id, at, reason, events, bytes, ranges, link FROM removals "+which, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r store.Removal, err error) {
			var at time.Time
			var ranges, link []byte
			err = row.Scan(&r.ID, &at, &r.Reason, &r.Events, &r.Bytes, &ranges, &link)
			r.At, r.Ranges = at.UTC(), store.DecodeRanges(ranges)
			copy(r.Link[:], link)
			return r, err
		})
		return err
	})
	return out, err
}
