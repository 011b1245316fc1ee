package correlationtest

import (
	"bytes"
	"cmp"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
)

// testRandom compares answers with a model that is slow and plain.
func testRandom(_ *testing.T, k *kit) {
	rapid.Check(k, func(t *rapid.T) {
		m := &model{details: !k.NoDetails, events: map[bloodbank.EventID]bloodbank.Envelope{}}
		events := drawGraph(t, k)
		for _, e := range events {
			if len(e.CorrelationIDs) > 0 || m.details {
				m.events[e.EventID] = e
			}
			m.all = append(m.all, e.EventID)
		}
		known := events[:rapid.IntRange(1, len(events)).Draw(t, "known")]
		for _, e := range events[len(known):] {
			delete(m.events, e.EventID)
		}
		k.add(known...)
		for range 4 {
			id := rapid.SampledFrom(m.all).Draw(t, "id")
			d := rapid.SampledFrom([]correlation.Direction{up, down}).Draw(t, "direction")
			l := correlation.Limits{MaxDepth: rapid.SampledFrom([]int{0, 1, 2, 3, 50}).Draw(t, "depth")}
			got, err := k.Tracker.Chain(k.Context(), id, d, l)
			want, exists := m.chain(id, d, l.WithDefaults().MaxDepth)
			if !exists {
				if bloodbank.CodeOf(err) != bloodbank.CodeNotFound {
					t.Fatalf("%s is unknown, but: %v", id, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			m.compare(t, got, want)
		}
	})
}

// drawGraph makes up to 24 events with up to three parents each, mostly older
// ones, now and then younger ones, which makes cycles.
func drawGraph(t *rapid.T, k *kit) []bloodbank.Envelope {
	n := rapid.IntRange(1, 24).Draw(t, "events")
	cycles := rapid.Bool().Draw(t, "cycles")
	events := make([]bloodbank.Envelope, n)
	for i := range events {
		events[i] = k.event()
		events[i].Timestamp = start().Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "time")) * time.Second)
	}
	for i := range events {
		for range rapid.IntRange(0, 3).Draw(t, "parents") {
			top := i - 1
			if cycles {
				top = n - 1
			}
			if top < 0 {
				continue
			}
			if p := rapid.IntRange(0, top).Draw(t, "parent"); p != i {
				events[i].CorrelationIDs = append(events[i].CorrelationIDs, events[p].EventID)
			}
		}
	}
	return rapid.Permutation(events).Draw(t, "order")
}

type model struct {
	details bool
	events  map[bloodbank.EventID]bloodbank.Envelope
	all     []bloodbank.EventID
}

// answer is what the model says: depths, and whether the depth cut anything.
type answer struct {
	depth     map[bloodbank.EventID]int
	truncated bool
}

func (m *model) next(id bloodbank.EventID, d correlation.Direction) (next []bloodbank.EventID) {
	if d == up {
		return m.events[id].CorrelationIDs
	}
	for child, e := range m.events {
		if slices.Contains(e.CorrelationIDs, id) {
			next = append(next, child)
		}
	}
	return next
}

func (m *model) chain(id bloodbank.EventID, d correlation.Direction, maxDepth int) (a answer, exists bool) {
	if _, known := m.events[id]; !known && len(m.next(id, down)) == 0 {
		return a, false
	}
	a.depth = map[bloodbank.EventID]int{id: 0}
	queue := ids(id)
	for len(queue) > 0 {
		from := queue[0]
		queue = queue[1:]
		for _, n := range m.next(from, d) {
			if _, seen := a.depth[n]; seen {
				continue
			}
			if a.depth[from]+1 >= maxDepth {
				a.truncated = true
				continue
			}
			a.depth[n] = a.depth[from] + 1
			queue = append(queue, n)
		}
	}
	return a, true
}

func (m *model) compare(t *rapid.T, got correlation.Chain, want answer) {
	if got.Truncated != want.truncated || len(got.Nodes) != len(want.depth) {
		t.Fatalf("got %d nodes, truncated %t; want %d, %t", len(got.Nodes), got.Truncated, len(want.depth), want.truncated)
	}
	reach := m.closure(want)
	cyclic := false
	for i, n := range got.Nodes {
		depth, ok := want.depth[n.ID]
		e, known := m.events[n.ID]
		if !ok || depth != n.Depth || known != n.Known || !slices.Equal(n.Parents, e.CorrelationIDs) {
			t.Fatalf("got %+v; want depth %d (%t), known %t, parents %v", n, depth, ok, known, e.CorrelationIDs)
		}
		cyclic = cyclic || reach[n.ID][n.ID]
		for _, later := range got.Nodes[i+1:] {
			causes, back := reach[later.ID][n.ID], reach[n.ID][later.ID]
			if causes && !back || causes && back && later.Depth < n.Depth {
				t.Fatalf("%s stands before %s", n.ID, later.ID)
			}
		}
	}
	if cyclic != got.Cyclic {
		t.Fatalf("cyclic is %t, want %t", got.Cyclic, cyclic)
	}
	if !cyclic {
		if ids := idsOf(got); !slices.Equal(ids, m.order(want)) {
			t.Fatalf("ties are not broken by timestamp, then id:\n got %v\nwant %v", ids, m.order(want))
		}
	}
}

// closure says which node is a cause of which, among those of the answer.
func (m *model) closure(a answer) map[bloodbank.EventID]map[bloodbank.EventID]bool {
	reach := map[bloodbank.EventID]map[bloodbank.EventID]bool{}
	for id := range a.depth {
		reach[id] = map[bloodbank.EventID]bool{}
	}
	for id := range a.depth {
		for _, p := range m.events[id].CorrelationIDs {
			if _, in := a.depth[p]; in {
				reach[p][id] = true
			}
		}
	}
	for via := range reach {
		for from := range reach {
			for to := range reach[via] {
				if reach[from][via] {
					reach[from][to] = true
				}
			}
		}
	}
	return reach
}

// order picks, again and again, the first of the nodes whose parents are done.
func (m *model) order(a answer) (order []bloodbank.EventID) {
	for len(order) < len(a.depth) {
		var ready []bloodbank.EventID
		for id := range a.depth {
			waits := slices.ContainsFunc(m.events[id].CorrelationIDs, func(p bloodbank.EventID) bool {
				_, in := a.depth[p]
				return in && !slices.Contains(order, p)
			})
			if !waits && !slices.Contains(order, id) {
				ready = append(ready, id)
			}
		}
		order = append(order, slices.MinFunc(ready, func(x, y bloodbank.EventID) int {
			if m.details {
				if c := m.events[x].Timestamp.Compare(m.events[y].Timestamp); c != 0 {
					return c
				}
			}
			return cmp.Or(bytes.Compare(x[:], y[:]))
		}))
	}
	return order
}
