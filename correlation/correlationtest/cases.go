package correlationtest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
)

// Shorthands: ancestors and descendants, and the default limits.
const (
	up   = correlation.Ancestors
	down = correlation.Descendants
)

func none() correlation.Limits       { return correlation.Limits{} }
func depth(n int) correlation.Limits { return correlation.Limits{MaxDepth: n} }
func upTo(nodes int) correlation.Limits {
	return correlation.Limits{MaxDepth: 100_000, MaxNodes: nodes}
}
func ids(l ...bloodbank.EventID) []bloodbank.EventID { return l }

func testParents(t *testing.T, k *kit) {
	a, b, c := k.new(), k.new(), k.new()
	for _, parents := range [][]bloodbank.EventID{ids(a), ids(c, a, b), ids(b, c)} {
		got, err := k.Tracker.Parents(t.Context(), k.new(parents...))
		k.code(err, "")
		k.same(got, parents)
	}
	if k.NoDetails {
		t.Skip("SKIPPED in part: this tracker does not know events without parents")
	}
	got, err := k.Tracker.Parents(t.Context(), a)
	k.code(err, "")
	k.same(got, nil)
}

func testChildren(t *testing.T, k *kit) {
	root := k.new()
	first := k.event(root)
	second := k.event(root, first.EventID)
	third := k.event(root)
	k.add(third, first) // the order of arrival does not matter
	k.add(second)
	got, err := k.Tracker.Children(t.Context(), root)
	k.code(err, "")
	want := ids(first.EventID, second.EventID, third.EventID)
	if k.NoDetails {
		sortIDs(got)
		sortIDs(want)
	}
	k.same(got, want)
	got, err = k.Tracker.Children(t.Context(), second.EventID)
	k.code(err, "")
	k.same(got, nil)
}

func testLine(_ *testing.T, k *kit) {
	l := k.line(4)
	k.want(l[2], up, none(), l[0], l[1], l[2])
	k.want(l[1], down, none(), l[1], l[2], l[3])
	c := k.want(l[3], up, none(), l...)
	for i, n := range c.Nodes {
		if n.Depth != 3-i || n.Known && n.ID != l[i] || c.Truncated || c.Cyclic {
			k.Fatalf("node %d is %+v", i, n)
		}
	}
	k.want(l[3], down, none(), l[3])
	if !k.NoDetails {
		k.want(l[0], up, none(), l[0])
	}
}

func testBranches(_ *testing.T, k *kit) {
	root := k.new()
	a, b := k.new(root), k.new(root)
	a1, a2, b1 := k.new(a), k.new(a), k.new(b)
	if c := k.chain(root, down, none()); len(c.Nodes) != 6 {
		k.Fatalf("%d nodes", len(c.Nodes))
	}
	k.want(b1, up, none(), root, b, b1)
	k.want(a2, up, none(), root, a, a2)
	if c := k.chain(a, down, none()); len(c.Nodes) != 3 || nodeOf(c, a1).Depth != 1 {
		k.Fatalf("%+v", c)
	}
}

// The order of a diamond is where a walk that is not topological goes wrong:
// the long arm must come before the joint.
func testDiamond(_ *testing.T, k *kit) {
	root := k.new()
	l := k.new(root)
	r1 := k.new(root)
	r2 := k.new(r1)
	joint := k.new(l, r2)
	end := k.new(joint, root)
	if k.NoDetails {
		k.topological(k.chain(root, down, none()))
		k.topological(k.chain(end, up, none()))
		return
	}
	k.want(root, down, none(), root, l, r1, r2, joint, end)
	c := k.want(end, up, none(), root, l, r1, r2, joint, end)
	if d := nodeOf(c, root).Depth; d != 1 {
		k.Fatalf("the root is %d away, want 1", d)
	}
}

func testCycle(_ *testing.T, k *kit) {
	a, b := k.event(), k.event()
	a.CorrelationIDs, b.CorrelationIDs = ids(b.EventID), ids(a.EventID)
	k.add(a, b)
	for _, d := range []correlation.Direction{up, down} {
		if c := k.want(a.EventID, d, none(), a.EventID, b.EventID); !c.Cyclic || c.Truncated {
			k.Fatalf("%+v", c)
		}
		k.want(b.EventID, d, none(), b.EventID, a.EventID)
	}
}

