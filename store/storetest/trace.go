package storetest

import (
	"slices"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// testTraces: what a filter was told of a trace, in pages and in counts.
func testTraces(t *testing.T, k *kit) {
	all := k.events(60, nil)
	id := func(i int) bloodbank.EventID { return all[i].Envelope.EventID }
	// 20 is the event in question: 10, 11 cause it, 30 to 39 follow each other
	// from it, 40 is another effect of a cause, 50 comes when the filter is made.
	name := func(child int, parents ...int) {
		for _, p := range parents {
			all[child].Envelope.CorrelationIDs = append(all[child].Envelope.CorrelationIDs, id(p))
		}
		all[child] = incoming(t, all[child].Envelope)
	}
	name(11, 10)
	name(20, 11)
	name(30, 20)
	for i := 31; i < 40; i++ {
		name(i, i-1)
	}
	name(40, 11, 5)
	name(50, 39, 7)
	name(51, 50)
	k.add(all...)
	var down []bloodbank.EventID
	for i := 30; i < 40; i++ {
		down = append(down, id(i))
	}
	f := parse(t, "trace:"+id(20).String()).WithTrace(id(20), []bloodbank.EventID{id(10), id(11), newID(t)}, down)
	// 50 names an effect, so it is one; nobody has told of 51.
	want := []int{10, 11, 20, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 50}
	k.finds(f, all, want)
	f.Follow(&all[50].Envelope)
	k.finds(f, all, append(slices.Clone(want), 51))
	negated := store.Filter{Terms: slices.Clone(f.Terms)}
	negated.Terms[0].Not = true
	var others []int
	for i := range all {
		if !slices.Contains(want, i) && i != 51 {
			others = append(others, i)
		}
	}
	k.finds(negated, all, others)
	both := store.Filter{Terms: append(slices.Clone(f.Terms), parse(t, "has:parents id:"+id(10).String()+","+id(20).String()).Terms...)}
	k.finds(both, all, []int{20})
	if f.String() != "trace:"+id(20).String() {
		t.Fatalf("what is known is part of the text: %s", f)
	}
}

// finds runs a filter on all pages, and on the events themselves.
func (k *kit) finds(f store.Filter, all []store.Incoming, want []int) {
	k.Helper()
	var expect, got []int
	for i := range all {
		if f.Match(&all[i].Envelope) {
			expect = append(expect, i)
		}
	}
	for _, e := range AllPages(k, k.Store, store.Query{Filter: f, Order: store.OldestFirst, Limit: 4}) {
		got = append(got, slices.IndexFunc(all, func(o store.Incoming) bool { return o.Envelope.EventID == e.Envelope.EventID }))
	}
	if !slices.Equal(expect, want) || !slices.Equal(got, want) {
		k.Fatalf("%s: Match wants %v, the store finds %v, it is %v", f, expect, got, want)
	}
	if counter, ok := k.Store.(store.Counter); ok {
		if n, err := counter.Count(k.Context(), f); err != nil || n != int64(len(want)) {
			k.Fatalf("%s: counted %d, %v", f, n, err)
		}
	}
}
