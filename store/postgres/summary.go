package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlfilter"
)

var _ store.Summarizer = (*Store)(nil)

// sampled is how the newest events are found that a summary looks at.
type sampled struct {
	*plan // what an index yields, in the order of time or few
	// outer are the conditions on those that it does not decide; args are those
	// of the plan and of outer.
	outer []string
	args  []any
	read  bool // the events must be read to decide
	limit int
}

func (s *Store) sample(ctx context.Context, f store.Filter) (out sampled, err error) {
	err = s.call(ctx, "search", func(ctx context.Context, c *pgx.Conn) error {
		return reading(ctx, c, toProbe, func() error {
			out, err = newSample(ctx, c, f)
			return err
		})
	})
	return out, err
}

func newSample(ctx context.Context, c *pgx.Conn, f store.Filter) (sampled, error) {
	p, err := compile(ctx, c, f)
	if err != nil || p.Never {
		return sampled{plan: p}, err
	}
	s := sampled{plan: p, args: p.Args, read: len(p.Rest.Terms) > 0, limit: store.MaxSample}
	if p.few {
		return s, nil
	}
	driving := sqlfilter.Drive(p.Plan, f)
	if len(driving.Terms) == len(f.Terms) {
		return s, nil
	}
	if s.plan, err = compile(ctx, c, driving); err != nil {
		return s, err
	}
	outer, err := sqlfilter.CompileBehind(ctx, dialect{c}, f, s.plan.Args)
	if err != nil {
		return s, err
	}
	s.outer, s.args = outer.Where, outer.Args
	return s, nil
}

// rows is a query for columns of the sample.
func (s sampled) rows(columns string) string {
	inner := " FROM events e" + whereAll(s.Where) + " ORDER BY e.occurred_at DESC, e.sequence DESC LIMIT " + strconv.Itoa(s.limit)
	if len(s.outer) == 0 {
		return "SELECT " + columns + inner
	}
	return "SELECT " + columns + " FROM (SELECT e.*" + inner + ") e" + whereAll(s.outer)
}

// query runs f in one snapshot, with the settings that fit the sample.
func (s *Store) query(ctx context.Context, from sampled, doing string, f func(ctx context.Context, c *pgx.Conn) error) error {
	settings := inOrder
	if from.few {
		settings = toGather
	}
	return s.call(ctx, doing, func(ctx context.Context, c *pgx.Conn) error {
		return reading(ctx, c, settings, func() error { return f(ctx, c) })
	})
}

// arguments are what the driver takes, with a plan of its own each time.
func arguments(args []any) []any { return append([]any{pgx.QueryExecModeCacheDescribe}, args...) }

// scanned is how many events the sample takes from its index.
func (s sampled) scanned(ctx context.Context, c *pgx.Conn) (n int64, complete bool, err error) {
	query := "SELECT count(*) FROM (SELECT 1 FROM events e" + whereAll(s.Where) + " LIMIT " + strconv.Itoa(s.limit) + ") AS s"
	err = c.QueryRow(ctx, query, arguments(s.plan.Args)...).Scan(&n)
	return n, n < int64(s.limit), err
}

// readers is the search through the events of a sample.
func (s *Store) readers(ctx context.Context, from sampled, f store.Filter) sqlfilter.Search[stored] {
	search := s.search(ctx, from.plan, store.Query{Filter: f, Order: store.NewestFirst})
	search.Rest = f
	return search
}

// Facets implements [store.Summarizer].
func (s *Store) Facets(ctx context.Context, q store.FacetQuery) (out store.Facets, err error) {
	if q, err = q.Normalize(); err != nil {
		return out, err
	}
	from, err := s.sample(ctx, q.Filter)
	switch {
	case err != nil:
		return out, err
	case from.Never:
		out = store.Facets{Complete: true, Facets: map[store.Field][]store.ValueCount{}}
		for _, k := range q.Keys {
			out.Facets[k] = []store.ValueCount{}
		}
		return out, nil
	case from.read:
		return s.readers(ctx, from, q.Filter).Facets(q)
	}
	err = s.query(ctx, from, "count values in", func(ctx context.Context, c *pgx.Conn) error {
		if out.Scanned, out.Complete, err = from.scanned(ctx, c); err != nil {
			return err
		}
		out.Facets, err = facets(ctx, c, from, q)
		return err
	})
	return out, err
}

