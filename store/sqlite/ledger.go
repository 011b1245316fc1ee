package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/33god/bloodbank/store"
)

var _ store.Ledger = (*Store)(nil)

// ledgerPages is how many pages an answer holds at the most; a page has as many
// entries as a batch had events.
const (
	ledgerPages = 64
	ledgerBytes = 1 << 20
)

// enter writes the new ones of rows into the ledger, which ends at w.link.
func (w *writer) enter(rows []row) error {
	before, page, bytes := w.link, make([]byte, 0, store.EntrySize*len(rows)), int64(0)
	var first, last int64
	for i := range rows {
		r := &rows[i]
		if r.sequence == 0 {
			continue
		}
		e := store.Entry{Sequence: r.sequence, ID: r.Envelope.EventID, Digest: r.digest}
		e.Link = e.Follow(w.link)
		page, w.link, last = e.Append(page), e.Link, r.sequence
		bytes += int64(len(r.Raw))
		if first == 0 {
			first = r.sequence
		}
	}
	if first == 0 {
		return nil
	}
	_, err := w.c.exec("INSERT INTO ledger (last, first, bytes, before, entries) VALUES (?, ?, ?, ?, ?)",
		named(last, first, bytes, before[:], page))
	return err
}

// readLink returns the newest link.
func (w *writer) readLink() (link store.Hash, err error) {
	found, whole := false, false
	err = w.c.each("SELECT substr(entries, -32) FROM ledger ORDER BY last DESC LIMIT 1", nil, func(r []driver.Value) error {
		b, _ := r[0].([]byte)
		found, whole = true, len(b) == sha256.Size
		copy(link[:], b)
		return nil
	})
	if err != nil || found && whole {
		return link, err
	}
	if found {
		return link, fmt.Errorf("the newest page of the ledger is damaged; bb verify says more")
	}
	after, err := w.c.int("SELECT after FROM ledger_start")
	return store.LedgerOrigin(after), err
}

// reading runs f as a call that only reads.
func (s *Store) reading(ctx context.Context, doing string, f func(ctx context.Context) error) error {
	ctx, leave, err := s.gate.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return explain(s.opts.Path, doing, f(ctx))
}

// LedgerStart implements [store.Ledger].
func (s *Store) LedgerStart(ctx context.Context) (out store.LedgerStart, err error) {
	err = s.reading(ctx, "read the ledger of", func(ctx context.Context) error {
		var at int64
		err := s.readers.QueryRowContext(ctx, "SELECT after, at_us, events, bytes FROM ledger_start").Scan(&out.After, &at, &out.Events, &out.Bytes)
		out.At = time.UnixMicro(at).UTC()
		return err
	})
	return out, err
}

// LedgerPages implements [store.Ledger].
func (s *Store) LedgerPages(ctx context.Context, after int64) (pages []store.LedgerPage, err error) {
	err = s.reading(ctx, "read the ledger of", func(ctx context.Context) error {
		rows, err := s.readers.QueryContext(ctx, "SELECT first, last, before, entries FROM ledger WHERE last > ? ORDER BY last LIMIT ?", after, ledgerPages)
		if err != nil {
			return err
		}
		bytes := 0
		for bytes < ledgerBytes && rows.Next() {
			var p store.LedgerPage
			var before []byte
			if err = rows.Scan(&p.First, &p.Last, &before, &p.Raw); err != nil {
				break
			}
			copy(p.Before[:], before)
			pages, bytes = append(pages, p), bytes+len(p.Raw)
		}
		return errors.Join(err, rows.Err(), rows.Close())
	})
	return pages, err
}

// Fingerprints implements [store.Ledger].
func (s *Store) Fingerprints(ctx context.Context, first, last int64, limit int) (out []store.Fingerprint, err error) {
	err = s.reading(ctx, "read events from", func(ctx context.Context) error {
		rows, err := s.readers.QueryContext(ctx, "SELECT sequence, event_id, raw FROM events WHERE sequence BETWEEN ? AND ? ORDER BY sequence LIMIT ?", first, last, limit)
		if err != nil {
			return err
		}
		var id, raw sql.RawBytes
		return eachRow(rows, func() error {
			var f store.Fingerprint
			err := rows.Scan(&f.Sequence, &id, &raw)
			f.ID, f.Digest = eventID(id), sha256.Sum256(raw)
			out = append(out, f)
			return err
		})
	})
	return out, err
}

// Removals implements [store.Ledger].
func (s *Store) Removals(ctx context.Context, first, last int64) ([]store.Removal, error) {
	return s.removals(ctx, "WHERE last >= ? AND first <= ? ORDER BY id", first, last)
}

// RemovalLog implements [store.Ledger].
func (s *Store) RemovalLog(ctx context.Context, after int64, limit int) ([]store.Removal, error) {
	return s.removals(ctx, "WHERE id > ? ORDER BY id LIMIT ?", after, limit)
}

func (s *Store) removals(ctx context.Context, which string, args ...any) (out []store.Removal, err error) {
	err = s.reading(ctx, "read the removals of", func(ctx context.Context) error {
		rows, err := s.readers.QueryContext(ctx, "SELECT id, at_us, reason, events, bytes, ranges, link FROM removals "+which, args...)
		if err != nil {
			return err
		}
		return eachRow(rows, func() error {
			var r store.Removal
			var at int64
			var ranges, link []byte
			err := rows.Scan(&r.ID, &at, &r.Reason, &r.Events, &r.Bytes, &ranges, &link)
			r.At, r.Ranges = time.UnixMicro(at).UTC(), store.DecodeRanges(ranges)
			copy(r.Link[:], link)
			out = append(out, r)
			return err
		})
	})
	return out, err
}
