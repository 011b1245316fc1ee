package correlation

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/33god/bloodbank"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a graph that gives whole answers only as far as it is told.
type memory struct {
	nodes        []Node
	reach, ahead bool
}

func (g *memory) near(id bloodbank.EventID, d Direction) (near []Node) {
	for _, n := range g.nodes {
		if d == Descendants && slices.Contains(n.Parents, id) {
			near = append(near, n)
		}
		if d == Ancestors && n.ID == id {
			for _, p := range n.Parents {
				near = append(near, g.node(p))
			}
		}
	}
	return near
}

func (g *memory) node(id bloodbank.EventID) Node {
	for _, n := range g.nodes {
		if n.ID == id {
			return n
		}
	}
	return Node{ID: id}
}

func (g *memory) within(ids []bloodbank.EventID, d Direction, steps, limit int) ([]Node, bool, error) {
	var out []Node
	for _, id := range ids {
		out = append(out, g.node(id))
	}
	for level := out; steps > 0 && len(level) > 0 && len(out) <= limit; steps-- {
		var next []Node
		for _, n := range level {
			for _, x := range g.near(n.ID, d) {
				if !slices.ContainsFunc(out, func(o Node) bool { return o.ID == x.ID }) {
					out, next = append(out, x), append(next, x)
				}
			}
		}
		level = next
	}
	return out, len(out) <= limit, nil
}

func (g *memory) Reach(_ context.Context, id bloodbank.EventID, d Direction, limit int) ([]Node, bool, error) {
	nodes, whole, err := g.within([]bloodbank.EventID{id}, d, 1<<30, limit)
	return nodes, whole && g.reach, err
}

func (g *memory) Ahead(_ context.Context, ids []bloodbank.EventID, d Direction, steps, limit int) ([]Node, bool, error) {
	nodes, whole, err := g.within(ids, d, steps, limit)
	return nodes, whole && g.ahead, err
}

func (g *memory) Lookup(_ context.Context, ids []bloodbank.EventID) (known []Node, _ error) {
	for _, id := range ids {
		if n := g.node(id); n.Known {
			known = append(known, n)
		}
	}
	return known, nil
}

func (g *memory) Effects(_ context.Context, ids []bloodbank.EventID, limit int) ([]Node, error) {
	var out []Node
	for _, n := range g.nodes {
		if len(out) < limit && slices.ContainsFunc(ids, func(id bloodbank.EventID) bool { return slices.Contains(n.Parents, id) }) {
			out = append(out, n)
		}
	}
	return out, nil
}

// TestWalkWaysAgree: all at once, and level by level, the answer is the same.
func TestWalkWaysAgree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 20).Draw(t, "nodes")
		id := func(i int) bloodbank.EventID { return bloodbank.EventID{15: byte(i + 1)} }
		g := &memory{reach: true}
		for i := range n {
			node := Node{ID: id(i), Known: true, Type: "a.b", Timestamp: time.Unix(int64(i%3), 0)}
			for range rapid.IntRange(0, 3).Draw(t, "parents") {
				node.Parents = append(node.Parents, id(rapid.IntRange(0, n+2).Draw(t, "parent")))
			}
			g.nodes = append(g.nodes, node)
		}
		start := id(rapid.IntRange(0, n+2).Draw(t, "start"))
		d := rapid.SampledFrom([]Direction{Ancestors, Descendants}).Draw(t, "direction")
		l := Limits{MaxDepth: rapid.IntRange(0, 6).Draw(t, "depth")}
		whole, errWhole := Walk(t.Context(), g, start, d, l)
		other := &memory{nodes: g.nodes, ahead: rapid.Bool().Draw(t, "ahead")}
		levels, errLevels := Walk(t.Context(), other, start, d, l)
		if bloodbank.CodeOf(errWhole) != bloodbank.CodeOf(errLevels) || !reflect.DeepEqual(whole, levels) {
			t.Fatalf("at once: %v\n%+v\nby level: %v\n%+v", errWhole, whole, errLevels, levels)
		}
		if errWhole != nil {
			return
		}
		l.MaxNodes = rapid.IntRange(1, 22).Draw(t, "max nodes")
		cut, err := Walk(t.Context(), other, start, d, l)
		if err != nil || len(cut.Nodes) != min(l.MaxNodes, len(whole.Nodes)) || cut.Truncated != (whole.Truncated || len(cut.Nodes) < len(whole.Nodes)) {
			t.Fatalf("%d nodes of %d with at most %d, truncated %t, %v", len(cut.Nodes), len(whole.Nodes), l.MaxNodes, cut.Truncated, err)
		}
		for _, n := range cut.Nodes {
			if n.Depth > slices.MaxFunc(whole.Nodes, func(a, b Node) int { return a.Depth - b.Depth }).Depth {
				t.Fatalf("%+v is too deep", n)
			}
		}
	})
}