// facets counts each key's values by their numbers, in one query.
func facets(ctx context.Context, c *pgx.Conn, from sampled, q store.FacetQuery) (map[store.Field][]store.ValueCount, error) {
	var columns, parts []string
	for i, k := range q.Keys {
		name := "k" + strconv.Itoa(i)
		columns = append(columns, "("+sqlfilter.FacetColumn(k)+")::integer AS "+name)
		parts = append(parts, fmt.Sprintf("(SELECT %d AS key, %s AS k, count(*) AS n FROM s WHERE %s <> 0 GROUP BY 2 ORDER BY 3 DESC LIMIT %d)", i, name, name, q.Limit+1))
	}
	query := "WITH s AS MATERIALIZED (" + from.rows(strings.Join(columns, ", ")) + ") SELECT g.key, g.k, g.n, coalesce(o.text, '') FROM (" +
		strings.Join(parts, " UNION ALL ") + ") g LEFT JOIN names o ON o.id = g.k"
	rows, err := c.Query(ctx, query, arguments(from.args)...)
	if err != nil {
		return nil, err
	}
	counts := make([]map[string]int64, len(q.Keys))
	for i := range counts {
		counts[i] = map[string]int64{}
	}
	var key int
	var id, n int64
	var text string
	_, err = pgx.ForEachRow(rows, []any{&key, &id, &n, &text}, func() error {
		if q.Keys[key] != store.FieldIs {
			counts[key][unescape(text)] += n
			return nil
		}
		for _, name := range sqlfilter.FlagNames(int16(id)) {
			counts[key][name] += n
		}
		return nil
	})
	out := map[store.Field][]store.ValueCount{}
	for i, k := range q.Keys {
		out[k] = sqlfilter.Most(counts[i], q.Limit)
	}
	return out, err
}

// Histogram implements [store.Summarizer].
func (s *Store) Histogram(ctx context.Context, q store.HistogramQuery) (out store.Histogram, err error) {
	if q, err = q.Normalize(); err != nil {
		return out, err
	}
	from, err := s.sample(ctx, q.Filter)
	switch {
	case err != nil:
		return out, err
	case from.Never:
		out, _, _ = sqlfilter.NewHistogram(q, 0, 0, false)
		out.Complete = true
		return out, nil
	case from.read:
		return s.readers(ctx, from, q.Filter).Histogram(q)
	}
	if len(from.outer) == 0 {
		from.limit = store.MaxCount // the index alone tells
	}
	err = s.query(ctx, from, "count times in", func(ctx context.Context, c *pgx.Conn) error {
		scanned, complete, err := from.scanned(ctx, c)
		if err != nil {
			return err
		}
		out, err = histogram(ctx, c, from, q)
		out.Scanned, out.Complete = scanned, complete
		return err
	})
	return out, err
}

func histogram(ctx context.Context, c *pgx.Conn, from sampled, q store.HistogramQuery) (h store.Histogram, err error) {
	// Before version 14 far times are off by some microseconds, which may lie
	// outside of the buckets.
	times := from.rows("(extract(epoch FROM e.occurred_at) * 1000000)::bigint AS t")
	var oldest, newest, n int64
	row := c.QueryRow(ctx, "SELECT coalesce(min(t), 0), coalesce(max(t), 0), count(*) FROM ("+times+") AS s", arguments(from.args)...)
	if err := row.Scan(&oldest, &newest, &n); err != nil {
		return h, err
	}
	h, low, step := sqlfilter.NewHistogram(q, oldest, newest, n > 0)
	if n == 0 {
		return h, nil
	}
	rows, err := c.Query(ctx, fmt.Sprintf("SELECT (t - %d) / %d, count(*) FROM (%s) AS s GROUP BY 1", low, step, times), arguments(from.args)...)
	if err != nil {
		return h, err
	}
	var bucket, counted int64
	_, err = pgx.ForEachRow(rows, []any{&bucket, &counted}, func() error {
		h.Counts[min(max(bucket, 0), int64(q.Buckets)-1)] += counted
		return nil
	})
	return h, err
}
