package correlation

import (
	"bytes"
	"cmp"
	"container/heap"
	"slices"
)

// Sort brings nodes into the order of [Chain.Nodes] and reports whether they
// hold a cycle. Parents that are not among the nodes do not matter. Its time
// grows with the nodes and edges, times the logarithm of the nodes.
func Sort(nodes []Node) (cyclic bool) {
	slices.SortFunc(nodes, compareNodes)
	g := newGraph(nodes)
	order := g.kahn()
	cyclic = len(order) < len(nodes)
	if cyclic {
		order = g.condensed()
	}
	apply(nodes, order)
	return cyclic
}

// compareNodes breaks ties: by timestamp, then by id.
func compareNodes(a, b Node) int {
	return cmp.Or(a.Timestamp.Compare(b.Timestamp), bytes.Compare(a.ID[:], b.ID[:]))
}

func apply(nodes []Node, order []int) {
	sorted := make([]Node, 0, len(nodes))
	for _, i := range order {
		sorted = append(sorted, nodes[i])
	}
	copy(nodes, sorted)
}

// graph holds the edges between sorted nodes as places in their slice, so that
// a lower number also means earlier in a tie.
type graph struct {
	nodes    []Node
	children [][]int
	parents  []int // how many parents are among the nodes
}

func newGraph(nodes []Node) *graph {
	place := make(map[[16]byte]int, len(nodes))
	for i, n := range nodes {
		place[n.ID] = i
	}
	g := &graph{nodes: nodes, children: make([][]int, len(nodes)), parents: make([]int, len(nodes))}
	for i, n := range nodes {
		for _, p := range n.Parents {
			if j, ok := place[p]; ok {
				g.children[j] = append(g.children[j], i)
				g.parents[i]++
			}
		}
	}
	return g
}

// ints is a heap of numbers, the smallest on top.
type ints []int

func (h ints) Len() int           { return len(h) }
func (h ints) Less(i, j int) bool { return h[i] < h[j] }
func (h ints) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *ints) Push(x any)        { *h = append(*h, x.(int)) }
func (h *ints) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// kahn takes nodes whose parents have all been taken. Nodes on a cycle, and
// those behind one, are left over.
func (g *graph) kahn() (order []int) {
	waiting := slices.Clone(g.parents)
	ready := new(ints)
	for i, n := range waiting {
		if n == 0 {
			*ready = append(*ready, i) // ascending, so a heap already
		}
	}
	for ready.Len() > 0 {
		i := heap.Pop(ready).(int)
		order = append(order, i)
		for _, c := range g.children[i] {
			if waiting[c]--; waiting[c] == 0 {
				heap.Push(ready, c)
			}
		}
	}
	return order
}

// condensed orders a graph with cycles: each cycle (strongly connected
// component) counts as one node, and is ordered by depth inside.
func (g *graph) condensed() []int {
	component := g.components()
	members := make(map[int][]int)
	for i := range g.nodes {
		members[component[i]] = append(members[component[i]], i)
	}
	// A component is known by its first member, so ties are broken as before.
	waiting := make(map[int]int, len(members))
	for i, children := range g.children {
		for _, c := range children {
			if component[i] != component[c] {
				waiting[component[c]]++
			}
		}
	}
	ready := new(ints)
	for first := range members {
		if waiting[first] == 0 {
			heap.Push(ready, first)
		}
	}
	var order []int
	for ready.Len() > 0 {
		own := members[heap.Pop(ready).(int)]
		slices.SortStableFunc(own, func(a, b int) int { return cmp.Compare(g.nodes[a].Depth, g.nodes[b].Depth) })
		order = append(order, own...)
		for _, i := range own {
			for _, c := range g.children[i] {
				if component[c] == component[i] {
					continue
				}
				if waiting[component[c]]--; waiting[component[c]] == 0 {
					heap.Push(ready, component[c])
				}
			}
		}
	}
	return order
}

// components returns for each node the lowest member of its strongly connected
// component: Tarjan's algorithm with a stack of its own, because chains are
// deeper than the machine's.
func (g *graph) components() []int {
	n := len(g.nodes)
	t := tarjan{graph: g, index: make([]int, n), low: make([]int, n), component: make([]int, n), next: make([]int, n), on: make([]bool, n)}
	for i := range n {
		if t.index[i] == 0 {
			t.visit(i)
		}
	}
	return t.component
}

type tarjan struct {
	*graph
	count                       int
	index, low, component, next []int // index counts from 1; 0 is unvisited
	on                          []bool
	stack, path                 []int
}

func (t *tarjan) enter(i int) {
	t.count++
	t.index[i], t.low[i], t.on[i] = t.count, t.count, true
	t.stack, t.path = append(t.stack, i), append(t.path, i)
}

func (t *tarjan) visit(root int) {
	t.enter(root)
	for len(t.path) > 0 {
		i := t.path[len(t.path)-1]
		if t.next[i] < len(t.children[i]) {
			c := t.children[i][t.next[i]]
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
func (t *tarjan) close(i int) {
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
