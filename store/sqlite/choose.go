package sqlite

import (
	"context"
	"database/sql"

	"github.com/33god/bloodbank/store/sqlfilter"
)

// fewWords is how many events with the words of a search are put in order once
// for a page. Of words that are common, a phrase may still be rare: to look for it
// in all events, in the order of time, takes seconds in a large store.
const fewWords = 100_000

// choose decides where the candidates come from. An index that ends in the time
// yields them in order; the other ways are taken for few candidates only, which
// are then sorted.
func (p *plan) choose(ctx context.Context, tx *sql.Tx) error {
	if len(p.IDs) > 0 {
		p.from, p.few = "events e INDEXED BY events_id", true
		return nil
	}
	if len(p.Parents) > 0 {
		args := make([]any, len(p.Parents))
		for i := range p.Parents {
			args[i] = p.Parents[i][:]
		}
		source := "SELECT DISTINCT child AS seq FROM edges WHERE parent" + placeholders(len(args))
		if done, err := p.driveBy(ctx, tx, source, args); done || err != nil {
			return err
		}
	}
	if len(p.TraceIDs) > 0 {
		source := "SELECT sequence AS seq FROM events WHERE event_id IN (SELECT unhex(value) FROM json_each(?)) UNION SELECT child FROM edges WHERE parent IN (SELECT unhex(value) FROM json_each(?))"
		if done, err := p.driveBy(ctx, tx, source, []any{idList(p.TraceIDs), idList(p.TraceParents)}); done || err != nil {
			return err
		}
	}
	const matching = "SELECT rowid AS seq FROM search WHERE search MATCH ?"
	words := p.TextQuery(sqlfilter.TextSyntax{And: " AND ", Or: " OR ", Quote: `"`, Prefix: " *", Cut: cutWord})
	if words != "" {
		if done, err := p.driveBy(ctx, tx, matching, []any{words}); done || err != nil {
			return err
		}
	}
	switch {
	case p.Session:
		p.from = "events e INDEXED BY events_session"
		return nil
	case p.Project:
		p.from = "events e INDEXED BY events_project"
		return nil
	}
	if words != "" {
		if ok, err := isAtMost(ctx, tx, matching, []any{words}, fewWords); ok || err != nil {
			p.take(matching, []any{words})
			p.gathered = true
			return err
		}
	}
	if len(p.Types) == 1 {
		p.from = "events e INDEXED BY events_type"
		return nil
	}
	if p.Flags {
		if ok, err := isFew(ctx, tx, "SELECT 1 FROM events e INDEXED BY events_flags WHERE e.flags <> 0", nil); ok || err != nil {
			p.from, p.few = "events e INDEXED BY events_flags", true
			return err
		}
	}
	if len(p.Types) > 1 {
		if ok, err := isFew(ctx, tx, "SELECT 1 FROM events e INDEXED BY events_type WHERE e.type"+inList(p.Types), nil); ok || err != nil {
			p.from, p.few = "events e INDEXED BY events_type", true
			return err
		}
	}
	p.from = "events e INDEXED BY events_time"
	return nil
}

// driveBy takes the candidates from a query for sequences, if it yields few.
func (p *plan) driveBy(ctx context.Context, tx *sql.Tx, source string, args []any) (bool, error) {
	ok, err := isFew(ctx, tx, source, args)
	if !ok || err != nil {
		return false, err
	}
	p.take(source, args)
	return true, nil
}

// take makes a query for sequences the source of the candidates.
func (p *plan) take(source string, args []any) {
	p.from = "(" + source + ") m CROSS JOIN events e ON e.sequence = m.seq"
	p.fromArgs, p.few = args, true
}

func isFew(ctx context.Context, tx *sql.Tx, source string, args []any) (bool, error) {
	return isAtMost(ctx, tx, source, args, sqlfilter.Few)
}

func isAtMost(ctx context.Context, tx *sql.Tx, source string, args []any, limit int) (bool, error) {
	var n int
	err := tx.QueryRowContext(ctx, "SELECT count(*) FROM ("+source+" LIMIT ?)", append(args[:len(args):len(args)], limit+1)...).Scan(&n)
	return n <= limit, err
}
