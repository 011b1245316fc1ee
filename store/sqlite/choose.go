package sqlite

import (
	"context"
	"database/sql"

	"github.com/33god/bloodbank/store/sqlfilter"
)

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
	if words := p.TextQuery(sqlfilter.TextSyntax{And: " AND ", Or: " OR ", Quote: `"`, Prefix: " *", Cut: cutWord}); words != "" {
		if done, err := p.driveBy(ctx, tx, "SELECT rowid AS seq FROM search WHERE search MATCH ?", []any{words}); done || err != nil {
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
	case len(p.Types) == 1:
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
	p.from = "(" + source + ") m CROSS JOIN events e ON e.sequence = m.seq"
	p.fromArgs, p.few = args, true
	return true, nil
}

func isFew(ctx context.Context, tx *sql.Tx, source string, args []any) (bool, error) {
	var n int
	err := tx.QueryRowContext(ctx, "SELECT count(*) FROM ("+source+" LIMIT ?)", append(args[:len(args):len(args)], sqlfilter.Few+1)...).Scan(&n)
	return n <= sqlfilter.Few, err
}
