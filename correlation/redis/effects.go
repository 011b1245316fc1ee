package redis

import (
	"context"
	"slices"

	goredis "github.com/redis/go-redis/v9"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
)

// Effects implements [correlation.Graph].
func (g *graph) Effects(ctx context.Context, ids []bloodbank.EventID, limit int) ([]correlation.Node, error) {
	e := &effects{graph: g, limit: limit, seen: map[bloodbank.EventID]bool{}}
	for chunk := range slices.Chunk(ids, keysPerCall) {
		if err := e.of(ctx, chunk); err != nil || e.full() {
			return e.nodes, err
		}
	}
	return e.nodes, nil
}

// effects gathers children of many parents, up to a limit.
type effects struct {
	*graph
	limit int
	seen  map[bloodbank.EventID]bool
	nodes []correlation.Node
}

func (e *effects) full() bool { return len(e.nodes) >= e.limit }

// of reads the sets of parents: small ones whole and many in a round trip, large
// ones piece by piece, until the limit is reached.
func (e *effects) of(ctx context.Context, parents []bloodbank.EventID) error {
	sizes, err := e.sizes(ctx, parents)
	if err != nil {
		return err
	}
	for len(parents) > 0 && !e.full() {
		n, total := 0, 0
		for n < len(parents) && total+sizes[n] <= nodesPerCall {
			total += sizes[n]
			n++
		}
		if n == 0 {
			err = e.large(ctx, parents[0])
			n = 1
		} else {
			err = e.small(ctx, parents[:n])
		}
		if err != nil {
			return err
		}
		parents, sizes = parents[n:], sizes[n:]
	}
	return nil
}

func (e *effects) sizes(ctx context.Context, parents []bloodbank.EventID) ([]int, error) {
	sizes := make([]int, len(parents))
	err := e.t.do(ctx, func(ctx context.Context, c *goredis.Client) error {
		replies, err := c.Pipelined(ctx, func(p goredis.Pipeliner) error {
			for _, id := range parents {
				p.SCard(ctx, reverseKey(id))
			}
			return nil
		})
		for i, r := range replies {
			if cmd, ok := r.(*goredis.IntCmd); ok {
				sizes[i] = int(cmd.Val())
			}
		}
		return withoutWrongType(err)
	})
	return sizes, err
}

func (e *effects) small(ctx context.Context, parents []bloodbank.EventID) error {
	members := make([][]string, len(parents))
	err := e.t.do(ctx, func(ctx context.Context, c *goredis.Client) error {
		replies, err := c.Pipelined(ctx, func(p goredis.Pipeliner) error {
			for _, id := range parents {
				p.SMembers(ctx, reverseKey(id))
			}
			return nil
		})
		for i, r := range replies {
			if cmd, ok := r.(*goredis.StringSliceCmd); ok {
				members[i] = cmd.Val()
			}
		}
		return withoutWrongType(err)
	})
	if err != nil {
		return err
	}
	return e.keep(ctx, parents, members)
}

func (e *effects) large(ctx context.Context, parent bloodbank.EventID) error {
	for cursor := uint64(0); !e.full(); {
		var members []string
		err := e.t.do(ctx, func(ctx context.Context, c *goredis.Client) error {
			var err error
			members, cursor, err = c.SScan(ctx, reverseKey(parent), cursor, "", nodesPerCall).Result()
			return err
		})
		if err != nil {
			return err
		}
		if err := e.keep(ctx, []bloodbank.EventID{parent}, [][]string{members}); err != nil {
			return err
		}
		if cursor == 0 {
			return nil
		}
	}
	return nil
}

// keep looks the members up, keeps those that name their parent, and has the
// others removed from its set.
func (e *effects) keep(ctx context.Context, parents []bloodbank.EventID, members [][]string) error {
	var ids []bloodbank.EventID
	for _, m := range slices.Concat(members...) {
		if id, err := bloodbank.ParseEventID(m); err == nil {
			ids = append(ids, id)
		}
	}
	nodes, err := e.Lookup(ctx, ids)
	if err != nil {
		return err
	}
	byID := make(map[bloodbank.EventID]correlation.Node, len(nodes))
	for _, n := range nodes {
		byID[n.ID] = n
	}
	for i, parent := range parents {
		var stale []string
		for _, m := range members[i] {
			id, err := bloodbank.ParseEventID(m)
			n, known := byID[id]
			switch {
			case err != nil:
			case !known || !slices.Contains(n.Parents, parent):
				stale = append(stale, m)
			case !e.seen[id] && !e.full():
				e.seen[id] = true
				e.nodes = append(e.nodes, n)
			}
		}
		if len(stale) > 0 {
			e.t.prune(ctx, parent, stale)
		}
	}
	return nil
}

// withoutWrongType takes away the error of a key that holds something else than
// a set: it has no children, and the others in the pipeline do.
func withoutWrongType(err error) error {
	if wrongType(err) {
		return nil
	}
	return err
}
