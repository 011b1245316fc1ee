// Package correlationtest is the suite that every correlation.Tracker passes.
//
// It knows trackers by their contract alone: how events get into one is the
// caller's business.
package correlationtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
)

// Subject is a tracker under test.
type Subject struct {
	Tracker correlation.Tracker
	// Add makes events known, in one go and in this order.
	Add func(ctx context.Context, events ...bloodbank.Envelope) error
	// NoDetails says that the tracker keeps only edges: no type, timestamp or
	// app, and it does not know an event without parents. Tests of that are
	// skipped, and say so.
	NoDetails bool
}

// Run runs the suite. open returns a tracker that nobody else uses; it may be
// the same one each time, because all ids are fresh.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	t.Helper()
	cases := []struct {
		name string
		test func(t *testing.T, k *kit)
	}{
		{"parents, in their order", testParents},
		{"children, oldest first", testChildren},
		{"a line", testLine},
		{"branches", testBranches},
		{"a diamond", testDiamond},
		{"a cycle", testCycle},
		{"an event that names itself", testSelfLoop},
		{"a cycle within a chain", testCycleInside},
		{"parents that nobody knows", testGhosts},
		{"a parent that arrives late", testLateParent},
		{"max depth", testMaxDepth},
		{"max nodes", testMaxNodes},
		{"a hot parent", testHotParent},
		{"the shorter way counts", testShorterWay},
		{"unknown ids", testUnknown},
		{"a direction that is none", testBadDirection},
		{"the same event twice", testIdempotent},
		{"ten children at once", testConcurrent},
		{"details of a node", testDetails},
		{"a line of 1,000", testDeepLine},
		{"a line of 4,500", testVeryDeepLine},
		{"a tree of 1,023", testTree},
		{"a wide layered graph", testLayers},
		{"random graphs against a model", testRandom},
		{"a context that is cancelled", testCancelled},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, &kit{T: t, Subject: open(t)})
		})
	}
}

// kit is a tracker with shorthands that end the test on an error.
type kit struct {
	*testing.T
	Subject
	made int
}

// start is when the events of a test begin; each is a second after the last.
func start() time.Time { return time.Date(2026, 1, 27, 10, 0, 0, 0, time.UTC) }

// Event makes an event with these parents, not added yet, one second younger
// than the one made before.
func (k *kit) event(parents ...bloodbank.EventID) bloodbank.Envelope {
	k.Helper()
	id, err := bloodbank.NewEventID()
	if err != nil {
		k.Fatal(err)
	}
	k.made++
	return bloodbank.Envelope{
		EventID: id, EventType: "test.event.made", Timestamp: start().Add(time.Duration(k.made) * time.Second),
		Version: bloodbank.Version, Source: bloodbank.Source{Host: "box", Type: bloodbank.SourceManual, App: "suite"},
		CorrelationIDs: parents, Payload: fmt.Appendf(nil, `{"n":%d}`, k.made),
	}
}

func (k *kit) add(events ...bloodbank.Envelope) {
	k.Helper()
	for len(events) > 0 {
		n := min(len(events), 500)
		if err := k.Add(k.Context(), events[:n]...); err != nil {
			k.Fatalf("add: %v", err)
		}
		events = events[n:]
	}
}

// new makes an event and adds it.
func (k *kit) new(parents ...bloodbank.EventID) bloodbank.EventID {
	k.Helper()
	e := k.event(parents...)
	k.add(e)
	return e.EventID
}

// line adds n events, each the parent of the next.
func (k *kit) line(n int) []bloodbank.EventID {
	k.Helper()
	var ids []bloodbank.EventID
	var events []bloodbank.Envelope
	for i := range n {
		var parents []bloodbank.EventID
		if i > 0 {
			parents = ids[i-1:]
		}
		e := k.event(parents...)
		ids, events = append(ids, e.EventID), append(events, e)
	}
	k.add(events...)
	return ids
}

func (k *kit) chain(id bloodbank.EventID, d correlation.Direction, l correlation.Limits) correlation.Chain {
	k.Helper()
	c, err := k.Tracker.Chain(k.Context(), id, d, l)
	if err != nil {
		k.Fatalf("chain: %v", err)
	}
	if c.Start != id || c.Direction != d {
		k.Fatalf("the answer is about %s, %s", c.Start, c.Direction)
	}
	return c
}

// want asks for a chain and compares its ids, in order.
func (k *kit) want(id bloodbank.EventID, d correlation.Direction, l correlation.Limits, ids ...bloodbank.EventID) correlation.Chain {
	k.Helper()
	c := k.chain(id, d, l)
	k.same(idsOf(c), ids)
	return c
}

func (k *kit) same(got, want []bloodbank.EventID) {
	k.Helper()
	ok := len(got) == len(want)
	for i := 0; ok && i < len(got); i++ {
		ok = got[i] == want[i]
	}
	if !ok {
		k.Fatalf("got %d ids, want %d:\n got %v\nwant %v", len(got), len(want), short(got), short(want))
	}
}

func short(ids []bloodbank.EventID) []bloodbank.EventID { return ids[:min(len(ids), 12)] }

func (k *kit) code(err error, want bloodbank.Code) {
	k.Helper()
	if got := bloodbank.CodeOf(err); got != want {
		k.Fatalf("got %q (%v), want an error with code %q", got, err, want)
	}
}

func idsOf(c correlation.Chain) []bloodbank.EventID {
	ids := make([]bloodbank.EventID, len(c.Nodes))
	for i, n := range c.Nodes {
		ids[i] = n.ID
	}
	return ids
}

func nodeOf(c correlation.Chain, id bloodbank.EventID) (n correlation.Node) {
	for _, n := range c.Nodes {
		if n.ID == id {
			return n
		}
	}
	return n
}
