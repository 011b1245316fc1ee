package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
)

// Parents returns the parents that id names, in its order.
func (s *Store) Parents(ctx context.Context, id bloodbank.EventID) ([]bloodbank.EventID, error) {
	var parents [][16]byte
	err := s.call(ctx, "read parents from", func(ctx context.Context, c *pgx.Conn) error {
		err := c.QueryRow(ctx, "SELECT parents FROM events WHERE event_id = $1", [16]byte(id)).Scan(&parents)
		if errors.Is(err, pgx.ErrNoRows) {
			return notFound(id)
		}
		return err
	})
	return eventIDs(parents), err
}

// Children returns the events that name id as a parent, by timestamp, then by
// sequence.
func (s *Store) Children(ctx context.Context, id bloodbank.EventID) (children []bloodbank.EventID, err error) {
	err = s.call(ctx, "read children from", func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, `SELECT e.event_id FROM edges g JOIN events e ON e.sequence = g.child
			WHERE g.parent = $1 ORDER BY e.occurred_at, e.sequence`, [16]byte(id))
		if err != nil {
			return err
		}
		raw, err := pgx.CollectRows(rows, pgx.RowTo[[16]byte])
		if children = eventIDs(raw); err != nil || len(children) > 0 {
			return err
		}
		var known bool
		err = c.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM events WHERE event_id = $1)", [16]byte(id)).Scan(&known)
		if err == nil && !known {
			return notFound(id)
		}
		return err
	})
	return children, err
}

// Lookup returns those of ids that are stored, in any order, each once: their
// parents and what a chain says of them. Depth is 0.
func (s *Store) Lookup(ctx context.Context, ids []bloodbank.EventID) (nodes []correlation.Node, err error) {
	err = s.call(ctx, "look up events in", func(ctx context.Context, c *pgx.Conn) error {
		return reading(ctx, c, byIndex, func() error {
			nodes, err = graph{c}.Lookup(ctx, ids)
			return err
		})
	})
	return nodes, err
}

// The walks go from event to event by index. A planner that knows little of
// fresh tables would rather read all of a table, once for each step.
const byIndex = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off"

// Chain walks from id, in one snapshot: one recursive query where at most a few
// thousand events can be reached, else one query for each level.
func (s *Store) Chain(ctx context.Context, id bloodbank.EventID, d correlation.Direction, l correlation.Limits) (chain correlation.Chain, err error) {
	err = s.call(ctx, "read a chain from", func(ctx context.Context, c *pgx.Conn) error {
		return reading(ctx, c, byIndex, func() error {
			chain, err = correlation.Walk(ctx, graph{c}, id, d, l)
			return err
		})
	})
	return chain, err
}

// graph reads the edges within one snapshot.
type graph struct {
	conn *pgx.Conn
}

