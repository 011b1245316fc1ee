package postgres

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlfilter"
)

// How the candidates are found is decided by us. PostgreSQL would guess by
// statistics that know nothing of rare words, and of fresh tables nothing at all;
// a wrong guess reads the whole table.
const (
	// The last one makes counting a common word cheaper; what is rare is counted
	// exactly.
	toProbe = "SET LOCAL enable_seqscan = off; SET LOCAL gin_fuzzy_search_limit = 20000"
	// For what is counted, not ordered.
	asGuessed = "SET LOCAL gin_fuzzy_search_limit = 0"
	// All candidates at once, then sorted.
	toGather = "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off"
	// One after the other from an index that ends in the time.
	inOrder = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off"
)

// reading runs queries in a transaction that sees one state of the database, with
// settings for the planner.
func reading(ctx context.Context, c *pgx.Conn, settings string, f func() error) error {
	if _, err := c.PgConn().Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "+settings).ReadAll(); err != nil {
		return err
	}
	err := f()
	// Nothing was written: an end that fails has nothing to say, and the pool
	// drops a connection that is still in a transaction.
	_, _ = c.PgConn().Exec(ctx, "ROLLBACK").ReadAll()
	return err
}

// Query returns a page. Where the filter must be decided on the events
// themselves, it reads as many as it takes to fill the page: only ctx ends that.
func (s *Store) Query(ctx context.Context, q store.Query) (page store.Page, err error) {
	if q, err = q.Normalize(); err != nil {
		return page, err
	}
	p, err := s.planned(ctx, q.Filter)
	if err != nil || p.Never {
		return page, err
	}
	return s.search(ctx, p, q).Page()
}

// Count implements [store.Counter].
func (s *Store) Count(ctx context.Context, f store.Filter) (n int64, err error) {
	p, err := s.planned(ctx, f)
	if err != nil || p.Never {
		return 0, err
	}
	if len(p.Rest.Terms) > 0 {
		q, err := store.Query{Filter: f}.Normalize()
		if err != nil {
			return 0, err
		}
		return s.search(ctx, p, q).Count()
	}
	settings := asGuessed
	if p.few {
		settings = toGather
	}
	query := "SELECT count(*) FROM (SELECT 1 FROM events e" + whereAll(p.Where) + " LIMIT " + strconv.Itoa(store.MaxCount) + ") AS s"
	err = s.call(ctx, "count in", func(ctx context.Context, c *pgx.Conn) error {
		return reading(ctx, c, settings, func() error {
			return c.QueryRow(ctx, query, append([]any{pgx.QueryExecModeCacheDescribe}, p.Args...)...).Scan(&n)
		})
	})
	return n, err
}

func (s *Store) planned(ctx context.Context, f store.Filter) (p *plan, err error) {
	err = s.call(ctx, "search", func(ctx context.Context, c *pgx.Conn) error {
		return reading(ctx, c, toProbe, func() error {
			p, err = compile(ctx, c, f)
			return err
		})
	})
	return p, err
}

// search reads the events of a plan in steps. Each step sees the events of its
// own time; in between, others may be added.
func (s *Store) search(ctx context.Context, p *plan, q store.Query) sqlfilter.Search[stored] {
	return sqlfilter.Search[stored]{
		Query: q, Rest: p.Rest, Position: (*stored).position, Event: s.event,
		Read: func(behind *store.Position, step int) ([]stored, bool, error) {
			return s.candidates(ctx, p, q.Order, behind, step)
		},
	}
}

func (s *Store) candidates(ctx context.Context, p *plan, order store.Order, behind *store.Position, step int) (rows []stored, more bool, err error) {
	query, args := p.sql(order, behind, step)
	settings := inOrder
	if p.few {
		settings = toGather
	}
	err = s.call(ctx, "search", func(ctx context.Context, c *pgx.Conn) error {
		return reading(ctx, c, settings, func() error {
			// Each time a plan of its own, for these values and settings.
			rows, err = collect(ctx, c, query, append([]any{pgx.QueryExecModeCacheDescribe}, args...)...)
			return err
		})
	})
	bytes := 0
	for i := range rows {
		bytes += len(rows[i].raw)
	}
	return rows, len(rows) == step || bytes >= sqlfilter.MaxPageBytes, err
}

func whereAll(conditions []string) string {
	if len(conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(conditions, " AND ")
}

// sql is the query for the next candidates.
func (p *plan) sql(by store.Order, behind *store.Position, step int) (string, []any) {
	where, args := p.Where, p.Args
	direction, beyond := " DESC", "<"
	if by == store.OldestFirst {
		direction, beyond = " ASC", ">"
	}
	bind := func(v any) string {
		args = append(args[:len(args):len(args)], v)
		return "$" + strconv.Itoa(len(args))
	}
	if behind != nil {
		at := bind(time.UnixMicro(behind.Micros).UTC())
		where = append(where[:len(where):len(where)], "(e.occurred_at, e.sequence) "+beyond+" ("+at+", "+bind(behind.Sequence)+")")
	}
	inner := "SELECT " + eventColumns + " FROM events e" + whereAll(where)
	order := func(t string) string { return t + ".occurred_at" + direction + ", " + t + ".sequence" + direction }
	inner += " ORDER BY " + order("e") + " LIMIT " + bind(step)
	return "SELECT " + eventColumns + " FROM (SELECT f.*, sum(octet_length(f.raw)) OVER (ORDER BY " + order("f") + ") AS upto FROM (" + inner + ") f) e" +
		" WHERE e.upto - octet_length(e.raw) < " + bind(sqlfilter.MaxPageBytes) + " ORDER BY " + order("e"), args
}
