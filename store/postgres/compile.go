package postgres

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlfilter"
)

// plan is a filter as SQL, and how its candidates are best found.
type plan struct {
	*sqlfilter.Plan
	// few says that an index yields all candidates, and that they are few.
	few bool
}

// dialect implements [sqlfilter.Dialect].
type dialect struct{ conn *pgx.Conn }

// compile reads the names, and counts what the indexes yield, in one snapshot.
func compile(ctx context.Context, c *pgx.Conn, f store.Filter) (*plan, error) {
	shared, err := sqlfilter.Compile(ctx, dialect{c}, f)
	if err != nil || shared.Never {
		return &plan{Plan: shared}, err
	}
	p := &plan{Plan: shared, few: len(shared.IDs) > 0}
	if err := p.byParents(ctx, c); err != nil {
		return nil, err
	}
	if len(p.Types) > 1 {
		if err := p.probe(ctx, c, "events WHERE type = ANY ($1::integer[])", p.Types); err != nil {
			return nil, err
		}
	}
	words := p.TextQuery(sqlfilter.TextSyntax{And: " & ", Or: " | ", Quote: "'", Prefix: ":*", Always: "'" + overflow + "'", Cut: cutWord})
	if words == "" {
		return p, nil
	}
	if err := p.probe(ctx, c, "events WHERE words @@ $1::tsquery", words); err != nil {
		return nil, err
	}
	p.Where = append(p.Where, "e.words @@ $"+strconv.Itoa(p.Bind(words))+"::tsquery")
	return p, nil
}

// byParents names the children of rare parents, or the events of a trace, one by one.
func (p *plan) byParents(ctx context.Context, c *pgx.Conn) error {
	var rows pgx.Rows
	var err error
	switch {
	case len(p.Parents) > 0:
		rows, err = c.Query(ctx, "SELECT child FROM edges WHERE parent = ANY ($1::uuid[]) LIMIT $2", rawIDs(p.Parents), sqlfilter.Few+1)
	case len(p.TraceIDs) > 0:
		rows, err = c.Query(ctx, "SELECT sequence FROM events WHERE event_id = ANY ($1::uuid[]) UNION SELECT child FROM edges WHERE parent = ANY ($2::uuid[]) LIMIT $3",
			rawIDs(p.TraceIDs), rawIDs(p.TraceParents), sqlfilter.Few+1)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	children, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err == nil && len(children) <= sqlfilter.Few {
		p.Where = append(p.Where, "e.sequence = ANY ($"+strconv.Itoa(p.Bind(children))+"::bigint[])")
		p.few = true
	}
	return err
}

// probe counts what an index yields, as far as few.
func (p *plan) probe(ctx context.Context, c *pgx.Conn, source string, arg any) error {
	if p.few {
		return nil
	}
	var n int
	err := c.QueryRow(ctx, "SELECT count(*) FROM (SELECT 1 FROM "+source+" LIMIT $2) AS s", arg, sqlfilter.Few+1).Scan(&n)
	p.few = n <= sqlfilter.Few
	return err
}

// Find implements [sqlfilter.Dialect].
func (d dialect) Find(ctx context.Context, k sqlfilter.Kind, texts []string) ([]int64, error) {
	keys := make([]sqlfilter.Name, len(texts))
	for i, text := range texts {
		keys[i] = sqlfilter.Name{Kind: k, Text: text}
	}
	found := map[sqlfilter.Name]int64{}
	if err := findNames(ctx, d.conn, keys, found); err != nil {
		return nil, err
	}
	return slices.Collect(maps.Values(found)), nil
}

// Names implements [sqlfilter.Dialect].
func (d dialect) Names(ctx context.Context, k sqlfilter.Kind, visit func(id int64, text string)) error {
	rows, err := d.conn.Query(ctx, "SELECT id, text FROM names WHERE kind = $1", int16(k))
	if err != nil {
		return err
	}
	var id int64
	var text string
	_, err = pgx.ForEachRow(rows, []any{&id, &text}, func() error {
		visit(id, unescape(text))
		return nil
	})
	return err
}

// Numbers implements [sqlfilter.Dialect].
func (d dialect) Numbers(p *sqlfilter.Plan, ids []int64) string {
	if len(ids) == 1 {
		return " = $" + strconv.Itoa(p.Bind(ids[0])) + "::integer"
	}
	return " = ANY ($" + strconv.Itoa(p.Bind(ids)) + "::integer[])"
}

// IDs implements [sqlfilter.Dialect].
func (d dialect) IDs(p *sqlfilter.Plan, ids []bloodbank.EventID) string {
	return " = ANY ($" + strconv.Itoa(p.Bind(rawIDs(ids))) + "::uuid[])"
}

// Time implements [sqlfilter.Dialect].
func (d dialect) Time(p *sqlfilter.Plan, op string, at time.Time) string {
	return "e.occurred_at " + op + " $" + strconv.Itoa(p.Bind(at)) + "::timestamptz"
}

// HasParents implements [sqlfilter.Dialect].
func (d dialect) HasParents() string { return "e.parents <> '{}'" }
