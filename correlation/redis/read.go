package redis

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"

	goredis "github.com/redis/go-redis/v9"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
)

func notFound(id bloodbank.EventID) error {
	return bloodbank.Errorf(bloodbank.CodeNotFound, "no event %s is known, and none names it as a parent", id)
}

// Parents implements [correlation.Tracker].
func (t *Tracker) Parents(ctx context.Context, id bloodbank.EventID) ([]bloodbank.EventID, error) {
	values, err := t.get(ctx, []string{forwardKey(id)})
	if err != nil {
		return nil, err
	}
	if values[0] != nil {
		return readForward(values[0]), nil
	}
	known, err := t.lookup(ctx, []bloodbank.EventID{id})
	if err == nil && len(known) == 0 {
		err = bloodbank.Errorf(bloodbank.CodeNotFound, "no event %s is known", id)
	}
	return known[id].Parents, err
}

// Metadata returns what was said about the link of id to its parents, a JSON
// object, or an error with CodeNotFound.
func (t *Tracker) Metadata(ctx context.Context, id bloodbank.EventID) (json.RawMessage, error) {
	values, err := t.get(ctx, []string{forwardKey(id)})
	if err != nil {
		return nil, err
	}
	var object struct {
		Metadata json.RawMessage `json:"metadata"`
	}
	if json.Unmarshal(values[0], &object) != nil || len(object.Metadata) == 0 {
		return nil, bloodbank.Errorf(bloodbank.CodeNotFound, "nothing is known about the causes of event %s", id)
	}
	return object.Metadata, nil
}

// Children implements [correlation.Tracker]. Without [Options.Lookup] the age of
// an event is taken from its id.
func (t *Tracker) Children(ctx context.Context, id bloodbank.EventID) ([]bloodbank.EventID, error) {
	children, err := (&graph{t: t}).Effects(ctx, []bloodbank.EventID{id}, maxChildren)
	if err != nil {
		return nil, err
	}
	if len(children) == 0 {
		_, err := t.Parents(ctx, id)
		if bloodbank.CodeOf(err) == bloodbank.CodeNotFound {
			err = notFound(id)
		}
		return nil, err
	}
	if _, err := t.detail(ctx, children); err != nil {
		return nil, err
	}
	slices.SortFunc(children, func(a, b correlation.Node) int {
		return cmp.Or(a.Timestamp.Compare(b.Timestamp), bytes.Compare(a.ID[:], b.ID[:]))
	})
	ids := make([]bloodbank.EventID, len(children))
	for i, c := range children {
		ids[i] = c.ID
	}
	return ids, nil
}

// maxChildren bounds Children, whose contract has no limit: more do not fit into
// an answer.
const maxChildren = 1_000_000

// Chain implements [correlation.Tracker]: a few thousand nodes take one round
// trip for each thousand; beyond, it is a few for each level. Truncated is true,
// too, where the store knows of causes whose links Redis has lost: then a
// rebuild helps.
func (t *Tracker) Chain(ctx context.Context, id bloodbank.EventID, d correlation.Direction, l correlation.Limits) (correlation.Chain, error) {
	l = l.WithDefaults()
	chain, err := correlation.Gather(ctx, &graph{t: t, limits: l}, id, d, l)
	if bloodbank.CodeOf(err) == bloodbank.CodeNotFound {
		return t.alone(ctx, id, d, err)
	}
	if err != nil {
		return correlation.Chain{}, err
	}
	missing, err := t.detail(ctx, chain.Nodes)
	if err != nil {
		return correlation.Chain{}, err
	}
	chain.Lost, chain.Truncated = missing, chain.Truncated || missing && d == correlation.Ancestors
	chain.Cyclic = correlation.Sort(chain.Nodes)
	return chain, nil
}

// alone is the chain of an event without links, if the store knows it.
func (t *Tracker) alone(ctx context.Context, id bloodbank.EventID, d correlation.Direction, unknown error) (correlation.Chain, error) {
	known, err := t.lookup(ctx, []bloodbank.EventID{id})
	if err == nil && len(known) == 0 {
		err = unknown
	}
	if err != nil {
		return correlation.Chain{}, err
	}
	n := known[id]
	lost := len(n.Parents) > 0
	return correlation.Chain{Start: id, Direction: d, Nodes: []correlation.Node{n}, Truncated: lost && d == correlation.Ancestors, Lost: lost}, nil
}

func (t *Tracker) lookup(ctx context.Context, ids []bloodbank.EventID) (map[bloodbank.EventID]correlation.Node, error) {
	if t.o.Lookup == nil {
		return nil, nil
	}
	nodes, err := t.o.Lookup(ctx, ids)
	known := make(map[bloodbank.EventID]correlation.Node, len(nodes))
	for _, n := range nodes {
		n.Known, n.Depth = true, 0
		known[n.ID] = n
	}
	return known, err
}

// detail adds what the store knows. The edges stay those of Redis, where it has
// any; missing says that the store knows of edges that Redis has lost.
func (t *Tracker) detail(ctx context.Context, nodes []correlation.Node) (missing bool, err error) {
	if t.o.Lookup == nil {
		return false, nil
	}
	ids := make([]bloodbank.EventID, len(nodes))
	for i, n := range nodes {
		ids[i] = n.ID
	}
	known, err := t.lookup(ctx, ids)
	for i := range nodes {
		n := &nodes[i]
		k, ok := known[n.ID]
		if !ok {
			continue
		}
		if !n.Known {
			n.Known, n.Parents = true, k.Parents
			missing = missing || len(k.Parents) > 0
		}
		n.Type, n.Timestamp, n.App = k.Type, k.Timestamp, k.App
	}
	return missing, err
}

// prune takes children out of the set of their parent that do not name it any
// more: sets whose members expire one by one would grow for ever. It is done on
// the way, so a failure does not matter.
func (t *Tracker) prune(ctx context.Context, parent bloodbank.EventID, children []string) {
	args := make([]any, 0, len(children)+1)
	args = append(args, parent.String())
	for _, c := range children[:min(len(children), 1000)] {
		args = append(args, c)
	}
	_ = t.do(ctx, func(ctx context.Context, c *goredis.Client) error {
		err := t.scripts.prune.Run(ctx, c, []string{reverseKey(parent)}, args...).Err()
		if errors.Is(err, goredis.Nil) {
			return nil
		}
		return err
	})
}
