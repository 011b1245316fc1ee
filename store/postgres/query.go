package postgres

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/33god/bloodbank/store"
)

// How the candidates are found is decided by us. PostgreSQL would guess by
// statistics that know nothing of rare words, and of fresh tables nothing at all;
// a wrong guess reads the whole table.
const (
	// The last one makes counting a common word cheaper; what is rare is counted
	// exactly.
	toProbe = "SET LOCAL enable_seqscan = off; SET LOCAL gin_fuzzy_search_limit = 20000"
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
	q, err = q.Normalize()
	if err != nil {
		return page, err
	}
	at, started, err := q.Position()
	if err != nil {
		return page, err
	}
	var p *plan
	err = s.call(ctx, "search", func(ctx context.Context, c *pgx.Conn) error {
		return reading(ctx, c, toProbe, func() error {
			p, err = compile(ctx, c, q.Filter)
			return err
		})
	})
	if err != nil || p.never {
		return page, err
	}
	scan := &scan{Store: s, plan: p, query: q, at: at, started: started}
	return scan.page(ctx)
}

// scan reads the events of a plan in order, in steps. Each step sees the events
// of its own time; in between, others may be added.
type scan struct {
	*Store
	plan    *plan
	query   store.Query
	at      store.Position // behind the last event read
	started bool
}

func (s *scan) page(ctx context.Context) (store.Page, error) {
	var page store.Page
	var end store.Position
	bytes := 0
	// One more than wanted tells whether there is a next page.
	step := s.query.Limit + 1
	if len(s.plan.rest.Terms) > 0 {
		step = max(step, 64)
	}
	for {
		rows, more, err := s.read(ctx, step)
		if err != nil {
			return store.Page{}, err
		}
		for i := range rows {
			e := s.event(&rows[i])
			if !s.plan.rest.Match(&e.Envelope) {
				continue
			}
			bytes += len(e.Raw)
			if n := len(page.Events); n == s.query.Limit || n > 0 && bytes > maxPageBytes {
				page.Next = s.query.CursorAt(end)
				return page, nil
			}
			page.Events = append(page.Events, e)
			end = rows[i].position()
		}
		if !more {
			return page, nil
		}
		step = min(2*step, store.MaxLimit+1)
	}
}

// read returns the next candidates, up to step, and moves behind them. more
// says that there may be further ones.
func (s *scan) read(ctx context.Context, step int) (rows []stored, more bool, err error) {
	query, args := s.sql(step)
	settings := inOrder
	if s.plan.few {
		settings = toGather
	}
	err = s.call(ctx, "search", func(ctx context.Context, c *pgx.Conn) error {
		return reading(ctx, c, settings, func() error {
			// Each time a plan of its own, for these values and settings.
			rows, err = collect(ctx, c, query, append([]any{pgx.QueryExecModeCacheDescribe}, args...)...)
			return err
		})
	})
	if err != nil {
		return nil, false, err
	}
	bytes := 0
	for i := range rows {
		bytes += len(rows[i].raw)
	}
	if len(rows) > 0 {
		s.at, s.started = rows[len(rows)-1].position(), true
	}
	return rows, len(rows) == step || bytes >= maxPageBytes, nil
}

func (s *scan) sql(step int) (string, []any) {
	where, args := s.plan.where, s.plan.args
	direction, behind := " DESC", "<"
	if s.query.Order == store.OldestFirst {
		direction, behind = " ASC", ">"
	}
	bind := func(v any) string {
		args = append(args[:len(args):len(args)], v)
		return "$" + strconv.Itoa(len(args))
	}
	if s.started {
		at := bind(time.UnixMicro(s.at.Micros).UTC())
		where = append(where[:len(where):len(where)], "(e.occurred_at, e.sequence) "+behind+" ("+at+", "+bind(s.at.Sequence)+")")
	}
	inner := "SELECT " + eventColumns + " FROM events e"
	if len(where) > 0 {
		inner += " WHERE " + strings.Join(where, " AND ")
	}
	order := func(t string) string { return t + ".occurred_at" + direction + ", " + t + ".sequence" + direction }
	inner += " ORDER BY " + order("e") + " LIMIT " + bind(step)
	return "SELECT " + eventColumns + " FROM (SELECT f.*, sum(octet_length(f.raw)) OVER (ORDER BY " + order("f") + ") AS upto FROM (" + inner + ") f) e" +
		" WHERE e.upto - octet_length(e.raw) < " + bind(maxPageBytes) + " ORDER BY " + order("e"), args
}
