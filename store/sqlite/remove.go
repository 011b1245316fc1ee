package sqlite

import (
	"context"
	"database/sql/driver"
	"slices"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

var _ store.Remover = (*Store)(nil)

// Heads implements [store.Remover].
func (s *Store) Heads(ctx context.Context, after int64, limit int) (out []store.Head, err error) {
	err = s.reading(ctx, "read events from", func(ctx context.Context) error {
		rows, err := s.readers.QueryContext(ctx, `SELECT e.sequence, e.stored_us, n.text, length(e.raw) FROM events e JOIN names n ON n.id = e.type
			WHERE e.sequence > ? ORDER BY e.sequence LIMIT ?`, after, limit)
		if err != nil {
			return err
		}
		return eachRow(rows, func() error {
			var h store.Head
			var at int64
			err := rows.Scan(&h.Sequence, &at, &h.Type, &h.Bytes)
			h.StoredAt = time.UnixMicro(at).UTC()
			out = append(out, h)
			return err
		})
	})
	return out, err
}

// Usage implements [store.Remover].
func (s *Store) Usage(ctx context.Context) (u store.Usage, err error) {
	err = s.reading(ctx, "read the ledger of", func(ctx context.Context) error {
		return s.readers.QueryRowContext(ctx, `SELECT s.events + l.events - r.events, s.bytes + l.bytes - r.bytes, r.events, r.bytes FROM ledger_start s,
			(SELECT coalesce(sum(length(entries)), 0) / ? AS events, coalesce(sum(bytes), 0) AS bytes FROM ledger) l,
			(SELECT coalesce(sum(events), 0) AS events, coalesce(sum(bytes), 0) AS bytes FROM removals) r`, store.EntrySize).
			Scan(&u.Events, &u.Bytes, &u.RemovedEvents, &u.RemovedBytes)
	})
	return u, err
}

// Remove implements [store.Remover].
func (s *Store) Remove(ctx context.Context, sequences []int64, reason string) (store.Removal, error) {
	if err := store.CheckRemove(sequences); err != nil {
		return store.Removal{}, err
	}
	ctx, leave, err := s.gate.Enter(ctx)
	if err != nil {
		return store.Removal{}, err
	}
	defer leave()
	if s.writer == nil {
		return store.Removal{}, s.readOnly()
	}
	var r store.Removal
	err = s.writer.do(ctx, func() (err error) {
		r, err = s.writer.remove(sequences, reason, s.opts.Now())
		return err
	})
	if err != nil {
		return store.Removal{}, explain(s.opts.Path, "remove events from", err)
	}
	s.folder.committed()
	return r, nil
}

// doomed is an event that goes.
type doomed struct {
	sequence     int64
	session      int64 // 0 is none
	parents, raw []byte
}

func (w *writer) remove(sequences []int64, reason string, now time.Time) (store.Removal, error) {
	r := store.Removal{At: now.UTC().Truncate(time.Microsecond), Reason: reason}
	var gone []int64
	sessions := map[int64]bool{}
	for _, n := range slices.Compact(slices.Sorted(slices.Values(sequences))) {
		d, err := w.doomed(n)
		if err != nil {
			return r, err
		}
		if d.sequence == 0 || n == w.last {
			continue
		}
		if err := w.delete(d); err != nil {
			return r, err
		}
		gone = append(gone, n)
		sessions[d.session] = true
		r.Bytes += int64(len(d.raw))
	}
	if r.Events = int64(len(gone)); r.Events == 0 {
		return r, nil
	}
	if err := w.forgetSessions(sessions); err != nil {
		return r, err
	}
	r.Ranges = store.Ranges(gone)
	return r, w.record(&r)
}

func (w *writer) doomed(sequence int64) (d doomed, err error) {
	err = w.c.each("SELECT parents, raw, session FROM events WHERE sequence = ?", named(sequence), func(row []driver.Value) error {
		parents, _ := row[0].([]byte)
		raw, _ := row[1].([]byte)
		session, _ := row[2].(int64)
		d = doomed{sequence, session, slices.Clone(parents), slices.Clone(raw)}
		return nil
	})
	return d, err
}

// delete takes the event out of its table and the indexes. The one of words
// must be told what it holds.
func (w *writer) delete(d doomed) error {
	for p := d.parents; len(p) > 0; p = p[16:] {
		if _, err := w.c.exec("DELETE FROM edges WHERE parent = ? AND child = ?", named(p[:16:16], d.sequence)); err != nil {
			return err
		}
	}
	if _, err := w.c.exec("DELETE FROM events WHERE sequence = ?", named(d.sequence)); err != nil {
		return err
	}
	envelope, err := bloodbank.DecodeEnvelope(d.raw)
	if err != nil {
		// This version cannot read it: its words lead to no event from now on.
		return nil
	}
	rows, err := rowsOf([]store.Incoming{{Envelope: envelope, Raw: d.raw}})
	if err != nil {
		return err
	}
	_, err = w.c.exec("INSERT INTO search (search, rowid, words) VALUES ('delete', ?, ?)", named(d.sequence, rows[0].Words))
	return err
}

// forgetSessions takes those out of the list of which no event is left.
func (w *writer) forgetSessions(sessions map[int64]bool) error {
	delete(sessions, 0)
	for session := range sessions {
		_, err := w.c.exec("DELETE FROM voice_sessions WHERE session = ?1 AND NOT EXISTS (SELECT 1 FROM events WHERE session = ?1 AND session <> 0)", named(session))
		if err != nil {
			return err
		}
	}
	return nil
}

// record writes r behind the removals before it.
func (w *writer) record(r *store.Removal) error {
	var before store.Hash
	r.ID = 1
	err := w.c.each("SELECT id, link FROM removals ORDER BY id DESC LIMIT 1", nil, func(row []driver.Value) error {
		id, _ := row[0].(int64)
		link, _ := row[1].([]byte)
		r.ID = id + 1
		copy(before[:], link)
		return nil
	})
	if err != nil {
		return err
	}
	r.Link = r.Follow(before)
	_, err = w.c.exec("INSERT INTO removals (id, at_us, reason, first, last, events, bytes, ranges, link) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		named(r.ID, r.At.UnixMicro(), r.Reason, r.Ranges[0].First, r.Ranges[len(r.Ranges)-1].Last, r.Events, r.Bytes, store.AppendRanges(nil, r.Ranges), r.Link[:]))
	return err
}
