package correlationtest

import (
	"bytes"
	"slices"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
)

func testDeepLine(_ *testing.T, k *kit) {
	l := k.line(1000)
	if c := k.want(l[999], up, upTo(1000), l...); c.Truncated || nodeOf(c, l[0]).Depth != 999 {
		k.Fatalf("truncated %t, depth %d", c.Truncated, nodeOf(c, l[0]).Depth)
	}
	if c := k.want(l[0], down, upTo(1000), l...); c.Truncated {
		k.Fatal("nothing was cut")
	}
}

// Longer than anything that is fetched at once.
func testVeryDeepLine(_ *testing.T, k *kit) {
	l := k.line(4500)
	k.want(l[4499], up, upTo(10_000), l...)
	k.want(l[0], down, upTo(10_000), l...)
	if c := k.want(l[0], down, upTo(4200), l[:4200]...); !c.Truncated {
		k.Fatal("cut, but it does not say so")
	}
	if c := k.want(l[4499], up, upTo(4200), l[300:]...); !c.Truncated {
		k.Fatal("cut, but it does not say so")
	}
}

// tree adds a binary tree; ids[i] is the parent of 2i+1 and 2i+2.
func (k *kit) tree(n int) []bloodbank.EventID {
	var events []bloodbank.Envelope
	for i := range n {
		var parents []bloodbank.EventID
		if i > 0 {
			parents = ids(events[(i-1)/2].EventID)
		}
		events = append(events, k.event(parents...))
	}
	k.add(events...)
	all := make([]bloodbank.EventID, n)
	for i, e := range events {
		all[i] = e.EventID
	}
	return all
}

func testTree(_ *testing.T, k *kit) {
	all := k.tree(1023)
	c := k.chain(all[0], down, none())
	if len(c.Nodes) != 1023 || c.Truncated || nodeOf(c, all[1022]).Depth != 9 {
		k.Fatalf("%d nodes, truncated %t", len(c.Nodes), c.Truncated)
	}
	k.topological(c)
	if !k.NoDetails {
		k.same(idsOf(c), all)
	}
	if c := k.chain(all[1022], up, none()); len(c.Nodes) != 10 {
		k.Fatalf("%d nodes", len(c.Nodes))
	}
}

// Twenty layers of twenty, each joined to all of the layer before: 20^20 ways,
// 400 nodes. A walk along all ways does not end.
func testLayers(_ *testing.T, k *kit) {
	var events []bloodbank.Envelope
	var above []bloodbank.EventID
	for range 20 {
		var layer []bloodbank.EventID
		for range 20 {
			e := k.event(above...)
			events, layer = append(events, e), append(layer, e.EventID)
		}
		above = layer
	}
	k.add(events...)
	c := k.chain(above[0], up, none())
	if len(c.Nodes) != 381 || c.Truncated {
		k.Fatalf("%d nodes, truncated %t", len(c.Nodes), c.Truncated)
	}
	k.topological(c)
	c = k.chain(events[0].EventID, down, none())
	if len(c.Nodes) != 381 || c.Truncated {
		k.Fatalf("%d nodes, truncated %t", len(c.Nodes), c.Truncated)
	}
	k.topological(c)
}

// topological fails unless every node comes after its parents.
func (k *kit) topological(c correlation.Chain) {
	k.Helper()
	place := map[bloodbank.EventID]int{}
	for i, n := range c.Nodes {
		if _, twice := place[n.ID]; twice {
			k.Fatalf("%s is there twice", n.ID)
		}
		place[n.ID] = i
	}
	for i, n := range c.Nodes {
		for _, p := range n.Parents {
			if j, ok := place[p]; ok && j >= i {
				k.Fatalf("effect %s at %d, before its cause %s at %d", n.ID, i, p, j)
			}
		}
	}
}

func sortIDs(l []bloodbank.EventID) {
	slices.SortFunc(l, func(a, b bloodbank.EventID) int { return bytes.Compare(a[:], b[:]) })
}
