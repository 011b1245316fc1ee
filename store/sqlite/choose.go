package sqlite

import (
	"context"
	"strings"
)

// choose decides where the candidates come from. An index that ends in the time
// yields them in order; the other ways are taken for few candidates only, which
// are then sorted.
func (c *compiler) choose(ctx context.Context) error {
	p := &c.plan
	if len(c.ids) > 0 {
		p.from = "events e INDEXED BY events_id"
		return nil
	}
	if len(c.parents) > 0 {
		source := "SELECT DISTINCT child AS seq FROM edges WHERE parent IN (?" + strings.Repeat(",?", len(c.parents)-1) + ")"
		if done, err := c.driveBy(ctx, source, c.parents); done || err != nil {
			return err
		}
	}
	if c.words != "" {
		if done, err := c.driveBy(ctx, "SELECT rowid AS seq FROM search WHERE search MATCH ?", []any{c.words}); done || err != nil {
			return err
		}
	}
	switch {
	case c.session:
		p.from = "events e INDEXED BY events_session"
		return nil
	case c.project:
		p.from = "events e INDEXED BY events_project"
		return nil
	case len(c.types) == 1:
		p.from = "events e INDEXED BY events_type"
		return nil
	}
	if c.flags {
		if ok, err := c.isFew(ctx, "SELECT 1 FROM events e INDEXED BY events_flags WHERE e.flags <> 0", nil); ok || err != nil {
			p.from = "events e INDEXED BY events_flags"
			return err
		}
	}
	if len(c.types) > 1 {
		if ok, err := c.isFew(ctx, "SELECT 1 FROM events e INDEXED BY events_type WHERE e.type"+inList(c.types), nil); ok || err != nil {
			p.from = "events e INDEXED BY events_type"
			return err
		}
	}
	p.from = "events e INDEXED BY events_time"
	return nil
}

// driveBy takes the candidates from a query for sequences, if it yields few.
func (c *compiler) driveBy(ctx context.Context, source string, args []any) (bool, error) {
	ok, err := c.isFew(ctx, source, args)
	if !ok || err != nil {
		return false, err
	}
	c.plan.from = "(" + source + ") m CROSS JOIN events e ON e.sequence = m.seq"
	c.plan.fromArgs = args
	return true, nil
}

func (c *compiler) isFew(ctx context.Context, source string, args []any) (bool, error) {
	var n int
	err := c.tx.QueryRowContext(ctx, "SELECT count(*) FROM ("+source+" LIMIT ?)", append(args[:len(args):len(args)], few+1)...).Scan(&n)
	return n <= few, err
}
