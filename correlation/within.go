package correlation

import "github.com/33god/bloodbank"

// unreached is the depth of a node that no way leads to.
const unreached = -1

// within finishes a walk whose graph is there: nodes hold all that can be
// reached from id, or at least what lies within the depth of l and one level
// more. It drops what no way leads to and what the limits cut, and leaves the
// rest, with its depths, breadth first, the start in front. It is not ok where
// the start is missing. The nodes are used up.
func within(nodes []Node, id bloodbank.EventID, d Direction, l Limits) (kept []Node, truncated, ok bool) {
	x := newIndex(nodes)
	start, found := x.find(&id)
	if !found {
		return nil, false, false
	}
	next := newEdges(nodes, &x, d)
	for i := range nodes {
		nodes[i].Depth = unreached
	}
	nodes[start].Depth = 0
	queue := append(make([]int32, 0, len(nodes)), start)
walk:
	for at := 0; at < len(queue); at++ {
		depth := nodes[queue[at]].Depth + 1
		for _, i := range next.of(queue[at]) {
			if nodes[i].Depth != unreached {
				continue
			}
			if truncated = depth >= l.MaxDepth || len(queue) >= l.MaxNodes; truncated {
				break walk
			}
			nodes[i].Depth = depth
			queue = append(queue, i)
		}
	}
	if len(queue) == len(nodes) {
		permute(nodes, queue)
		return nodes, truncated, true
	}
	kept = make([]Node, len(queue))
	for i, from := range queue {
		kept[i] = nodes[from]
	}
	return kept, truncated, true
}