// The envelope refuses this; a row from elsewhere may hold it all the same.
func testSelfLoop(_ *testing.T, k *kit) {
	e := k.event()
	e.CorrelationIDs = ids(e.EventID)
	if k.Add(k.Context(), e) != nil {
		return // refusing it is as good
	}
	for _, d := range []correlation.Direction{up, down} {
		if c := k.want(e.EventID, d, none(), e.EventID); !c.Cyclic {
			k.Fatalf("%+v", c)
		}
	}
}

func testCycleInside(_ *testing.T, k *kit) {
	root := k.new()
	a, b := k.event(root), k.event()
	a.CorrelationIDs = append(a.CorrelationIDs, b.EventID)
	b.CorrelationIDs = ids(a.EventID)
	k.add(a, b)
	end := k.new(b.EventID)
	if c := k.want(root, down, none(), root, a.EventID, b.EventID, end); !c.Cyclic {
		k.Fatalf("%+v", c)
	}
	if c := k.want(end, up, none(), root, b.EventID, a.EventID, end); !c.Cyclic {
		k.Fatalf("%+v", c)
	}
}

func testGhosts(t *testing.T, k *kit) {
	ghost, other := k.event().EventID, k.event().EventID
	a := k.new(ghost, other)
	b := k.new(ghost)
	c := k.chain(a, up, none())
	if len(c.Nodes) != 3 || c.Nodes[2].ID != a || nodeOf(c, ghost).Known || !nodeOf(c, a).Known {
		k.Fatalf("%+v", c)
	}
	if n := nodeOf(c, ghost); n.Type != "" || n.App != "" || !n.Timestamp.IsZero() || len(n.Parents) != 0 || n.Depth != 1 {
		k.Fatalf("nothing is known of a ghost, but: %+v", n)
	}
	if k.NoDetails {
		k.topological(k.chain(ghost, down, none()))
	} else {
		k.want(ghost, down, none(), ghost, a, b)
	}
	k.want(ghost, up, none(), ghost)
	got, err := k.Tracker.Children(t.Context(), other)
	k.code(err, "")
	k.same(got, ids(a))
	_, err = k.Tracker.Parents(t.Context(), ghost)
	k.code(err, bloodbank.CodeNotFound)
}

func testLateParent(_ *testing.T, k *kit) {
	root := k.event()
	parent := k.event(root.EventID)
	child := k.new(parent.EventID)
	k.want(child, up, none(), parent.EventID, child)
	k.add(parent)
	k.want(child, up, none(), root.EventID, parent.EventID, child)
	k.add(root)
	c := k.want(root.EventID, down, none(), root.EventID, parent.EventID, child)
	if !k.NoDetails && !nodeOf(c, root.EventID).Known {
		k.Fatalf("%+v", c)
	}
	k.want(child, up, none(), root.EventID, parent.EventID, child)
}

func testMaxDepth(_ *testing.T, k *kit) {
	l := k.line(10)
	if c := k.want(l[9], up, depth(5), l[5:]...); !c.Truncated {
		k.Fatal("cut, but it does not say so")
	}
	if c := k.want(l[0], down, depth(5), l[:5]...); !c.Truncated {
		k.Fatal("cut, but it does not say so")
	}
	if c := k.want(l[0], down, depth(10), l...); c.Truncated {
		k.Fatal("ten levels are all there is")
	}
	if c := k.want(l[3], up, depth(1), l[3]); !c.Truncated {
		k.Fatal("cut, but it does not say so")
	}
	if c := k.want(l[9], down, depth(1), l[9]); c.Truncated {
		k.Fatal("a leaf has nothing to cut")
	}
	long := k.line(101)
	if c := k.chain(long[100], up, none()); len(c.Nodes) != correlation.DefaultMaxDepth || !c.Truncated {
		k.Fatalf("%d nodes, truncated %t, with the default depth", len(c.Nodes), c.Truncated)
	}
}

func testMaxNodes(_ *testing.T, k *kit) {
	root := k.new()
	near := []bloodbank.EventID{k.new(root), k.new(root), k.new(root)}
	far := k.new(near...)
	for nodes, truncated := range map[int]bool{1: true, 2: true, 4: true, 5: false, 6: false} {
		c := k.chain(root, down, upTo(nodes))
		if len(c.Nodes) != min(nodes, 5) || c.Truncated != truncated {
			k.Fatalf("%d nodes asked, %d got, truncated %t", nodes, len(c.Nodes), c.Truncated)
		}
		c = k.chain(far, up, upTo(nodes))
		if len(c.Nodes) != min(nodes, 5) || c.Truncated != truncated || nodeOf(c, far).ID != far {
			k.Fatalf("%d nodes asked, %d got, truncated %t", nodes, len(c.Nodes), c.Truncated)
		}
	}
	if c := k.chain(root, down, upTo(4)); nodeOf(c, far).ID == far {
		k.Fatal("the nearest nodes must stay")
	}
}

