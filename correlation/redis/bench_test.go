package redis

import (
	"context"
	"slices"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/internal/testenv"
)

// BenchmarkChain compares a chain with the original's way, one round trip for
// each node, in turn and on the same keys; all figures are medians. x_faster
// should be at least 5 on a quiet machine. Where others compute at the same time
// the round trips were measured to take less time and the script more; downwards
// it was then 4.
func BenchmarkChain(b *testing.B) {
	server := testenv.Redis(b)
	tracker := openTest(b, Options{Addr: server.Addr()})
	c := plain(b, server.Addr())
	deep, deepLinks := line(b, 1000)
	wide, wideLinks := tree(b, 1023)
	if err := tracker.Add(b.Context(), append(deepLinks, wideLinks...)...); err != nil {
		b.Fatal(err)
	}
	for _, q := range []struct {
		name  string
		from  bloodbank.EventID
		d     correlation.Direction
		nodes int
	}{
		{"line_up", deep[999], correlation.Ancestors, 1000},
		{"line_down", deep[0], correlation.Descendants, 1000},
		{"tree_down", wide[0], correlation.Descendants, 1023},
	} {
		b.Run(q.name, func(b *testing.B) {
			var ours, theirs []time.Duration
			for b.Loop() {
				began := time.Now()
				chain, err := tracker.Chain(b.Context(), q.from, q.d, correlation.Limits{MaxDepth: 10_000})
				if err != nil || len(chain.Nodes) != q.nodes {
					b.Fatalf("%d nodes, %v", len(chain.Nodes), err)
				}
				ours = append(ours, time.Since(began))
				began = time.Now()
				if n, err := onePerNode(b.Context(), c, q.from, q.d); err != nil || n != q.nodes {
					b.Fatalf("%d nodes, %v", n, err)
				}
				theirs = append(theirs, time.Since(began))
			}
			b.ReportMetric(float64(median(ours).Microseconds()), "µs/chain")
			b.ReportMetric(float64(median(theirs).Microseconds()), "µs/one_per_node")
			b.ReportMetric(float64(median(theirs))/float64(median(ours)), "x_faster")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// onePerNode visits a graph as the original does, but for its recursion.
func onePerNode(ctx context.Context, c *goredis.Client, from bloodbank.EventID, d correlation.Direction) (int, error) {
	seen := map[bloodbank.EventID]bool{from: true}
	for stack := []bloodbank.EventID{from}; len(stack) > 0; {
		id := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		var next []bloodbank.EventID
		if d == correlation.Ancestors {
			value, err := c.Get(ctx, forwardKey(id)).Result()
			if err != nil && err != goredis.Nil {
				return 0, err
			}
			next = readForward([]byte(value))
		} else {
			members, err := c.SMembers(ctx, reverseKey(id)).Result()
			if err != nil {
				return 0, err
			}
			for _, m := range members {
				next = appendID(next, m)
			}
		}
		for _, n := range next {
			if !seen[n] {
				seen[n] = true
				stack = append(stack, n)
			}
		}
	}
	return len(seen), nil
}

// BenchmarkAdd writes links in batches, as the recorder does.
func BenchmarkAdd(b *testing.B) {
	tracker := openTest(b, Options{Addr: testenv.Redis(b).Addr()})
	for b.Loop() {
		b.StopTimer()
		_, links := line(b, 501)
		b.StartTimer()
		if err := tracker.Add(b.Context(), links...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "links/s")
}
