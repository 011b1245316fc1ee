package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/store"
)

func (k *kit) counts(filter string, want int64) {
	k.Helper()
	counter, ok := k.Store.(store.Counter)
	if !ok {
		k.Skipf("SKIPPED: %T does not count", k.Store)
	}
	if n, err := counter.Count(k.Context(), parse(k, filter)); err != nil || n != want {
		k.Fatalf("%q: counted %d, %v; want %d", filter, n, err, want)
	}
}

func testCount(t *testing.T, k *kit) {
	k.counts("", 0)
	k.counts("type:nothing.made", 0)
	all := k.events(120, func(i int, e *bloodbank.Envelope) {
		e.EventType = bloodbank.EventType(fmt.Sprintf("test.kind%d.made", i%4))
		e.Source.App = fmt.Sprintf("app%d", i%3)
		e.Payload = fmt.Appendf(nil, `{"session_id":"s%d","n":%d,"text":"needle number w%d"}`, i%10, i, i)
	})
	for i := 1; i < len(all); i++ {
		all[i].Envelope.CorrelationIDs = []bloodbank.EventID{all[0].Envelope.EventID}
		all[i] = incoming(t, all[i].Envelope)
	}
	k.add(all...)
	for filter, want := range map[string]int64{
		"": 120, "type:test.*": 120, "type:test.kind1.made": 30, "-type:test.kind1.made": 90, "type:test.kind1.*,test.kind2.*": 60,
		"session:s3": 12, "session:s3,s4": 24, "app:app0 session:s3": 4, "app:nobody": 0, "-app:nobody": 120,
		"parent:" + all[0].Envelope.EventID.String(): 119, "id:" + all[7].Envelope.EventID.String(): 1, "has:parents": 119, "-has:parents": 1,
		"is:failed": 0, "-is:failed": 120, "since:2026-01-27T10:01:00Z": 61,
		// Those that must be read.
		"needle": 120, `"number w7"`: 1, "-needle": 0, "payload.n:>=100": 20, "payload.n:>=100 session:s3": 2, "has:payload.text": 120,
	} {
		k.counts(filter, want)
	}
}

// What is counted by reading has an end, and says "at least".
func testCountsSoFar(t *testing.T, k *kit) {
	parent := newID(t)
	for range 21 {
		k.add(k.events(500, func(_ int, e *bloodbank.Envelope) { e.CorrelationIDs = []bloodbank.EventID{parent} })...)
	}
	k.counts("", 10_500)
	k.counts("app:suite", 10_500)
	k.counts("payload.n:>0", store.MaxCountRead)
	k.counts("payload.n:<=600", 600-(10_500-store.MaxCountRead)) // the newest are looked at
	if _, ok := k.Store.(store.Summarizer); ok {
		k.summariesSoFar()
	}
	// What has more children than anybody wants to count costs no more than that.
	if s, ok := k.Store.(store.Outliner); ok {
		k.add(k.event(func(e *bloodbank.Envelope) { e.EventID = parent }))
		got, err := s.Outlines(t.Context(), []bloodbank.EventID{parent})
		if err != nil || len(got) != 1 || got[0].Children != store.MaxChildren {
			t.Fatalf("%+v, %v", got, err)
		}
	}
}

// Lookuper is what a tracker of causes asks a store for.
type Lookuper interface {
	Lookup(ctx context.Context, ids []bloodbank.EventID) ([]correlation.Node, error)
}

func testLookup(t *testing.T, k *kit) {
	s, ok := k.Store.(Lookuper)
	if !ok {
		t.Skipf("SKIPPED: %T does not look up events", k.Store)
	}
	unknown := newID(t)
	all := k.events(900, func(i int, e *bloodbank.Envelope) {
		e.Timestamp = start().Add(time.Duration(i) * time.Microsecond)
		e.Source.App = []string{"suite", "", `it's "quoted" \ 日本`}[i%3]
		e.CorrelationIDs = [][]bloodbank.EventID{nil, {unknown}, {newID(t), newID(t), unknown}}[i%3]
	})
	k.add(all...)
	want, ids := map[bloodbank.EventID]bloodbank.Envelope{}, []bloodbank.EventID{unknown, {}}
	for _, e := range all {
		want[e.Envelope.EventID] = e.Envelope
		ids = append(ids, e.Envelope.EventID, newID(t))
	}
	ids = append(ids, ids[len(ids)/2:]...) // some are asked for twice
	nodes, err := s.Lookup(t.Context(), ids)
	if err != nil || len(nodes) != len(all) {
		t.Fatalf("%d nodes, %v; want %d", len(nodes), err, len(all))
	}
	for _, n := range nodes {
		e, ok := want[n.ID]
		if !ok || !n.Known || n.Depth != 0 || n.Type != e.EventType || n.App != e.Source.App || !n.Timestamp.Equal(e.Timestamp) || !slices.Equal(n.Parents, e.CorrelationIDs) {
			t.Fatalf("got %+v of\n%+v", n, e)
		}
		delete(want, n.ID)
	}
	for _, none := range [][]bloodbank.EventID{nil, {unknown}} {
		if nodes, err := s.Lookup(t.Context(), none); err != nil || len(nodes) != 0 {
			t.Fatalf("%v: %+v, %v", none, nodes, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Lookup(ctx, ids)
	k.code(err, bloodbank.CodeTimeout)
}