func testHotParent(_ *testing.T, k *kit) {
	hot := k.new()
	var events []bloodbank.Envelope
	for range 3000 {
		events = append(events, k.event(hot))
	}
	k.add(events...)
	if c := k.chain(hot, down, upTo(100)); len(c.Nodes) != 100 || !c.Truncated {
		k.Fatalf("%d nodes, truncated %t", len(c.Nodes), c.Truncated)
	}
	if c := k.chain(hot, down, upTo(3001)); len(c.Nodes) != 3001 || c.Truncated {
		k.Fatalf("%d nodes, truncated %t", len(c.Nodes), c.Truncated)
	}
}

// A walk in depth first with a depth limit reaches "far" by the long way, finds
// no depth left, and never looks at what lies behind it.
func testShorterWay(_ *testing.T, k *kit) {
	root := k.new()
	long := k.new(k.new(k.new(root)))
	far := k.new(long, root)
	behind := k.new(far)
	c := k.chain(root, down, depth(3))
	if nodeOf(c, behind).Depth != 2 || nodeOf(c, far).Depth != 1 || len(c.Nodes) != 5 || !c.Truncated {
		k.Fatalf("%+v", c)
	}
	c = k.chain(behind, up, depth(3))
	if nodeOf(c, root).Depth != 2 || nodeOf(c, long).Depth != 2 || len(c.Nodes) != 4 || !c.Truncated {
		k.Fatalf("%+v", c)
	}
}

func testUnknown(t *testing.T, k *kit) {
	id := k.event().EventID
	_, err := k.Tracker.Parents(t.Context(), id)
	k.code(err, bloodbank.CodeNotFound)
	_, err = k.Tracker.Children(t.Context(), id)
	k.code(err, bloodbank.CodeNotFound)
	for _, d := range []correlation.Direction{up, down} {
		_, err = k.Tracker.Chain(t.Context(), id, d, none())
		k.code(err, bloodbank.CodeNotFound)
	}
}

func testBadDirection(t *testing.T, k *kit) {
	_, err := k.Tracker.Chain(t.Context(), k.new(k.new()), "sideways", none())
	k.code(err, bloodbank.CodeInvalid)
}

func testIdempotent(_ *testing.T, k *kit) {
	root := k.new()
	e := k.event(root, root)
	k.add(e)
	k.add(e)
	k.want(root, down, none(), root, e.EventID)
	got, err := k.Tracker.Children(k.Context(), root)
	k.code(err, "")
	k.same(got, ids(e.EventID))
}

func testConcurrent(t *testing.T, k *kit) {
	root := k.new()
	events := make([]bloodbank.Envelope, 10)
	for i := range events {
		events[i] = k.event(root)
	}
	errs := make([]error, len(events))
	var wg sync.WaitGroup
	for i := range events {
		wg.Go(func() { errs[i] = k.Add(t.Context(), events[i]) })
	}
	wg.Wait()
	k.code(errors.Join(errs...), "")
	got, err := k.Tracker.Children(t.Context(), root)
	k.code(err, "")
	if len(got) != 10 {
		k.Fatalf("%d children, want 10", len(got))
	}
}

func testDetails(t *testing.T, k *kit) {
	if k.NoDetails {
		t.Skip("SKIPPED: this tracker keeps edges only")
	}
	a := k.new()
	e := k.event(a)
	e.EventType, e.Source.App = "agent.tool.called", "claude"
	k.add(e)
	n := nodeOf(k.chain(a, down, none()), e.EventID)
	if !n.Known || n.Type != e.EventType || n.App != "claude" || !n.Timestamp.Equal(e.Timestamp) || !slices.Equal(n.Parents, ids(a)) {
		k.Fatalf("%+v", n)
	}
}

func testCancelled(t *testing.T, k *kit) {
	id := k.new(k.new())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Tracker.Chain(ctx, id, up, none()); !errors.Is(err, context.Canceled) {
		k.Fatalf("got %v, want context.Canceled", err)
	}
	k.chain(id, up, none())
}
