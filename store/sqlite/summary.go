package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlfilter"
)

var _ store.Summarizer = (*Store)(nil)

// sample is how the newest events are found that a summary looks at.
type sample struct {
	*plan // what an index yields, in the order of time or few
	// outer are the conditions on those that it does not decide.
	outer     []string
	outerArgs []any
	read      bool // the events must be read to decide
	limit     int
}

func newSample(ctx context.Context, tx *sql.Tx, f store.Filter) (sample, error) {
	p, err := compile(ctx, tx, f)
	s := sample{plan: p, limit: store.MaxSample}
	if err != nil || p.Never {
		return s, err
	}
	s.read = len(p.Rest.Terms) > 0
	if p.few {
		return s, nil
	}
	driving := sqlfilter.Drive(p.Plan, f)
	if len(driving.Terms) == len(f.Terms) {
		return s, nil
	}
	s.outer, s.outerArgs = p.Where, p.Args
	s.plan, err = compile(ctx, tx, driving)
	return s, err
}

// rows is a query for columns of the sample, and its arguments.
func (s sample) rows(columns string) (string, []any) {
	inner := " FROM " + s.from + whereAll(s.Where) + " ORDER BY e.time_us DESC, e.sequence DESC LIMIT " + strconv.Itoa(s.limit)
	args := slices.Concat(s.fromArgs, s.Args)
	if len(s.outer) == 0 {
		return "SELECT " + columns + inner, args
	}
	const narrow = "e.sequence, e.event_id, e.time_us, e.type, e.app, e.host, e.source, e.agent, e.agent_type, e.session, e.project, e.flags, e.parents"
	return "SELECT " + columns + " FROM (SELECT " + narrow + inner + ") e" + whereAll(s.outer), append(args, s.outerArgs...)
}

// scanned is how many events the sample takes from its index.
func (s sample) scanned(ctx context.Context, tx *sql.Tx) (n int64, complete bool, err error) {
	query := "SELECT count(*) FROM (SELECT 1 FROM " + s.from + whereAll(s.Where) + " LIMIT " + strconv.Itoa(s.limit) + ")"
	err = tx.QueryRowContext(ctx, query, slices.Concat(s.fromArgs, s.Args)...).Scan(&n)
	return n, n < int64(s.limit), err
}

// summing is the search through the events of a sample.
func (s *Store) summing(ctx context.Context, tx *sql.Tx, from sample, f store.Filter) sqlfilter.Search[stored] {
	search := s.search(ctx, tx, from.plan, store.Query{Filter: f, Order: store.NewestFirst})
	search.Rest = f
	return search
}

// Facets implements [store.Summarizer].
func (s *Store) Facets(ctx context.Context, q store.FacetQuery) (out store.Facets, err error) {
	if q, err = q.Normalize(); err != nil {
		return out, err
	}
	err = s.snapshot(ctx, "count values in", func(ctx context.Context, tx *sql.Tx) error {
		from, err := newSample(ctx, tx, q.Filter)
		switch {
		case err != nil:
			return err
		case from.Never:
			out = store.Facets{Complete: true, Facets: map[store.Field][]store.ValueCount{}}
			for _, k := range q.Keys {
				out.Facets[k] = []store.ValueCount{}
			}
			return nil
		case from.read:
			out, err = s.summing(ctx, tx, from, q.Filter).Facets(q)
			return err
		}
		if out.Scanned, out.Complete, err = from.scanned(ctx, tx); err != nil {
			return err
		}
		out.Facets, err = facets(ctx, tx, from, q)
		return err
	})
	return out, err
}

// facets counts each key's values by their numbers, in one query.
func facets(ctx context.Context, tx *sql.Tx, from sample, q store.FacetQuery) (map[store.Field][]store.ValueCount, error) {
	var columns, parts []string
	for i, k := range q.Keys {
		name := "k" + strconv.Itoa(i)
		columns = append(columns, sqlfilter.FacetColumn(k)+" AS "+name)
		parts = append(parts, fmt.Sprintf("SELECT * FROM (SELECT %d, %s AS k, count(*) AS n FROM s WHERE %s <> 0 GROUP BY k ORDER BY n DESC LIMIT %d)", i, name, name, q.Limit+1))
	}
	rowsOf, args := from.rows(strings.Join(columns, ", "))
	rows, err := tx.QueryContext(ctx, "WITH s AS MATERIALIZED ("+rowsOf+") "+strings.Join(parts, " UNION ALL "), args...)
	if err != nil {
		return nil, err
	}
	type group struct {
		key int
		id  int64
		n   int64
	}
	var groups []group
	names := map[int64]string{}
	err = eachRow(rows, func() error {
		var g group
		err := rows.Scan(&g.key, &g.id, &g.n)
		groups = append(groups, g)
		if q.Keys[g.key] != store.FieldIs {
			names[g.id] = ""
		}
		return err
	})
	if err == nil {
		err = (&graph{tx}).names(ctx, names)
	}
	counts := make([]map[string]int64, len(q.Keys))
	for i := range counts {
		counts[i] = map[string]int64{}
	}
	for _, g := range groups {
		if q.Keys[g.key] == store.FieldIs {
			for _, name := range sqlfilter.FlagNames(int16(g.id)) {
				counts[g.key][name] += g.n
			}
			continue
		}
		counts[g.key][names[g.id]] += g.n
	}
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
	err = s.snapshot(ctx, "count times in", func(ctx context.Context, tx *sql.Tx) error {
		from, err := newSample(ctx, tx, q.Filter)
		switch {
		case err != nil:
			return err
		case from.Never:
			out, _, _ = sqlfilter.NewHistogram(q, 0, 0, false)
			out.Complete = true
			return nil
		case from.read:
			out, err = s.summing(ctx, tx, from, q.Filter).Histogram(q)
			return err
		}
		if len(from.outer) == 0 {
			from.limit = store.MaxCount // the index alone tells
		}
		scanned, complete, err := from.scanned(ctx, tx)
		if err != nil {
			return err
		}
		out, err = histogram(ctx, tx, from, q)
		out.Scanned, out.Complete = scanned, complete
		return err
	})
	return out, err
}

func histogram(ctx context.Context, tx *sql.Tx, from sample, q store.HistogramQuery) (h store.Histogram, err error) {
	times, args := from.rows("e.time_us AS t")
	var oldest, newest, n int64
	row := tx.QueryRowContext(ctx, "SELECT coalesce(min(t), 0), coalesce(max(t), 0), count(*) FROM ("+times+")", args...)
	if err := row.Scan(&oldest, &newest, &n); err != nil {
		return h, err
	}
	h, low, step := sqlfilter.NewHistogram(q, oldest, newest, n > 0)
	if n == 0 {
		return h, nil
	}
	buckets := fmt.Sprintf("SELECT (t - %d) / %d, count(*) FROM (%s) GROUP BY 1", low, step, times)
	rows, err := tx.QueryContext(ctx, buckets, args...)
	if err != nil {
		return h, err
	}
	return h, eachRow(rows, func() error {
		var bucket, n int64
		err := rows.Scan(&bucket, &n)
		h.Counts[bucket] = n
		return err
	})
}
