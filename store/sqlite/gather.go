package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"sort"

	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlfilter"
)

// gathered takes the next candidates of a plan whose order is worked out once, at
// the first step.
func gathered(ctx context.Context, tx *sql.Tx, p *plan, order store.Order, behind *store.Position, step int) (out []stored, more bool, err error) {
	compare := comparePositions
	if order == store.NewestFirst {
		compare = func(a, b store.Position) int { return comparePositions(b, a) }
	}
	if p.order == nil {
		if err := p.gather(ctx, tx); err != nil {
			return nil, false, err
		}
		slices.SortFunc(p.order, compare)
	}
	first := 0
	if behind != nil {
		first = sort.Search(len(p.order), func(i int) bool { return compare(p.order[i], *behind) > 0 })
	}
	last := min(first+step, len(p.order))
	more = last < len(p.order)
	out, cut, err := rowsAt(ctx, tx, p.order[first:last])
	return out, more || cut, err
}

func comparePositions(a, b store.Position) int {
	return cmp.Or(cmp.Compare(a.Micros, b.Micros), cmp.Compare(a.Sequence, b.Sequence))
}

// gather reads where all candidates stand.
func (p *plan) gather(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, "SELECT e.time_us, e.sequence FROM "+p.from+whereAll(p.Where), slices.Concat(p.fromArgs, p.Args)...)
	if err != nil {
		return err
	}
	p.order = []store.Position{}
	return eachRow(rows, func() error {
		var at store.Position
		err := rows.Scan(&at.Micros, &at.Sequence)
		p.order = append(p.order, at)
		return err
	})
}

// rowsAt reads events in the order of places; cut says that large ones ended that
// before the last.
func rowsAt(ctx context.Context, tx *sql.Tx, places []store.Position) (out []stored, cut bool, err error) {
	sequences := make([]int64, len(places))
	for i := range places {
		sequences[i] = places[i].Sequence
	}
	list, err := json.Marshal(sequences)
	if err != nil {
		return nil, false, err
	}
	// The outer loop of a CROSS JOIN is the left side, so its order stays.
	rows, err := tx.QueryContext(ctx, "SELECT "+eventColumnList+" FROM json_each(?) j CROSS JOIN events e ON e.sequence = j.value", string(list))
	if err != nil {
		return nil, false, err
	}
	bytes := 0
	err = eachRow(rows, func() error {
		if bytes > sqlfilter.MaxPageBytes {
			cut = true
			return nil
		}
		var r stored
		err := r.scan(rows)
		bytes += len(r.raw)
		out = append(out, r)
		return err
	})
	return out, cut, err
}
