package redis

import (
	"context"
	_ "embed"
	"math"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
)

//go:embed walk.lua
var walkSource string

const (
	// nodesPerCall bounds one run of the script, which takes a few microseconds
	// for each node while Redis serves nobody else.
	nodesPerCall = 1024
	// keysPerCall bounds one command or pipeline.
	keysPerCall = 500
	// wholeLimit is up to how many nodes a graph is read as a whole.
	wholeLimit = 4096
)

// graph implements [correlation.Graph]. A walk of several round trips may see
// links that are written meanwhile; each is seen whole or not at all.
type graph struct {
	t *Tracker
	// first is what was reached before the walk began, if it is not nil.
	first *reached
}

type reached struct {
	nodes []correlation.Node
	whole bool
}

// found is what one run of the script has brought.
type found struct {
	nodes []correlation.Node
	rest  []string // ids to go on with
	whole bool     // all the steps were done
}

func (g *graph) run(ctx context.Context, ids []string, d correlation.Direction, steps, budget int) (f found, err error) {
	way, budget := "up", min(budget, nodesPerCall)
	if d == correlation.Descendants {
		way, budget = "down", 2*budget // it pays for finding a node, and for its children
	}
	args := make([]any, 0, len(ids)+3)
	args = append(args, way, steps, budget)
	for _, id := range ids {
		args = append(args, id)
	}
	var reply []any
	err = g.t.do(ctx, func(ctx context.Context, c *goredis.Client) error {
		var err error
		reply, err = goredis.NewScript(walkSource).Run(ctx, c, nil, args...).Slice()
		return err
	})
	if err != nil || len(reply) != 3 {
		return f, err
	}
	nodes, _ := reply[0].(string)
	rest, _ := reply[1].(string)
	whole, _ := reply[2].(int64)
	f = found{rest: readLines(rest), whole: whole == 1}
	if d == correlation.Ancestors {
		f.nodes = readNodes(nodes)
		return f, nil
	}
	f.nodes, err = g.nodes(ctx, readLines(nodes))
	return f, err
}

func readLines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// readNodes reads two lines for each node: its id and its parents.
func readNodes(s string) []correlation.Node {
	n := strings.Count(s, "\n")/2 + 1
	nodes := make([]correlation.Node, 0, n)
	all := make([]bloodbank.EventID, 0, n) // the parents of all nodes
	for s != "" {
		var text, list string
		text, s, _ = strings.Cut(s, "\n")
		list, s, _ = strings.Cut(s, "\n")
		id, err := bloodbank.ParseEventID(text)
		if err != nil {
			continue // something else that was found among the parents
		}
		from := len(all)
		for list != "" && list != "-" {
			var parent string
			parent, list, _ = strings.Cut(list, ",")
			all = appendID(all, parent)
		}
		nodes = append(nodes, correlation.Node{ID: id, Known: list != "-", Parents: all[from:len(all):len(all)]})
	}
	return nodes
}

// Reach implements [correlation.Graph].
func (g *graph) Reach(ctx context.Context, id bloodbank.EventID, d correlation.Direction, limit int) ([]correlation.Node, bool, error) {
	if g.first != nil {
		return g.first.nodes, g.first.whole, nil
	}
	return g.explore(ctx, []string{id.String()}, d, limit)
}

// Ahead implements [correlation.Graph].
func (g *graph) Ahead(ctx context.Context, ids []bloodbank.EventID, d correlation.Direction, steps, limit int) ([]correlation.Node, bool, error) {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	if d == correlation.Ancestors {
		steps++ // the script's first step is to the ids themselves
	}
	f, err := g.run(ctx, texts, d, steps, limit)
	if err != nil || !f.whole {
		return nil, false, err
	}
	return f.nodes, len(f.nodes) <= limit, nil
}

// explore runs the script until nothing is left. It gives up at a parent with
// more children than one run may read.
func (g *graph) explore(ctx context.Context, ids []string, d correlation.Direction, limit int) (nodes []correlation.Node, whole bool, err error) {
	seen, done := map[bloodbank.EventID]bool{}, map[string]bool{}
	for len(ids) > 0 {
		f, err := g.run(ctx, ids, d, math.MaxInt32, limit+1)
		if err != nil {
			return nil, false, err
		}
		if len(f.rest) == 0 && nodes == nil {
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

// nodes looks ids up, those included that are not known.
func (g *graph) nodes(ctx context.Context, texts []string) ([]correlation.Node, error) {
	nodes, keys := make([]correlation.Node, 0, len(texts)), make([]string, 0, len(texts))
	for _, text := range texts {
		if id, err := bloodbank.ParseEventID(text); err == nil {
			nodes = append(nodes, correlation.Node{ID: id})
			keys = append(keys, forwardPrefix+text)
		}
	}
	values, err := g.t.get(ctx, keys)
	if err != nil {
		return nil, err
	}
	all := make([]bloodbank.EventID, 0, len(nodes)) // the parents of all nodes
	for i, v := range values {
		from := len(all)
		all = appendForward(all, v)
		nodes[i].Known, nodes[i].Parents = v != "", all[from:len(all):len(all)]
	}
	return nodes, nil
}

// Lookup implements [correlation.Graph].
func (g *graph) Lookup(ctx context.Context, ids []bloodbank.EventID) ([]correlation.Node, error) {
	var known []correlation.Node
	for chunk := range slices.Chunk(ids, nodesPerCall) {
		texts := make([]string, len(chunk))
		for i, id := range chunk {
			texts[i] = id.String()
		}
		nodes, err := g.nodes(ctx, texts)
		if err != nil {
			return nil, err
		}
		known = append(known, slices.DeleteFunc(nodes, func(n correlation.Node) bool { return !n.Known })...)
	}
	return known, nil
}
