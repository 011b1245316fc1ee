package correlation

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/33god/bloodbank"
)

// TestSortLaw compares with the law taken at its word: of the nodes whose
// parents all stand already, the earliest comes next.
func TestSortLaw(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "nodes")
		id := func(i int) bloodbank.EventID { return bloodbank.EventID{7: byte(i % 3), 15: byte(i)} }
		nodes := make([]Node, n)
		for i := range nodes {
			nodes[i] = Node{ID: id(i), Timestamp: time.Unix(int64(rapid.IntRange(-1, 1).Draw(t, "second")), int64(rapid.IntRange(0, 1).Draw(t, "nanosecond")))}
			for range min(i, rapid.IntRange(0, 3).Draw(t, "parents")) {
				nodes[i].Parents = append(nodes[i].Parents, id(rapid.IntRange(0, i-1).Draw(t, "parent")))
			}
		}
		nodes = rapid.Permutation(nodes).Draw(t, "order")
		want := naive(slices.Clone(nodes))
		if Sort(nodes) || !reflect.DeepEqual(nodes, want) {
			t.Fatalf("got  %v\nwant %v", nodes, want)
		}
	})
}

func naive(left []Node) []Node {
	sorted := make([]Node, 0, len(left))
	slices.SortFunc(left, compareNodes)
	for len(left) > 0 {
		free := slices.IndexFunc(left, func(n Node) bool {
			return !slices.ContainsFunc(left, func(o Node) bool { return slices.Contains(n.Parents, o.ID) })
		})
		sorted = append(sorted, left[free])
		left = slices.Delete(left, free, free+1)
	}
	return sorted
}

// BenchmarkSort sorts a binary tree, whose leaves are all free at the end.
func BenchmarkSort(b *testing.B) {
	for _, n := range []int{1023, 8191} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			nodes := make([]Node, n)
			for i := range nodes {
				nodes[i] = Node{ID: bloodbank.EventID{1: byte(i), 9: byte(i >> 8), 15: byte(i)}}
				if i > 0 {
					nodes[i].Parents = []bloodbank.EventID{nodes[(i-1)/2].ID}
				}
			}
			work := make([]Node, n)
			for b.Loop() {
				copy(work, nodes)
				if Sort(work) {
					b.Fatal("a tree has no cycle")
				}
			}
		})
	}
}
