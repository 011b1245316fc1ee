package redis

import (
	"context"
	"math"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
)

const (
	// nodesPerCall bounds one run of the script, which takes a few microseconds
	// for each node while Redis serves nobody else.
	nodesPerCall = 1024
	// keysPerCall bounds one command or pipeline.
	keysPerCall = 500
	// wholeLimit is up to how many nodes a graph is read as a whole.
	wholeLimit = 4096
)

// graph implements [correlation.Graph] for one walk. A walk of several round
// trips may see links that are written meanwhile; each is seen whole or not at
// all.
type graph struct {
	t      *Tracker
	limits correlation.Limits // of the walk
}

// found is what one run of the script has brought.
type found struct {
	nodes []correlation.Node
	rest  []string // ids to go on with
	steps int      // how many are left for them
}

func (g *graph) run(ctx context.Context, ids []string, d correlation.Direction, steps, budget int) (f found, err error) {
	way := "up"
	if d == correlation.Descendants {
		way = "down"
	}
	args := make([]any, 3, len(ids)+3)
	args[0], args[1], args[2] = way, steps, min(budget, nodesPerCall)
	for i := range ids {
		args = append(args, &ids[i])
	}
	var reply []any
	err = g.t.do(ctx, func(ctx context.Context, c *goredis.Client) error {
		var err error
		reply, err = g.t.scripts.walk.Run(ctx, c, nil, args...).Slice()
		return err
	})
	if err != nil || len(reply) != 3 {
		return f, err
	}
	nodes, _ := reply[0].(string)
	rest, _ := reply[1].(string)
	left, _ := reply[2].(int64)
	f = found{rest: readLines(rest), steps: int(left)}
	if d == correlation.Ancestors {
		f.nodes = readCauses(ids, nodes)
		return f, nil
	}
	f.nodes, err = g.nodes(ctx, nodes)
	return f, err
}

func readLines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// readCauses reads what the script says of the nodes it has taken, from ids
// upwards: a line of parents for each, in the order of its queue.
func readCauses(ids []string, taken string) []correlation.Node {
	n := strings.Count(taken, "\n") + 1
	nodes := make([]correlation.Node, 0, n)
	parents := make([]bloodbank.EventID, 0, n) // of all nodes
	queue := make([]bloodbank.EventID, 0, n+len(ids))
	for _, text := range ids {
		id, _ := parseID(text)
		queue = append(queue, id)
	}
	for at := range n {
		var line string
		line, taken, _ = strings.Cut(taken, "\n")
		known, from := line != "-", len(parents)
		for known && line != "" {
			var text string
			text, line, _ = strings.Cut(line, ",")
			text, again := strings.CutPrefix(text, "=")
			id, ok := parseID(text)
			if ok {
				parents = append(parents, id)
			}
			if !again {
				queue = append(queue, id)
			}
		}
		// Something else that was found among the parents has no id.
		if id := queue[at]; !id.IsZero() {
			nodes = append(nodes, correlation.Node{ID: id, Known: known, Parents: parents[from:len(parents):len(parents)]})
		}
	}
	return nodes
}

// Reach implements [correlation.Graph].
func (g *graph) Reach(ctx context.Context, id bloodbank.EventID, d correlation.Direction, limit int) ([]correlation.Node, bool, error) {
	// It may be more than a walk asks for: a whole graph takes fewer round trips.
	return g.explore(ctx, []string{id.String()}, d, max(limit, min(g.limits.MaxNodes, wholeLimit)))
}

// Ahead implements [correlation.Graph].
func (g *graph) Ahead(ctx context.Context, ids []bloodbank.EventID, d correlation.Direction, steps, limit int) ([]correlation.Node, bool, error) {
	if d == correlation.Ancestors {
		steps++ // the script's first step is to the ids themselves
	}
	f, err := g.run(ctx, texts(ids), d, steps, limit)
	if err != nil || len(f.rest) > 0 && f.steps > 0 {
		return nil, false, err
	}
	return f.nodes, len(f.nodes) <= limit, nil
}

func texts(ids []bloodbank.EventID) []string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = id.String()
	}
	return all
}

// explore runs the script until nothing is left within the depth of the walk and
// one level more. It gives up at a parent with more children than one run may
// read.
func (g *graph) explore(ctx context.Context, ids []string, d correlation.Direction, limit int) (nodes []correlation.Node, whole bool, err error) {
	steps := min(g.limits.MaxDepth, math.MaxInt32) + 1
	seen, done := map[bloodbank.EventID]bool{}, map[string]bool{}
	for len(ids) > 0 && steps > 0 {
		f, err := g.run(ctx, ids, d, steps, limit+1)
		if err != nil {
			return nil, false, err
		}
		if steps = f.steps; nodes == nil && (len(f.rest) == 0 || steps <= 0) {
			return f.nodes, len(f.nodes) <= limit, nil // the usual case
		}
		left := make(map[string]bool, len(f.rest))
		for _, id := range f.rest {
			left[id] = true
		}
		before := len(done)
		for _, id := range ids {
			if !left[id] {
				done[id] = true
			}
		}
		for _, n := range f.nodes {
			if id := n.ID.String(); !left[id] {
				done[id] = true
			}
			if !seen[n.ID] {
				seen[n.ID] = true
				nodes = append(nodes, n)
			}
		}
		if len(nodes) > limit || len(done) == before {
			return nil, false, nil
		}
		ids = slices.DeleteFunc(f.rest, func(id string) bool { return done[id] })
	}
	return nodes, true, nil
}

// nodes looks ids up, one on each line, those included that are not known.
func (g *graph) nodes(ctx context.Context, lines string) ([]correlation.Node, error) {
	n := strings.Count(lines, "\n") + 1
	nodes := make([]correlation.Node, 0, n)
	var all strings.Builder // the keys of all ids, which have the same length
	all.Grow(n * (len(forwardPrefix) + 36))
	for lines != "" {
		var text string
		text, lines, _ = strings.Cut(lines, "\n")
		if id, ok := parseID(text); ok {
			nodes = append(nodes, correlation.Node{ID: id})
			all.WriteString(forwardPrefix)
			all.WriteString(text)
		}
	}
	keys, rest := make([]string, len(nodes)), all.String()
	for i := range keys {
		keys[i], rest = rest[:len(forwardPrefix)+36], rest[len(forwardPrefix)+36:]
	}
	values, err := g.t.get(ctx, keys)
	if err != nil {
		return nil, err
	}
	parents := make([]bloodbank.EventID, 0, len(nodes)) // of all nodes
	for i, v := range values {
		from := len(parents)
		parents = appendForward(parents, v)
		nodes[i].Known, nodes[i].Parents = v != nil, parents[from:len(parents):len(parents)]
	}
	return nodes, nil
}

// Lookup implements [correlation.Graph].
func (g *graph) Lookup(ctx context.Context, ids []bloodbank.EventID) ([]correlation.Node, error) {
	var known []correlation.Node
	for chunk := range slices.Chunk(ids, nodesPerCall) {
		nodes, err := g.nodes(ctx, strings.Join(texts(chunk), "\n"))
		if err != nil {
			return nil, err
		}
		known = append(known, slices.DeleteFunc(nodes, func(n correlation.Node) bool { return !n.Known })...)
	}
	return known, nil
}
