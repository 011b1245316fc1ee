package correlation

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// Sort brings nodes, each there once, into the order of [Chain.Nodes] and
// reports whether they hold a cycle. Parents that are not among the nodes do not
// matter. Its time grows with the nodes and edges, times the logarithm of the
// nodes that are free at the same time: a line needs no comparison at all.
func Sort(nodes []Node) (cyclic bool) {
	x := newIndex(nodes)
	g := &graph{nodes: nodes, edges: newEdges(nodes, &x, Descendants)}
	if order := g.kahn(); len(order) == len(nodes) {
		permute(nodes, order)
		return false
	}
	// Components are told apart by the earliest of their members, so the nodes
	// have to be in order first.
	slices.SortFunc(nodes, compareNodes)
	x = newIndex(nodes)
	g.edges = newEdges(nodes, &x, Descendants)
	permute(nodes, g.condensed())
	return true
}

// compareNodes breaks ties: by timestamp, then by id.
func compareNodes(a, b Node) int {
	return cmp.Or(a.Timestamp.Compare(b.Timestamp), bytes.Compare(a.ID[:], b.ID[:]))
}

// graph holds the edges from parents to children as places among the nodes.
type graph struct {
	nodes []Node
	edges
}

// key is what compareNodes compares, in few machine words.
type key struct {
	seconds     int64
	nanoseconds int32
	id          [2]uint64
}

func newKey(n *Node) key {
	return key{n.Timestamp.Unix(), int32(n.Timestamp.Nanosecond()), [2]uint64{binary.BigEndian.Uint64(n.ID[:8]), binary.BigEndian.Uint64(n.ID[8:])}}
}

func (a *key) before(b *key) bool {
	switch {
	case a.seconds != b.seconds:
		return a.seconds < b.seconds
	case a.nanoseconds != b.nanoseconds:
		return a.nanoseconds < b.nanoseconds
	case a.id[0] != b.id[0]:
		return a.id[0] < b.id[0]
	}
	return a.id[1] < b.id[1]
}

// heap holds places, the one with the earliest key on top.
type heap struct {
	keys   []key
	places []int32
}

func (h *heap) push(place int32) {
	h.places = append(h.places, place)
	at := len(h.places) - 1
	for at > 0 {
		up := (at - 1) / 2
		if !h.keys[place].before(&h.keys[h.places[up]]) {
			break
		}
		h.places[at] = h.places[up]
		at = up
	}
	h.places[at] = place
}

func (h *heap) pop() int32 {
	top, last := h.places[0], len(h.places)-1
	place := h.places[last]
	h.places = h.places[:last]
	if last == 0 {
		return top
	}
	at := 0
	for {
		down := 2*at + 1
		if down >= last {
			break
		}
		if down+1 < last && h.keys[h.places[down+1]].before(&h.keys[h.places[down]]) {
			down++
		}
		if !h.keys[h.places[down]].before(&h.keys[place]) {
			break
		}
		h.places[at] = h.places[down]
		at = down
	}
	h.places[at] = place
	return top
}

// waiting counts the parents of each node that are among the nodes.
func (g *graph) waiting() []int32 {
	n := make([]int32, len(g.nodes))
	for _, c := range g.to {
		n[c]++
	}
	return n
}

// kahn takes nodes whose parents have all been taken. Nodes on a cycle, and
// those behind one, are left over.
func (g *graph) kahn() []int32 {
	waiting, order := g.waiting(), make([]int32, 0, len(g.nodes))
	ready := heap{keys: make([]key, len(g.nodes))}
	for i := range g.nodes {
		ready.keys[i] = newKey(&g.nodes[i])
		if waiting[i] == 0 {
			ready.push(int32(i))
		}
	}
	for len(ready.places) > 0 {
		i := ready.pop()
		order = append(order, i)
		for _, c := range g.of(i) {
			if waiting[c]--; waiting[c] == 0 {
				ready.push(c)
			}
		}
	}
	return order
}

// condensed orders a graph with cycles, whose nodes are sorted: each cycle
// (strongly connected component) counts as one node, and is ordered by depth
// inside.
func (g *graph) condensed() []int32 {
	component := g.components()
	members := make([][]int32, len(g.nodes)) // by the first of them, which stands for all
	for i, c := range component {
		members[c] = append(members[c], int32(i))
	}
	waiting := make([]int32, len(g.nodes))
	for i := range g.nodes {
		for _, c := range g.of(int32(i)) {
			if component[i] != component[c] {
				waiting[component[c]]++
			}
		}
	}
	ready, order := heap{keys: make([]key, len(g.nodes))}, make([]int32, 0, len(g.nodes))
	for i := range g.nodes {
		ready.keys[i] = newKey(&g.nodes[i])
		if len(members[i]) > 0 && waiting[i] == 0 {
			ready.push(int32(i))
		}
	}
	for len(ready.places) > 0 {
		own := members[ready.pop()]
		slices.SortStableFunc(own, func(a, b int32) int { return cmp.Compare(g.nodes[a].Depth, g.nodes[b].Depth) })
		order = append(order, own...)
		for _, i := range own {
			for _, c := range g.of(i) {
				if component[c] == component[i] {
					continue
				}
				if waiting[component[c]]--; waiting[component[c]] == 0 {
					ready.push(component[c])
				}
			}
		}
	}
	return order
}

// components returns for each node the lowest member of its strongly connected
// component: Tarjan's algorithm with a stack of its own, because chains are
// deeper than the machine's.
func (g *graph) components() []int32 {
	n := len(g.nodes)
	t := tarjan{graph: g, index: make([]int32, n), low: make([]int32, n), component: make([]int32, n), next: make([]int32, n), on: make([]bool, n)}
	for i := range int32(n) {
		if t.index[i] == 0 {
			t.visit(i)
		}
	}
	return t.component
}

type tarjan struct {
	*graph
	count                       int32
	index, low, component, next []int32 // index counts from 1; 0 is unvisited
	on                          []bool
	stack, path                 []int32
}

func (t *tarjan) enter(i int32) {
	t.count++
	t.index[i], t.low[i], t.on[i] = t.count, t.count, true
	t.stack, t.path = append(t.stack, i), append(t.path, i)
}

func (t *tarjan) visit(root int32) {
	t.enter(root)
	for len(t.path) > 0 {
		i := t.path[len(t.path)-1]
		if children := t.of(i); int(t.next[i]) < len(children) {
			c := children[t.next[i]]
			t.next[i]++
			if t.index[c] == 0 {
				t.enter(c)
			} else if t.on[c] {
				t.low[i] = min(t.low[i], t.index[c])
			}
			continue
		}
		t.path = t.path[:len(t.path)-1]
		if len(t.path) > 0 {
			up := t.path[len(t.path)-1]
			t.low[up] = min(t.low[up], t.low[i])
		}
		if t.low[i] == t.index[i] {
			t.close(i)
		}
	}
}

// close takes a finished component off the stack, down to its root i.
func (t *tarjan) close(i int32) {
	at := len(t.stack) - 1
	for t.stack[at] != i {
		at--
	}
	own := t.stack[at:]
	first := slices.Min(own)
	for _, m := range own {
		t.component[m], t.on[m] = first, false
	}
	t.stack = t.stack[:at]
}
