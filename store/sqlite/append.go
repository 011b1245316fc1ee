package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"strings"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlfilter"
)

// Append writes the batch in one transaction. A duplicate within it may leave
// a gap in the sequence; the order of commits holds all the same.
func (s *Store) Append(ctx context.Context, b store.Batch) (store.Appended, error) {
	ctx, leave, err := s.gate.Enter(ctx)
	if err != nil {
		return store.Appended{}, err
	}
	defer leave()
	if s.writer == nil {
		return store.Appended{}, s.readOnly()
	}
	rows, err := rowsOf(b.Events)
	if err != nil {
		return store.Appended{}, err
	}
	var out store.Appended
	w := s.writer
	err = w.do(ctx, func() error {
		out = store.Appended{}
		stored := s.opts.Now().UnixMicro()
		if err := w.intern(rows); err != nil {
			return err
		}
		for todo := rows; len(todo) > 0; {
			// The only place where a caller who gave up is heeded: what is
			// written so far is undone.
			if err := ctx.Err(); err != nil {
				return err
			}
			n := chunk(len(todo))
			added, err := w.insert(todo[:n], stored)
			if err != nil {
				return err
			}
			out.Duplicates += n - added
			todo = todo[n:]
		}
		for _, r := range b.Rejected {
			if err := w.reject(r, stored); err != nil {
				return err
			}
		}
		if err := w.enter(rows); err != nil {
			return err
		}
		out.Last = w.last
		if _, err := w.c.exec("UPDATE counters SET last = ?", named(w.last)); err != nil {
			return err
		}
		if err := w.noteSessions(rows); err != nil {
			return err
		}
		return w.insertWords(rows)
	})
	if err != nil {
		return store.Appended{}, explain(s.opts.Path, "write events to", err)
	}
	s.folder.committed()
	return out, nil
}

func (s *Store) readOnly() error {
	return bloodbank.Errorf(bloodbank.CodeUnsupported, "the store %s is open for reading only; let the process that owns it write", s.opts.Path)
}

// row is an event made ready outside of the transaction.
type row struct {
	*sqlfilter.Row
	parents []byte
	digest  store.Hash
	// sequence is 0 for a duplicate.
	sequence int64
}

func rowsOf(events []store.Incoming) ([]row, error) {
	shared, err := sqlfilter.Rows(events, &sqlfilter.Indexer{Cut: cutWord})
	if err != nil {
		return nil, err
	}
	rows := make([]row, len(shared))
	for i := range shared {
		ids := shared[i].Envelope.CorrelationIDs
		r := row{Row: &shared[i], parents: make([]byte, 0, 16*len(ids)), digest: sha256.Sum256(shared[i].Raw)}
		for j := range ids {
			r.parents = append(r.parents, ids[j][:]...)
		}
		rows[i] = r
	}
	return rows, nil
}

// chunk says how many of n rows the next statement takes. Few sizes, so that
// few statements are prepared.
func chunk(n int) int {
	for _, size := range []int{64, 8} {
		if n >= size {
			return size
		}
	}
	return 1
}

// values is the SQL of n rows of placeholders.
func values(head string, columns, n int) string {
	one := "(?" + strings.Repeat(",?", columns-1) + ")"
	return head + one + strings.Repeat(","+one, n-1)
}

const (
	eventColumns = 15
	insertEvents = `INSERT OR IGNORE INTO events (sequence, event_id, time_us, stored_us, type, app, host, source,
		agent, agent_type, session, project, flags, parents, raw) VALUES `
	insertEdges = `INSERT OR IGNORE INTO edges (parent, child) VALUES `
	insertWords = `INSERT INTO search (rowid, words) VALUES (?, ?)`
)

// intern turns the names of all rows into their ids.
func (w *writer) intern(rows []row) (err error) {
	for i := range rows {
		r := &rows[i]
		for j, text := range r.Texts {
			if !r.Named[j] {
				continue
			}
			r.Names[j], err = w.names.intern(w.c, sqlfilter.Name{Kind: sqlfilter.KindOfColumn(j), Text: text})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// insert writes one chunk and returns how many of its events were new; those
// get their sequence.
func (w *writer) insert(rows []row, stored int64) (int, error) {
	w.args = w.args[:0]
	first := w.last + 1
	for i := range rows {
		r := &rows[i]
		n := &r.Names
		w.bind(first+int64(i), r.Envelope.EventID[:], r.Envelope.Timestamp.UnixMicro(), stored,
			n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], int64(r.Flags), r.parents, r.Raw)
	}
	added, err := w.c.exec(values(insertEvents, eventColumns, len(rows)), w.args)
	if err != nil || added == 0 {
		return 0, err
	}
	if int(added) == len(rows) {
		for i := range rows {
			rows[i].sequence = first + int64(i)
		}
	} else {
		// Duplicates were ignored: what has no row now was not inserted.
		err := w.c.each("SELECT sequence FROM events WHERE sequence >= ?", named(first), func(r []driver.Value) error {
			seq, _ := r[0].(int64)
			rows[seq-first].sequence = seq
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	for i := range rows {
		w.last = max(w.last, rows[i].sequence)
	}
	return int(added), w.insertEdges(rows)
}

func (w *writer) bind(vs ...driver.Value) {
	for _, v := range vs {
		w.args = append(w.args, driver.NamedValue{Ordinal: len(w.args) + 1, Value: v})
	}
}

// insertEdges writes the edges of the new rows. An event that names a parent
// twice has one edge.
func (w *writer) insertEdges(rows []row) error {
	w.args = w.args[:0]
	edges := 0
	for i := range rows {
		if rows[i].sequence == 0 {
			continue
		}
		for p := rows[i].parents; len(p) > 0; p = p[16:] {
			w.bind(p[:16:16], rows[i].sequence)
			edges++
		}
	}
	return w.inChunks(insertEdges, 2, edges)
}

// insertWords must come last in the transaction, one row at a time: the index
// writes out what it has gathered whenever a later statement could be undone on
// its own, and a small piece costs nearly as much as a large one.
func (w *writer) insertWords(rows []row) error {
	for i := range rows {
		if rows[i].sequence == 0 {
			continue
		}
		w.args = w.args[:0]
		w.bind(rows[i].sequence, rows[i].Words)
		if _, err := w.c.exec(insertWords, w.args); err != nil {
			return err
		}
	}
	return nil
}

// inChunks runs an insert over all of w.args.
func (w *writer) inChunks(head string, columns, rows int) error {
	args := w.args
	for rows > 0 {
		n := chunk(rows)
		part := args[:n*columns]
		for i := range part {
			part[i].Ordinal = i + 1
		}
		if _, err := w.c.exec(values(head, columns, n), part); err != nil {
			return err
		}
		args, rows = args[n*columns:], rows-n
	}
	return nil
}

func (w *writer) reject(r store.Rejected, at int64) error {
	sum := sha256.New()
	sum.Write([]byte(r.Reason + "\x00"))
	sum.Write(r.Raw)
	raw := r.Raw
	if raw == nil {
		raw = []byte{}
	}
	_, err := w.c.exec("INSERT OR IGNORE INTO rejected (digest, at_us, reason, raw) VALUES (?, ?, ?, ?)",
		named(sum.Sum(nil), at, r.Reason, raw))
	return err
}
