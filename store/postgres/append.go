package postgres

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlfilter"
)

// maxStatement is how many bytes of wire forms one statement carries; a batch
// with more takes several, in one transaction. PostgreSQL's own limit is 1 GB.
const maxStatement = 64 << 20

// Append writes the batch in one transaction. Duplicates may leave gaps in the
// sequence; the order of commits holds all the same. Where the connection broke
// before the answer came the batch is sent again, and events that had been
// written after all count as duplicates.
func (s *Store) Append(ctx context.Context, b store.Batch) (out store.Appended, err error) {
	rows, err := rowsOf(b.Events)
	if err != nil {
		return out, err
	}
	leave, err := s.takeTurn(ctx)
	if err != nil {
		return out, err
	}
	defer leave()
	now := s.opts.Now()
	err = s.call(ctx, "write events to", func(ctx context.Context, c *pgx.Conn) error {
		out = store.Appended{}
		dictionary, err := s.intern(ctx, c, rows)
		if err != nil {
			return err
		}
		parts := split(rows)
		if len(parts) == 1 {
			return appendPart(ctx, c, dictionary, parts[0], b.Rejected, now, &out)
		}
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			rejected := b.Rejected
			for _, part := range parts {
				if err := appendPart(ctx, tx.Conn(), dictionary, part, rejected, now, &out); err != nil {
					return err
				}
				rejected = nil
			}
			return nil
		})
	})
	if err != nil {
		return store.Appended{}, err
	}
	s.tidier.added(len(rows) - out.Duplicates)
	return out, nil
}

// takeTurn waits for one of the turns to write. The line has an end.
func (s *Store) takeTurn(ctx context.Context) (leave func(), err error) {
	ctx, done, err := s.gate.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if s.waiting.Add(1) > int64(s.opts.MaxWaiting)+writers {
		s.waiting.Add(-1)
		return nil, bloodbank.Errorf(bloodbank.CodeOverloaded, "%d writes are waiting for the store %s already; try again, with larger batches", s.opts.MaxWaiting, s.place)
	}
	select {
	case <-s.turns:
		return func() {
			s.turns <- struct{}{}
			s.waiting.Add(-1)
		}, nil
	case <-ctx.Done():
		s.waiting.Add(-1)
		return nil, s.explain(ctx, "write events to", ctx.Err())
	}
}

// rowsOf makes events ready before a connection is taken.
func rowsOf(events []store.Incoming) ([]sqlfilter.Row, error) {
	return sqlfilter.Rows(events, &sqlfilter.Indexer{Cut: cutWord, MaxBytes: maxWords, Overflow: overflow})
}

// intern turns the names of all rows into their ids in the dictionary.
func (s *Store) intern(ctx context.Context, c *pgx.Conn, rows []sqlfilter.Row) (dictionary uint32, err error) {
	ids := map[sqlfilter.Name]int64{}
	for i := range rows {
		for j, named := range rows[i].Named {
			if named {
				ids[sqlfilter.Name{Kind: sqlfilter.KindOfColumn(j), Text: rows[i].Texts[j]}] = 0
			}
		}
	}
	if dictionary, err = s.names.intern(ctx, c, ids); err != nil {
		return 0, err
	}
	for i := range rows {
		for j, named := range rows[i].Named {
			if named {
				rows[i].Names[j] = ids[sqlfilter.Name{Kind: sqlfilter.KindOfColumn(j), Text: rows[i].Texts[j]}]
			}
		}
	}
	return dictionary, nil
}

// split returns at least one part.
func split(rows []sqlfilter.Row) (parts [][]sqlfilter.Row) {
	begin, bytes := 0, 0
	for i := range rows {
		n := len(rows[i].Raw) + len(rows[i].Words)
		if bytes += n; bytes > maxStatement && i > begin {
			parts = append(parts, rows[begin:i])
			begin, bytes = i, n
		}
	}
	return append(parts, rows[begin:])
}

const appendSQL = "SELECT added, newest FROM append_batch($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19)"

// appendPart adds to out.
func appendPart(ctx context.Context, c *pgx.Conn, dictionary uint32, rows []sqlfilter.Row, rejected []store.Rejected, now time.Time, out *store.Appended) error {
	n := len(rows)
	ids, times := make([][16]byte, n), make([]time.Time, n)
	var columns [sqlfilter.NameColumns][]int64
	for j := range columns {
		columns[j] = make([]int64, n)
	}
	flags, parents := make([]int16, n), make([]string, n)
	raws, words := make([][]byte, n), make([]string, n)
	for i := range rows {
		r := &rows[i]
		ids[i], times[i], flags[i], raws[i], words[i] = r.Envelope.EventID, r.Envelope.Timestamp, r.Flags, r.Raw, r.Words
		parents[i] = arrayText(r.Envelope.CorrelationIDs)
		for j := range columns {
			columns[j][i] = r.Names[j]
		}
	}
	digests, reasons, remains := make([][]byte, len(rejected)), make([]string, len(rejected)), make([][]byte, len(rejected))
	for i, r := range rejected {
		sum := sha256.New()
		sum.Write([]byte(r.Reason + "\x00"))
		sum.Write(r.Raw)
		digests[i], reasons[i], remains[i] = sum.Sum(nil), escape(r.Reason), append([]byte{}, r.Raw...)
	}
	var added int
	err := c.QueryRow(ctx, appendSQL, dictionary, ids, times, columns[0], columns[1], columns[2], columns[3],
		columns[4], columns[5], columns[6], columns[7], flags, parents, raws, words, now, digests, reasons, remains).Scan(&added, &out.Last)
	out.Duplicates += n - added
	return err
}

// arrayText writes an array of uuid, which the lists of a batch cannot be: an
// array of arrays must be a rectangle.
func arrayText(ids []bloodbank.EventID) string {
	b := make([]byte, 1, 2+37*len(ids))
	b[0] = '{'
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, id.String()...)
	}
	return string(append(b, '}'))
}