const (
	nodeColumns = "e.occurred_at, e.parents, t.text, a.text"
	nodeNames   = " LEFT JOIN names t ON t.id = e.type LEFT JOIN names a ON a.id = e.app"

	// UNION keeps what was seen, so cycles end. PostgreSQL computes no more of a
	// recursive query than is asked for, so LIMIT ends a large graph. With a step
	// each walk is bounded by that too.
	causesSQL = `WITH RECURSIVE walk (id) AS (SELECT $1::uuid UNION
		SELECT p.id FROM walk w JOIN events e ON e.event_id = w.id CROSS JOIN LATERAL unnest(e.parents) AS p (id))
		SELECT w.id, ` + nodeColumns + ` FROM (SELECT id FROM walk LIMIT $2) w LEFT JOIN events e ON e.event_id = w.id` + nodeNames

	effectsSQL = `WITH RECURSIVE walk (id, seq) AS (SELECT $1::uuid, (SELECT sequence FROM events WHERE event_id = $1::uuid) UNION
		SELECT e.event_id, e.sequence FROM walk w JOIN edges g ON g.parent = w.id JOIN events e ON e.sequence = g.child)
		SELECT w.id, ` + nodeColumns + ` FROM (SELECT id, seq FROM walk LIMIT $2) w LEFT JOIN events e ON e.sequence = w.seq` + nodeNames

	causesAheadSQL = `WITH RECURSIVE walk (id, step) AS (SELECT i.id, 0 FROM unnest($1::uuid[]) AS i (id) UNION
		SELECT p.id, w.step + 1 FROM walk w JOIN events e ON e.event_id = w.id CROSS JOIN LATERAL unnest(e.parents) AS p (id) WHERE w.step < $3)
		SELECT w.id, ` + nodeColumns + ` FROM (SELECT id FROM walk LIMIT $2) w LEFT JOIN events e ON e.event_id = w.id` + nodeNames

	effectsAheadSQL = `WITH RECURSIVE walk (id, seq, step) AS (
		SELECT i.id, e.sequence, 0 FROM unnest($1::uuid[]) AS i (id) LEFT JOIN events e ON e.event_id = i.id UNION
		SELECT e.event_id, e.sequence, w.step + 1 FROM walk w JOIN edges g ON g.parent = w.id JOIN events e ON e.sequence = g.child WHERE w.step < $3)
		SELECT w.id, ` + nodeColumns + ` FROM (SELECT id, seq FROM walk LIMIT $2) w LEFT JOIN events e ON e.sequence = w.seq` + nodeNames

	lookupSQL = `SELECT e.event_id, ` + nodeColumns + ` FROM (SELECT DISTINCT id FROM unnest($1::uuid[]) AS i (id)) AS w JOIN events e ON e.event_id = w.id` + nodeNames

	// A query that recurses nowhere: its UNION hands on each child as it first
	// comes, where DISTINCT would read all of a million first.
	childrenSQL = `WITH RECURSIVE c (seq) AS (
		SELECT g.child FROM unnest($1::uuid[]) AS p (id) JOIN edges g ON g.parent = p.id UNION SELECT seq FROM c WHERE false)
		SELECT e.event_id, ` + nodeColumns + ` FROM (SELECT seq FROM c LIMIT $2) c JOIN events e ON e.sequence = c.seq` + nodeNames
)

// Reach implements [correlation.Graph].
func (g graph) Reach(ctx context.Context, id bloodbank.EventID, d correlation.Direction, limit int) ([]correlation.Node, bool, error) {
	query := causesSQL
	if d == correlation.Descendants {
		query = effectsSQL
	}
	nodes, err := g.nodes(ctx, query, [16]byte(id), limit+1)
	return nodes, len(nodes) <= limit, err
}

// Ahead implements [correlation.Graph].
func (g graph) Ahead(ctx context.Context, ids []bloodbank.EventID, d correlation.Direction, steps, limit int) ([]correlation.Node, bool, error) {
	query := causesAheadSQL
	if d == correlation.Descendants {
		query = effectsAheadSQL
	}
	nodes, err := g.nodes(ctx, query, rawIDs(ids), limit+1, steps)
	return nodes, len(nodes) <= limit, err
}

// Lookup implements [correlation.Graph].
func (g graph) Lookup(ctx context.Context, ids []bloodbank.EventID) ([]correlation.Node, error) {
	return g.nodes(ctx, lookupSQL, rawIDs(ids))
}

// Effects implements [correlation.Graph].
func (g graph) Effects(ctx context.Context, ids []bloodbank.EventID, limit int) ([]correlation.Node, error) {
	return g.nodes(ctx, childrenSQL, rawIDs(ids), limit)
}

// nodes runs a query for an id and nodeColumns.
func (g graph) nodes(ctx context.Context, query string, args ...any) ([]correlation.Node, error) {
	rows, err := g.conn.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (correlation.Node, error) {
		var id [16]byte
		var at *time.Time
		var parents [][16]byte
		var typ, app *string
		if err := row.Scan(&id, &at, &parents, &typ, &app); err != nil {
			return correlation.Node{}, err
		}
		n := correlation.Node{ID: id, Parents: eventIDs(parents), Known: at != nil}
		if at != nil {
			n.Timestamp = at.UTC()
		}
		if typ != nil {
			n.Type = bloodbank.EventType(unescape(*typ))
		}
		if app != nil {
			n.App = unescape(*app)
		}
		return n, nil
	})
}
