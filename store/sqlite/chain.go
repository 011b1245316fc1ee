package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
)

// Parents returns the parents that id names, in its order.
func (s *Store) Parents(ctx context.Context, id bloodbank.EventID) ([]bloodbank.EventID, error) {
	ctx, leave, err := s.gate.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	var parents []byte
	err = s.readers.QueryRowContext(ctx, "SELECT parents FROM events WHERE event_id = ?", id[:]).Scan(&parents)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound(id)
	}
	return eventIDs(parents), explain(s.opts.Path, "read parents from", err)
}

// Children returns the events that name id as a parent, by timestamp, then by
// sequence.
func (s *Store) Children(ctx context.Context, id bloodbank.EventID) (children []bloodbank.EventID, err error) {
	err = s.snapshot(ctx, "read children from", func(ctx context.Context, tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT e.event_id FROM edges g CROSS JOIN events e ON e.sequence = g.child
			WHERE g.parent = ? ORDER BY e.time_us, e.sequence`, id[:])
		if err != nil {
			return err
		}
		err = eachRow(rows, func() error {
			var b sql.RawBytes
			err := rows.Scan(&b)
			children = append(children, eventID(b))
			return err
		})
		if err != nil || len(children) > 0 {
			return err
		}
		var known bool
		err = tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM events WHERE event_id = ?)", id[:]).Scan(&known)
		if err == nil && !known {
			return notFound(id)
		}
		return err
	})
	return children, err
}

// Chain walks from id: one recursive query where at most a few thousand events
// can be reached, else one query for each level.
func (s *Store) Chain(ctx context.Context, id bloodbank.EventID, d correlation.Direction, l correlation.Limits) (chain correlation.Chain, err error) {
	err = s.snapshot(ctx, "read a chain from", func(ctx context.Context, tx *sql.Tx) error {
		var err error
		chain, err = correlation.Walk(ctx, &graph{tx}, id, d, l)
		return err
	})
	return chain, err
}

// Lookup returns those of ids that are stored, in any order, each once: their
// parents and what a chain says of them. Depth is 0.
func (s *Store) Lookup(ctx context.Context, ids []bloodbank.EventID) (nodes []correlation.Node, err error) {
	err = s.snapshot(ctx, "look up events in", func(ctx context.Context, tx *sql.Tx) error {
		nodes, err = (&graph{tx}).Lookup(ctx, ids)
		return err
	})
	return nodes, err
}

// snapshot runs reads that must see one state of the file.
func (s *Store) snapshot(ctx context.Context, doing string, read func(ctx context.Context, tx *sql.Tx) error) error {
	ctx, leave, err := s.gate.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	select {
	case s.searches <- struct{}{}:
		defer func() { <-s.searches }()
	case <-ctx.Done():
		return explain(s.opts.Path, doing, ctx.Err())
	}
	tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return explain(s.opts.Path, doing, err)
	}
	err = read(ctx, tx)
	// Nothing was written: a rollback that fails has nothing to say, and the
	// pool drops the connection.
	_ = tx.Rollback()
	return explain(s.opts.Path, doing, err)
}

// graph reads the edges within one snapshot.
type graph struct {
	tx *sql.Tx
}

const (
	nodeColumns = "e.time_us, e.type, e.app, e.parents"

	// The walks carry the sequence along, by which an event is found faster than
	// by its id; NULL for what is not known. UNION keeps what was seen, so cycles
	// end; LIMIT ends a large graph. With a step each walk is bounded by that too.
	walkHead   = "WITH RECURSIVE walk (id, seq) AS (SELECT ?1, (SELECT sequence FROM events WHERE event_id = ?1) UNION "
	stepHead   = "WITH RECURSIVE walk (id, seq, step) AS (SELECT unhex(j.value), e.sequence, 0 FROM json_each(?1) j LEFT JOIN events e ON e.event_id = unhex(j.value) UNION "
	causeStep  = "SELECT substr(e.parents, 16 * o.i + 1, 16), (SELECT c.sequence FROM events c WHERE c.event_id = substr(e.parents, 16 * o.i + 1, 16))"
	causeFrom  = " FROM walk w CROSS JOIN events e ON e.sequence = w.seq CROSS JOIN ordinals o ON o.i < length(e.parents) / 16"
	effectStep = "SELECT e.event_id, e.sequence"
	effectFrom = " FROM walk w CROSS JOIN edges g ON g.parent = w.id AND " + withinLimit + " CROSS JOIN events e ON e.sequence = g.child"
	// A parent may have a million children. SQLite queues all that one step
	// yields, so no step may yield more than already says "too many".
	withinLimit = "g.child <= coalesce((SELECT x.child FROM edges x WHERE x.parent = w.id ORDER BY x.child LIMIT 1 OFFSET ?2), 9223372036854775807)"
	walkTail    = " LIMIT ?2) SELECT w.id, " + nodeColumns + " FROM walk w LEFT JOIN events e ON e.sequence = w.seq"

	causesSQL       = walkHead + causeStep + causeFrom + walkTail
	effectsSQL      = walkHead + effectStep + effectFrom + walkTail
	causesAheadSQL  = stepHead + causeStep + ", w.step + 1" + causeFrom + " WHERE w.step < ?3" + walkTail
	effectsAheadSQL = stepHead + effectStep + ", w.step + 1" + effectFrom + " WHERE w.step < ?3" + walkTail

	lookupSQL = `WITH w (id) AS MATERIALIZED (SELECT DISTINCT unhex(value) FROM json_each(?))
		SELECT w.id, ` + nodeColumns + ` FROM w CROSS JOIN events e ON e.event_id = w.id`

	childrenSQL = `WITH p (id) AS MATERIALIZED (SELECT unhex(value) FROM json_each(?)),
		c (seq) AS MATERIALIZED (SELECT DISTINCT g.child FROM p CROSS JOIN edges g ON g.parent = p.id LIMIT ?)
		SELECT e.event_id, ` + nodeColumns + ` FROM c CROSS JOIN events e ON e.sequence = c.seq ORDER BY e.sequence`
)

// Reach implements [correlation.Graph].
func (g *graph) Reach(ctx context.Context, id bloodbank.EventID, d correlation.Direction, limit int) ([]correlation.Node, bool, error) {
	query := causesSQL
	if d == correlation.Descendants {
		query = effectsSQL
	}
	nodes, err := g.nodes(ctx, query, id[:], limit+1)
	return nodes, len(nodes) <= limit, err
}

// Ahead implements [correlation.Graph].
func (g *graph) Ahead(ctx context.Context, ids []bloodbank.EventID, d correlation.Direction, steps, limit int) ([]correlation.Node, bool, error) {
	query := causesAheadSQL
	if d == correlation.Descendants {
		query = effectsAheadSQL
	}
	nodes, err := g.nodes(ctx, query, idList(ids), limit+1, steps)
	return nodes, len(nodes) <= limit, err
}

// Lookup implements [correlation.Graph].
func (g *graph) Lookup(ctx context.Context, ids []bloodbank.EventID) ([]correlation.Node, error) {
	return g.nodes(ctx, lookupSQL, idList(ids))
}

// Effects implements [correlation.Graph].
func (g *graph) Effects(ctx context.Context, ids []bloodbank.EventID, limit int) ([]correlation.Node, error) {
	return g.nodes(ctx, childrenSQL, idList(ids), limit)
}

// idList is a JSON list of ids in hex: one parameter for any number of them.
func idList(ids []bloodbank.EventID) string {
	b := new(strings.Builder)
	for i, id := range ids {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + hex.EncodeToString(id[:]) + `"`)
	}
	return "[" + b.String() + "]"
}

// nodes runs a query for an id and nodeColumns. The few names are read afterwards.
func (g *graph) nodes(ctx context.Context, query string, args ...any) ([]correlation.Node, error) {
	rows, err := g.tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	var nodes []correlation.Node
	var named [][2]int64
	names := map[int64]string{}
	err = eachRow(rows, func() error {
		var id, parents sql.RawBytes
		var at, typ, app sql.NullInt64
		if err := rows.Scan(&id, &at, &typ, &app, &parents); err != nil {
			return err
		}
		n := correlation.Node{ID: eventID(id), Parents: eventIDs(parents), Known: at.Valid}
		if n.Known {
			n.Timestamp = time.UnixMicro(at.Int64).UTC()
		}
		nodes = append(nodes, n)
		named = append(named, [2]int64{typ.Int64, app.Int64})
		names[typ.Int64], names[app.Int64] = "", ""
		return nil
	})
	if err == nil {
		err = g.names(ctx, names)
	}
	for i, ids := range named {
		nodes[i].Type, nodes[i].App = bloodbank.EventType(names[ids[0]]), names[ids[1]]
	}
	return nodes, err
}

// names fills in the texts of the ids that are the map's keys; 0 has none.
func (g *graph) names(ctx context.Context, names map[int64]string) error {
	for id := range names {
		if id == 0 {
			continue
		}
		var text string
		if err := g.tx.QueryRowContext(ctx, "SELECT text FROM names WHERE id = ?", id).Scan(&text); err != nil {
			return err
		}
		names[id] = text
	}
	return nil
}
