package redis

import (
	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
)

// unreached is the depth of a node that no way leads to.
const unreached = -1

// measure sets the depth of nodes, which hold all that can be reached from id,
// and drops what no edge leads to: children that have moved to other parents. It
// does what [correlation.Walk] does, for the case without limits, in a fraction
// of the time. It is not ok where that is not the case.
func measure(nodes []correlation.Node, id bloodbank.EventID, d correlation.Direction, l correlation.Limits) (measured []correlation.Node, ok bool) {
	place := make(map[bloodbank.EventID]int32, len(nodes))
	for i := range nodes {
		place[nodes[i].ID] = int32(i)
		nodes[i].Depth = unreached
	}
	start, found := place[id]
	if !found {
		return nil, false
	}
	next := neighbours(nodes, place, d)
	nodes[start].Depth = 0
	queue := append(make([]int32, 0, len(nodes)), start)
	for at := 0; at < len(queue); at++ {
		depth := nodes[queue[at]].Depth + 1
		for _, i := range next.of(queue[at]) {
			if nodes[i].Depth != unreached {
				continue
			}
			if depth >= l.MaxDepth {
				return nil, false
			}
			nodes[i].Depth = depth
			queue = append(queue, i)
		}
	}
	known := nodes[start].Known || d == correlation.Descendants && len(queue) > 1
	if !known || len(queue) > l.MaxNodes {
		return nil, false
	}
	if len(queue) == len(nodes) {
		return nodes, true
	}
	measured = make([]correlation.Node, len(queue))
	for i, from := range queue {
		measured[i] = nodes[from]
	}
	return measured, true
}

// edges holds the neighbours of all nodes in one slice: those of node i lie
// between first[i] and first[i+1].
type edges struct{ first, to []int32 }

func (e edges) of(i int32) []int32 { return e.to[e.first[i]:e.first[i+1]] }

// neighbours returns what a walk in direction d sees next from each node.
func neighbours(nodes []correlation.Node, place map[bloodbank.EventID]int32, d correlation.Direction) edges {
	e := edges{first: make([]int32, len(nodes)+1)}
	pairs := make([][2]int32, 0, len(nodes)) // from, to
	for i, n := range nodes {
		for _, p := range n.Parents {
			parent, ok := place[p]
			if !ok {
				continue
			}
			pair := [2]int32{int32(i), parent}
			if d == correlation.Descendants {
				pair[0], pair[1] = pair[1], pair[0]
			}
			pairs = append(pairs, pair)
			e.first[pair[0]+1]++
		}
	}
	for i := range nodes {
		e.first[i+1] += e.first[i]
	}
	e.to = make([]int32, len(pairs))
	free := append([]int32(nil), e.first...)
	for _, p := range pairs {
		e.to[free[p[0]]] = p[1]
		free[p[0]]++
	}
	return e
}
