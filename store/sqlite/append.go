package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"strings"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// Append writes the batch in one transaction. A duplicate within it may leave
// a gap in the sequence; the order of commits holds all the same.
func (s *Store) Append(ctx context.Context, b store.Batch) (store.Appended, error) {
	ctx, leave, err := s.enter(ctx)
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
		for len(rows) > 0 {
			// The only place where a caller who gave up is heeded: what is
			// written so far is undone.
			if err := ctx.Err(); err != nil {
				return err
			}
			n := chunk(len(rows))
			added, err := w.insert(rows[:n], stored)
			if err != nil {
				return err
			}
			out.Duplicates += n - added
			rows = rows[n:]
		}
		for _, r := range b.Rejected {
			if err := w.reject(r, stored); err != nil {
				return err
			}
		}
		out.Last = w.last
		_, err := w.c.exec("UPDATE counters SET last = ?", named(w.last))
		return err
	})
	if err != nil {
		return store.Appended{}, explain(s.opts.Path, "write events to", err)
	}
	return out, nil
}

func (s *Store) readOnly() error {
	return bloodbank.Errorf(bloodbank.CodeUnsupported, "the store %s is open for reading only; let the process that owns it write", s.opts.Path)
}

// row is an event made ready outside of the transaction.
type row struct {
	store.Incoming
	session, project string
	flags            int64
	parents          []byte
	words            string
}

// The flags of an event, as in the file.
const (
	flagFailed   = 1
	flagReplayed = 2
)

func rowsOf(events []store.Incoming) ([]row, error) {
	rows := make([]row, len(events))
	for i, in := range events {
		e := &in.Envelope
		if e.EventID.IsZero() || e.EventType == "" || len(in.Raw) == 0 {
			return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "event %d of the batch has no id, no type or no wire form; decode it before it is stored", i)
		}
		r := row{Incoming: in, session: e.SessionID(), project: textMember(e.Payload, "project"), flags: flagsOf(e), words: indexWords(e)}
		r.parents = make([]byte, 0, 16*len(e.CorrelationIDs))
		for _, p := range e.CorrelationIDs {
			r.parents = append(r.parents, p[:]...)
		}
		rows[i] = r
	}
	return rows, nil
}

func flagsOf(e *bloodbank.Envelope) (flags int64) {
	if t := string(e.EventType); strings.HasSuffix(t, ".failed") || strings.HasSuffix(t, ".error") {
		flags |= flagFailed
	}
	if !e.ReplayOf.IsZero() {
		flags |= flagReplayed
	}
	return flags
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
	insertWords = `INSERT INTO search (rowid, words) VALUES `
)

// insert writes one chunk and returns how many of its events were new.
func (w *writer) insert(rows []row, stored int64) (int, error) {
	w.args = w.args[:0]
	for i := range rows {
		if err := w.bindEvent(&rows[i], w.last+1+int64(i), stored); err != nil {
			return 0, err
		}
	}
	added, err := w.c.exec(values(insertEvents, eventColumns, len(rows)), w.args)
	if err != nil || added == 0 {
		return 0, err
	}
	first := w.last + 1
	fresh := func(int64) bool { return true }
	if int(added) < len(rows) {
		// Ignored rows were duplicates: what has no row now was not inserted.
		there := make(map[int64]bool, added)
		err := w.c.each("SELECT sequence FROM events WHERE sequence >= ?", named(first), func(r []driver.Value) error {
			there[r[0].(int64)] = true
			return nil
		})
		if err != nil {
			return 0, err
		}
		fresh = func(seq int64) bool { return there[seq] }
	}
	for i := range rows {
		if seq := first + int64(i); fresh(seq) {
			w.last = seq
		}
	}
	if err := w.insertEdges(rows, first, fresh); err != nil {
		return 0, err
	}
	return int(added), w.insertWords(rows, first, fresh)
}

func (w *writer) bind(vs ...driver.Value) {
	for _, v := range vs {
		w.args = append(w.args, driver.NamedValue{Ordinal: len(w.args) + 1, Value: v})
	}
}

func (w *writer) bindEvent(r *row, seq, stored int64) error {
	e := &r.Envelope
	var ids [8]int64
	intern := func(i int, k kind, text string) error {
		id, err := w.names.intern(w.c, k, text)
		ids[i] = id
		return err
	}
	columns := []struct {
		kind kind
		text string
	}{
		{kindType, string(e.EventType)}, {kindApp, e.Source.App}, {kindHost, e.Source.Host},
		{kindSource, string(e.Source.Type)}, {kindAgent, ""}, {kindAgent, ""}, {kindSession, r.session}, {kindProject, r.project},
	}
	if a := e.AgentContext; a != nil {
		columns[5].text = string(a.Type)
		if a.Name != nil {
			columns[4].text = *a.Name
		}
	}
	for i, c := range columns {
		if c.text == "" {
			continue
		}
		if err := intern(i, c.kind, c.text); err != nil {
			return err
		}
	}
	w.bind(seq, e.EventID[:], e.Timestamp.UnixMicro(), stored, ids[0], ids[1], ids[2], ids[3], ids[4], ids[5], ids[6], ids[7],
		r.flags, r.parents, r.Raw)
	return nil
}

// insertEdges writes the edges of the new rows. An event that names a parent
// twice has one edge.
func (w *writer) insertEdges(rows []row, first int64, fresh func(int64) bool) error {
	w.args = w.args[:0]
	edges := 0
	for i := range rows {
		seq := first + int64(i)
		if !fresh(seq) {
			continue
		}
		for p := rows[i].parents; len(p) > 0; p = p[16:] {
			w.bind(p[:16:16], seq)
			edges++
		}
	}
	return w.inChunks(insertEdges, 2, edges)
}

func (w *writer) insertWords(rows []row, first int64, fresh func(int64) bool) error {
	w.args = w.args[:0]
	n := 0
	for i := range rows {
		if seq := first + int64(i); fresh(seq) {
			w.bind(seq, rows[i].words)
			n++
		}
	}
	return w.inChunks(insertWords, 2, n)
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
