package correlation

import (
	"context"

	"github.com/33god/bloodbank"
)

// Graph is what [Walk] reads. An implementation answers all calls of one walk
// from one state of its database, if it can.
type Graph interface {
	// Reach returns everything that can be reached from id, itself included
	// (Known or not), in any order, if that is at most limit nodes; else whole is
	// false. It may always say false. What lies deeper than one level beyond the
	// depth of the walk may be left out. The nodes are the caller's.
	Reach(ctx context.Context, id bloodbank.EventID, d Direction, limit int) (nodes []Node, whole bool, err error)
	// Ahead returns everything within so many steps of ids, they themselves
	// included, if that is at most limit nodes; else whole is false. Nodes may
	// come more than once, and count each time. It may always say false.
	Ahead(ctx context.Context, ids []bloodbank.EventID, d Direction, steps, limit int) (nodes []Node, whole bool, err error)
	// Lookup returns those of ids that are known, in any order.
	Lookup(ctx context.Context, ids []bloodbank.EventID) ([]Node, error)
	// Effects returns up to limit different events that name one of ids as a
	// parent, in any order, and reads hardly more than that: ids may have a
	// million.
	Effects(ctx context.Context, ids []bloodbank.EventID, limit int) ([]Node, error)
}

// A walk first asks for all that can be reached, if that is no more than
// atOnce. Else it proceeds by several levels at a time while they are narrow, as
// in a long line, and then by single ones.
const (
	atOnce  = 2048
	narrow  = 64
	stretch = 64
)

// Walk answers [Tracker.Chain] from g: breadth first, so that each depth is the
// shortest, and never more than the limits in memory (plus one round of
// neighbours). Where MaxNodes cuts, the nearest nodes stay.
func Walk(ctx context.Context, g Graph, id bloodbank.EventID, d Direction, l Limits) (Chain, error) {
	c, err := Gather(ctx, g, id, d, l)
	if err == nil {
		c.Cyclic = Sort(c.Nodes)
	}
	return c, err
}

// Gather is [Walk] for those who learn more about the nodes before they are in
// order: Nodes are breadth first, the start in front, and Cyclic is not set.
func Gather(ctx context.Context, g Graph, id bloodbank.EventID, d Direction, l Limits) (Chain, error) {
	if _, err := ParseDirection(string(d)); err != nil {
		return Chain{}, err
	}
	l = l.WithDefaults()
	w := &walk{graph: g, direction: d, limits: l}
	reached, whole, err := g.Reach(ctx, id, d, min(l.MaxNodes, atOnce))
	if err != nil {
		return Chain{}, err
	}
	if whole {
		w.nodes, w.truncated, whole = within(reached, id, d, l)
	}
	if !whole {
		err = w.start(ctx, id)
	}
	// A node that was reached downwards names the start.
	if err == nil && !w.nodes[0].Known && (d == Ancestors || len(w.nodes) == 1) {
		err = w.named(ctx, id)
	}
	if err == nil && !whole {
		err = w.run(ctx)
	}
	if err != nil {
		return Chain{}, err
	}
	return Chain{Start: id, Direction: d, Nodes: w.nodes, Truncated: w.truncated}, nil
}

type walk struct {
	graph     Graph
	direction Direction
	limits    Limits

	seen      map[bloodbank.EventID]bool
	nodes     []Node
	truncated bool

	// near holds the next nodes of each node, for as many levels to come as
	// covered says.
	near    map[bloodbank.EventID][]Node
	covered int
	wide    bool // several levels at once were too many nodes
}

// start begins a walk by levels.
func (w *walk) start(ctx context.Context, id bloodbank.EventID) error {
	w.seen = map[bloodbank.EventID]bool{id: true}
	w.nodes = []Node{{ID: id}}
	known, err := w.graph.Lookup(ctx, []bloodbank.EventID{id})
	if len(known) > 0 {
		w.nodes[0] = known[0]
		w.nodes[0].Depth = 0
	}
	return err
}

// named fails where nobody names id as a parent.
func (w *walk) named(ctx context.Context, id bloodbank.EventID) error {
	effects, err := w.graph.Effects(ctx, []bloodbank.EventID{id}, 1)
	if err == nil && len(effects) == 0 {
		err = bloodbank.Errorf(bloodbank.CodeNotFound, "no event %s is known, and none names it as a parent", id)
	}
	return err
}

// neighbours returns what a walk in direction d sees next from each node.
func neighbours(nodes []Node, d Direction) map[bloodbank.EventID][]Node {
	byID := make(map[bloodbank.EventID]Node, len(nodes))
	once := make([]Node, 0, len(nodes))
	for _, n := range nodes {
		if _, twice := byID[n.ID]; !twice {
			byID[n.ID] = n
			once = append(once, n)
		}
	}
	near := make(map[bloodbank.EventID][]Node, len(once))
	for _, n := range once {
		for _, p := range n.Parents {
			if d == Descendants {
				near[p] = append(near[p], n)
			} else if parent, ok := byID[p]; ok {
				near[n.ID] = append(near[n.ID], parent)
			}
		}
	}
	return near
}

func (w *walk) run(ctx context.Context) error {
	level := w.nodes
	for depth := 1; len(level) > 0; depth++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		next, err := w.next(ctx, level)
		if err != nil {
			return err
		}
		from := len(w.nodes)
		for _, n := range next {
			if w.seen[n.ID] {
				continue
			}
			if depth >= w.limits.MaxDepth || len(w.nodes) >= w.limits.MaxNodes {
				w.truncated = true
				return nil
			}
			w.seen[n.ID] = true
			n.Depth = depth
			w.nodes = append(w.nodes, n)
		}
		level = w.nodes[from:]
	}
	return nil
}

// next returns the neighbours of a level, seen ones too.
func (w *walk) next(ctx context.Context, level []Node) ([]Node, error) {
	ids := make([]bloodbank.EventID, len(level))
	for i, n := range level {
		ids[i] = n.ID
	}
	if w.covered == 0 && !w.wide && len(ids) <= narrow {
		nodes, whole, err := w.graph.Ahead(ctx, ids, w.direction, stretch, atOnce)
		if err != nil {
			return nil, err
		}
		if w.wide = !whole; whole {
			w.near, w.covered = neighbours(nodes, w.direction), stretch
		}
	}
	if w.covered > 0 {
		w.covered--
		var next []Node
		for _, id := range ids {
			next = append(next, w.near[id]...)
		}
		return next, nil
	}
	if w.direction == Descendants {
		// Of MaxNodes+1 different events at least one is new or too many.
		return w.graph.Effects(ctx, ids, w.limits.MaxNodes+1)
	}
	return w.causes(ctx, level)
}

// causes looks up the parents of a level that are new, as many as still fit and
// one more; nobody knows some of them.
func (w *walk) causes(ctx context.Context, level []Node) ([]Node, error) {
	var next []Node
	place := map[bloodbank.EventID]int{}
	var ids []bloodbank.EventID
	for _, n := range level {
		for _, p := range n.Parents {
			if _, twice := place[p]; twice || w.seen[p] || len(w.nodes)+len(next) > w.limits.MaxNodes {
				continue
			}
			place[p] = len(next)
			ids = append(ids, p)
			next = append(next, Node{ID: p})
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	known, err := w.graph.Lookup(ctx, ids)
	for _, n := range known {
		next[place[n.ID]] = n
	}
	return next, err
}
