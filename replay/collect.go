package replay

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/store"
)

// node is an event that is to be replayed. Its bytes are read when it is sent.
type node struct {
	id      bloodbank.EventID
	kind    bloodbank.EventType
	at      time.Time
	parents []bloodbank.EventID
	fresh   bloodbank.EventID // the id of the new event, once there is a job
}

// collector gathers nodes up to the limit.
type collector struct {
	*Replayer
	request   Request
	nodes     map[bloodbank.EventID]*node
	truncated bool
}

func (c *collector) full() bool { return len(c.nodes) >= c.request.Limit }

// add reports whether there was room.
func (c *collector) add(n *node) bool {
	if _, ok := c.nodes[n.id]; ok {
		return true
	}
	if c.full() {
		c.truncated = true
		return false
	}
	c.nodes[n.id] = n
	return true
}

func (c *collector) collect(ctx context.Context) error {
	roots, err := c.roots(ctx)
	if err != nil || !c.request.Tree {
		return err
	}
	for _, root := range roots {
		if c.full() {
			// Whether there would be more is not known without walking on.
			c.truncated = true
			return nil
		}
		if err := c.descend(ctx, root); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) roots(ctx context.Context) (roots []bloodbank.EventID, err error) {
	for _, id := range c.request.IDs {
		e, err := c.o.Store.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		roots = append(roots, id)
		c.add(nodeOf(&e.Envelope))
	}
	if c.request.Filter == nil {
		return roots, nil
	}
	q := store.Query{Filter: *c.request.Filter, Order: store.OldestFirst, Limit: min(c.request.Limit+1, 500)}
	for {
		page, err := c.o.Store.Query(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range page.Events {
			if !c.add(nodeOf(&page.Events[i].Envelope)) {
				return roots, nil
			}
			roots = append(roots, page.Events[i].Envelope.EventID)
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return roots, nil
		}
	}
}

func nodeOf(e *bloodbank.Envelope) *node {
	return &node{id: e.EventID, kind: e.EventType, at: e.Timestamp, parents: e.CorrelationIDs}
}

// descend adds the descendants of a root. The tracker's walk ends on cycles.
func (c *collector) descend(ctx context.Context, root bloodbank.EventID) error {
	chain, err := c.o.Tracker.Chain(ctx, root, correlation.Descendants, correlation.Limits{MaxDepth: c.request.Limit + 1, MaxNodes: c.request.Limit + 1})
	if err != nil {
		return err
	}
	c.truncated = c.truncated || chain.Truncated
	for _, n := range chain.Nodes {
		if n.Known && !c.add(&node{id: n.ID, kind: n.Type, at: n.Timestamp, parents: n.Parents}) {
			return nil
		}
	}
	return nil
}

// sorted puts causes before effects, and what is not related by time. What is in
// a cycle comes last, by time.
func sorted(nodes map[bloodbank.EventID]*node) []*node {
	waits := make(map[bloodbank.EventID]int, len(nodes))
	children := make(map[bloodbank.EventID][]*node)
	var ready, out []*node
	for _, n := range nodes {
		causes := within(n, nodes)
		for _, parent := range causes {
			children[parent] = append(children[parent], n)
		}
		if waits[n.id] = len(causes); len(causes) == 0 {
			ready = append(ready, n)
		}
	}
	slices.SortFunc(ready, byTime)
	for len(ready) > 0 {
		n := ready[0]
		ready = ready[1:]
		out = append(out, n)
		delete(waits, n.id)
		for _, child := range children[n.id] {
			if waits[child.id]--; waits[child.id] == 0 {
				at, _ := slices.BinarySearchFunc(ready, child, byTime)
				ready = slices.Insert(ready, at, child)
			}
		}
	}
	var cyclic []*node
	for id := range waits {
		cyclic = append(cyclic, nodes[id])
	}
	slices.SortFunc(cyclic, byTime)
	return append(out, cyclic...)
}

func byTime(a, b *node) int {
	return cmp.Or(a.at.Compare(b.at), slices.Compare(a.id[:], b.id[:]))
}

// within are the parents of n among nodes, each once, without itself.
func within(n *node, nodes map[bloodbank.EventID]*node) (ids []bloodbank.EventID) {
	for _, id := range n.parents {
		if _, ok := nodes[id]; ok && id != n.id && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

func countTypes(all []*node) []TypeCount {
	counts := map[bloodbank.EventType]int{}
	for _, n := range all {
		counts[n.kind]++
	}
	types := []TypeCount{}
	for t, n := range counts {
		types = append(types, TypeCount{t, n})
	}
	slices.SortFunc(types, func(a, b TypeCount) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Type, b.Type)) })
	return types
}
