package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlfilter"
)

// Query returns a page. Where the filter must be decided on the events
// themselves, it reads as many as it takes to fill the page: only ctx ends that.
func (s *Store) Query(ctx context.Context, q store.Query) (page store.Page, err error) {
	if q, err = q.Normalize(); err != nil {
		return page, err
	}
	err = s.snapshot(ctx, "search", func(ctx context.Context, tx *sql.Tx) error {
		p, err := compile(ctx, tx, q.Filter)
		if err != nil || p.Never {
			return err
		}
		page, err = s.search(ctx, tx, p, q).Page()
		return err
	})
	return page, err
}

// Count implements [store.Counter].
func (s *Store) Count(ctx context.Context, f store.Filter) (n int64, err error) {
	q, err := store.Query{Filter: f}.Normalize()
	if err != nil {
		return 0, err
	}
	err = s.snapshot(ctx, "count in", func(ctx context.Context, tx *sql.Tx) error {
		p, err := compile(ctx, tx, f)
		if err != nil || p.Never {
			return err
		}
		if len(p.Rest.Terms) > 0 {
			n, err = s.search(ctx, tx, p, q).Count()
			return err
		}
		query := "SELECT count(*) FROM (SELECT 1 FROM " + p.from + whereAll(p.Where) + " LIMIT " + strconv.Itoa(store.MaxCount) + ")"
		return tx.QueryRowContext(ctx, query, slices.Concat(p.fromArgs, p.Args)...).Scan(&n)
	})
	return n, err
}

// search reads the events of a plan in steps, all within one snapshot.
func (s *Store) search(ctx context.Context, tx *sql.Tx, p *plan, q store.Query) sqlfilter.Search[stored] {
	return sqlfilter.Search[stored]{
		Query: q, Rest: p.Rest, Position: (*stored).position, Event: s.event,
		Read: func(behind *store.Position, step int) ([]stored, bool, error) {
			return candidates(ctx, tx, p, q.Order, behind, step)
		},
	}
}

func (r *stored) position() store.Position {
	return store.Position{Micros: r.timeUS, Sequence: r.seq}
}

func whereAll(conditions []string) string {
	if len(conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(conditions, " AND ")
}

func candidates(ctx context.Context, tx *sql.Tx, p *plan, order store.Order, behind *store.Position, step int) (_ []stored, more bool, _ error) {
	if p.gathered {
		return gathered(ctx, tx, p, order, behind, step)
	}
	where, args := p.Where, slices.Concat(p.fromArgs, p.Args)
	direction, beyond := "DESC", "<"
	if order == store.OldestFirst {
		direction, beyond = "ASC", ">"
	}
	if behind != nil {
		where = append(slices.Clip(where), "(e.time_us, e.sequence) "+beyond+" (?, ?)")
		args = append(args, behind.Micros, behind.Sequence)
	}
	inner := "SELECT e.sequence AS seq FROM " + p.from + whereAll(where) +
		" ORDER BY e.time_us " + direction + ", e.sequence " + direction + " LIMIT ?"
	// The wire forms are read for the chosen alone, not for all that are sorted.
	rows, err := tx.QueryContext(ctx, "SELECT "+eventColumnList+" FROM ("+inner+") k CROSS JOIN events e ON e.sequence = k.seq", append(args, step)...)
	if err != nil {
		return nil, false, err
	}
	// The outer loop of a CROSS JOIN is the left side, so its order stays.
	var out []stored
	bytes := 0
	for !more && rows.Next() {
		var r stored
		if err = r.scan(rows); err != nil {
			break
		}
		out = append(out, r)
		bytes += len(r.raw)
		more = len(out) == step || bytes > sqlfilter.MaxPageBytes
	}
	return out, more, errors.Join(err, rows.Err(), rows.Close())
}
