package sqlite

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlfilter"
)

// plan is a filter as SQL.
type plan struct {
	*sqlfilter.Plan
	// from yields the candidates as e. It says which index to use, because
	// SQLite knows nothing about how values are spread.
	from     string
	fromArgs []any
	// few says that those are few.
	few bool
	// gathered says that they are too many to be sorted for each step: order
	// holds them once it is known.
	gathered bool
	order    []store.Position
}

// dialect implements [sqlfilter.Dialect] within one snapshot.
type dialect struct{ tx *sql.Tx }

func compile(ctx context.Context, tx *sql.Tx, f store.Filter) (*plan, error) {
	shared, err := sqlfilter.Compile(ctx, dialect{tx}, f)
	p := &plan{Plan: shared}
	if err != nil || p.Never {
		return p, err
	}
	return p, p.choose(ctx, tx)
}

// Find implements [sqlfilter.Dialect].
func (d dialect) Find(ctx context.Context, k sqlfilter.Kind, texts []string) (ids []int64, err error) {
	for _, text := range texts {
		err := d.collect(ctx, func(id int64, _ string) { ids = append(ids, id) }, "SELECT id, '' FROM names WHERE kind = ? AND text = ?", int64(k), text)
		if err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// Names implements [sqlfilter.Dialect].
func (d dialect) Names(ctx context.Context, k sqlfilter.Kind, visit func(id int64, text string)) error {
	return d.collect(ctx, visit, "SELECT id, text FROM names WHERE kind = ?", int64(k))
}

func (d dialect) collect(ctx context.Context, visit func(id int64, text string), query string, args ...any) error {
	rows, err := d.tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	return eachRow(rows, func() error {
		var id int64
		var text string
		err := rows.Scan(&id, &text)
		visit(id, text)
		return err
	})
}

// Numbers implements [sqlfilter.Dialect]. The numbers are ours, not a user's.
func (d dialect) Numbers(_ *sqlfilter.Plan, ids []int64) string { return inList(ids) }

func inList(ids []int64) string {
	if len(ids) == 1 {
		return " = " + strconv.FormatInt(ids[0], 10)
	}
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.FormatInt(id, 10)
	}
	return " IN (" + strings.Join(texts, ",") + ")"
}

// IDs implements [sqlfilter.Dialect].
func (d dialect) IDs(p *sqlfilter.Plan, ids []bloodbank.EventID) string {
	for i := range ids {
		p.Bind(ids[i][:])
	}
	return placeholders(len(ids))
}

func placeholders(n int) string { return " IN (?" + strings.Repeat(",?", n-1) + ")" }

// Time implements [sqlfilter.Dialect].
func (d dialect) Time(p *sqlfilter.Plan, op string, at time.Time) string {
	p.Bind(at.UnixMicro())
	return "e.time_us " + op + " ?"
}

// HasParents implements [sqlfilter.Dialect].
func (d dialect) HasParents() string { return "e.parents <> x''" }
