package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/33god/bloodbank/store"
)

// maxPageBytes ends a page of large events before its limit; Next goes on. It
// ends an answer of After in the same way.
const maxPageBytes = 8 << 20

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
	err = s.snapshot(ctx, "search", func(ctx context.Context, tx *sql.Tx) error {
		p, err := compile(ctx, tx, q.Filter)
		if err != nil || p.never {
			return err
		}
		scan := &scan{Store: s, tx: tx, plan: p, query: q, at: at, started: started}
		page, err = scan.page(ctx)
		return err
	})
	return page, err
}

// scan reads the events of a plan in order, in steps.
type scan struct {
	*Store
	tx      *sql.Tx
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
			return page, err
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

func (r *stored) position() store.Position {
	return store.Position{Micros: r.timeUS, Sequence: r.seq}
}

// read returns the next candidates, up to step, and moves behind them. more
// says that there may be further ones.
func (s *scan) read(ctx context.Context, step int) (_ []stored, more bool, _ error) {
	where, args := s.plan.where, slices.Concat(s.plan.fromArgs, s.plan.args)
	direction, behind := "DESC", "<"
	if s.query.Order == store.OldestFirst {
		direction, behind = "ASC", ">"
	}
	if s.started {
		where = append(slices.Clip(where), "(e.time_us, e.sequence) "+behind+" (?, ?)")
		args = append(args, s.at.Micros, s.at.Sequence)
	}
	inner := "SELECT e.sequence AS seq FROM " + s.plan.from
	if len(where) > 0 {
		inner += " WHERE " + strings.Join(where, " AND ")
	}
	inner += " ORDER BY e.time_us " + direction + ", e.sequence " + direction + " LIMIT ?"
	// The wire forms are read for the chosen alone, not for all that are sorted.
	rows, err := s.tx.QueryContext(ctx, "SELECT "+eventColumnList+" FROM ("+inner+") k CROSS JOIN events e ON e.sequence = k.seq", append(args, step)...)
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
		more = len(out) == step || bytes > maxPageBytes
	}
	if len(out) > 0 {
		s.at, s.started = out[len(out)-1].position(), true
	}
	return out, more, errors.Join(err, rows.Err(), rows.Close())
}
