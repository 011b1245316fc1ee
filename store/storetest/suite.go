// Package storetest is the suite that every store.Store passes.
//
// It knows stores by their contract alone. It reads the filter vectors from
// ../testdata, so a driver's test must live in a subfolder of store.
package storetest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// Run runs the suite. open returns an empty store, closed when the test ends.
// reopen closes that store and opens it again with what it holds; where it is
// nil the tests that need it are skipped, and say so.
func Run(t *testing.T, open func(t *testing.T) (s store.Store, reopen func() store.Store)) {
	t.Helper()
	cases := []struct {
		name string
		test func(t *testing.T, k *kit)
	}{
		{"an empty store", testEmpty},
		{"events come back byte for byte", testExactBytes},
		{"the same batch twice", testSameBatchTwice},
		{"duplicates within a batch", testDuplicatesInBatch},
		{"the first of two with one id stays", testFirstStays},
		{"batches with the same ids at once", testConcurrentDuplicates},
		{"batches of all sizes", testBatchSizes},
		{"a batch that is refused leaves nothing", testBadBatch},
		{"rejected messages are kept", testRejected},
		{"a follower misses nothing", testFollower},
		{"after, in pieces", testAfter},
		{"reopened", testReopen},
		{"contexts that are cancelled", testCancelled},
		{"get", testGet},
		{"check", testCheck},
		{"pages hold everything once", testPages},
		{"pages of events with the same time", testEqualTimes},
		{"pages while events are added", testPagesUnderInserts},
		{"cursors that do not belong", testBadCursors},
		{"limits and orders that are none", testBadQueries},
		{"the filter vectors", testVectors},
		{"the fields of the filter", testFields},
		{"numbers in the payload", testNumbers},
		{"hostile text", testHostile},
		{"text that is common, and pages of it", testCommonText},
		{"random filters against Match", testRandomFilters},
		{"large events", testLarge},
		{"count", testCount},
		{"counts, summaries and children, as far as they are read", testCountsSoFar},
		{"look up", testLookup},
		{"traces", testTraces},
		{"outlines", testOutlines},
		{"facets and histograms", testSummaries},
		{"summaries of nothing, and of too much", testSummaryBounds},
		{"voice sessions", testSessions},
		{"voice sessions in odd words", testOddSessions},
		{"pages of voice sessions", testSessionPages},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, reopen := open(t)
			k := &kit{T: t, Store: s, reopen: reopen, raws: map[bloodbank.EventID][]byte{}}
			c.test(t, k)
			k.check()
		})
	}
}

// kit is a store with shorthands that end the test on an error. It remembers
// what was appended.
type kit struct {
	*testing.T
	store.Store
	reopen func() store.Store
	raws   map[bloodbank.EventID][]byte
	made   int
}

func start() time.Time { return time.Date(2026, 1, 27, 10, 0, 0, 0, time.UTC) }

// event makes an event a second younger than the one before; change may alter
// it.
func (k *kit) event(change func(e *bloodbank.Envelope)) store.Incoming {
	k.Helper()
	k.made++
	e := bloodbank.Envelope{
		EventID: newID(k), EventType: "test.event.made", Timestamp: start().Add(time.Duration(k.made) * time.Second),
		Version: bloodbank.Version, Source: bloodbank.Source{Host: "box", Type: bloodbank.SourceManual, App: "suite"},
		Payload: fmt.Appendf(nil, `{"n":%d}`, k.made),
	}
	if change != nil {
		change(&e)
	}
	return incoming(k, e)
}

func newID(t testing.TB) bloodbank.EventID {
	t.Helper()
	id, err := bloodbank.NewEventID()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// incoming writes e and reads it back, as the recorder does.
func incoming(t testing.TB, e bloodbank.Envelope) store.Incoming {
	t.Helper()
	raw, err := e.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	return decoded(t, raw)
}

func decoded(t testing.TB, raw []byte) store.Incoming {
	t.Helper()
	e, err := bloodbank.DecodeEnvelope(raw)
	if err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return store.Incoming{Envelope: e, Raw: raw}
}

func (k *kit) events(n int, change func(i int, e *bloodbank.Envelope)) []store.Incoming {
	k.Helper()
	all := make([]store.Incoming, n)
	for i := range all {
		all[i] = k.event(func(e *bloodbank.Envelope) {
			if change != nil {
				change(i, e)
			}
		})
	}
	return all
}

// add appends and remembers; what is there already must count as a duplicate.
func (k *kit) add(events ...store.Incoming) store.Appended {
	k.Helper()
	fresh := 0
	for _, e := range events {
		if _, ok := k.raws[e.Envelope.EventID]; !ok {
			k.raws[e.Envelope.EventID] = e.Raw
			fresh++
		}
	}
	out, err := k.Append(k.Context(), store.Batch{Events: events})
	if err != nil {
		k.Fatalf("append: %v", err)
	}
	if out.Duplicates != len(events)-fresh {
		k.Fatalf("%d duplicates reported of %d events, want %d", out.Duplicates, len(events), len(events)-fresh)
	}
	if last, err := k.Last(k.Context()); err != nil || last != out.Last {
		k.Fatalf("append says the last sequence is %d, Last says %d, %v", out.Last, last, err)
	}
	return out
}

func (k *kit) code(err error, want bloodbank.Code) {
	k.Helper()
	if got := bloodbank.CodeOf(err); got != want {
		k.Fatalf("got %q (%v), want an error with code %q", got, err, want)
	}
}

func (k *kit) check() {
	k.Helper()
	CheckStore(k.T, k.Store, k.raws)
}

// CheckStore reads everything in every way and tests that it agrees: each event
// of want is there once with its exact bytes, and nothing else.
func CheckStore(t testing.TB, s store.Store, want map[bloodbank.EventID][]byte) {
	t.Helper()
	all := ReadAll(t, s)
	seen := map[bloodbank.EventID]bool{}
	before := int64(0)
	for _, e := range all {
		id := e.Envelope.EventID
		switch {
		case e.Sequence <= before:
			t.Fatalf("sequence %d follows %d", e.Sequence, before)
		case seen[id]:
			t.Fatalf("%s is there twice", id)
		case !bytes.Equal(e.Raw, want[id]):
			t.Fatalf("%s came back as\n%s\nwant\n%s", id, e.Raw, want[id])
		case e.StoredAt.IsZero() || e.StoredAt.Location() != time.UTC:
			t.Fatalf("%s was stored at %s", id, e.StoredAt)
		}
		before, seen[id] = e.Sequence, true
		checkDecoded(t, e)
	}
	if len(all) != len(want) {
		t.Fatalf("%d events are there, want %d", len(all), len(want))
	}
	if last, err := s.Last(t.Context()); err != nil || last != before {
		t.Fatalf("Last is %d, %v; the last event has %d", last, err, before)
	}
	for i := 0; i < len(all); i += 1 + len(all)/50 {
		e, err := s.Get(t.Context(), all[i].Envelope.EventID)
		if err != nil || e.Sequence != all[i].Sequence || !bytes.Equal(e.Raw, all[i].Raw) {
			t.Fatalf("Get: %v, %+v", err, e)
		}
	}
	slices.SortFunc(all, func(a, b store.Event) int {
		return cmp.Or(cmp.Compare(a.Envelope.Timestamp.UnixMicro(), b.Envelope.Timestamp.UnixMicro()), cmp.Compare(a.Sequence, b.Sequence))
	})
	sameEvents(t, AllPages(t, s, store.Query{Order: store.OldestFirst, Limit: 333}), all)
	slices.Reverse(all)
	sameEvents(t, AllPages(t, s, store.Query{Limit: store.MaxLimit}), all)
}

func checkDecoded(t testing.TB, e store.Event) {
	t.Helper()
	want, err := bloodbank.DecodeEnvelope(e.Raw)
	if err != nil {
		t.Fatalf("%v: %s", err, e.Raw)
	}
	a, errA := want.AppendJSON(nil)
	b, errB := e.Envelope.AppendJSON(nil)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Fatalf("the envelope is\n%s\nwant\n%s", b, a)
	}
}

func sameEvents(t testing.TB, got, want []store.Event) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("the pages hold %d events, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].Sequence != want[i].Sequence || !bytes.Equal(got[i].Raw, want[i].Raw) {
			t.Fatalf("event %d of the pages has sequence %d, want %d", i, got[i].Sequence, want[i].Sequence)
		}
	}
}

// ReadAll follows the store from the beginning to its end.
func ReadAll(t testing.TB, s store.Store) []store.Event {
	t.Helper()
	var all []store.Event
	for seq := int64(0); ; {
		events, err := s.After(t.Context(), seq, 500)
		if err != nil {
			t.Fatalf("after %d: %v", seq, err)
		}
		if len(events) == 0 {
			return all
		}
		all = append(all, events...)
		seq = events[len(events)-1].Sequence
	}
}

// AllPages asks for pages until there is none left.
func AllPages(t testing.TB, s store.Store, q store.Query) []store.Event {
	t.Helper()
	all, err := allPages(t.Context(), s, q)
	if err != nil {
		t.Fatalf("query %q: %v", q.Filter, err)
	}
	return all
}

func allPages(ctx context.Context, s store.Store, q store.Query) ([]store.Event, error) {
	var all []store.Event
	for {
		page, err := s.Query(ctx, q)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Events...)
		if page.Next == "" {
			return all, nil
		}
		if len(page.Events) == 0 || page.Next == q.Cursor {
			return nil, fmt.Errorf("the cursor %q leads nowhere", page.Next)
		}
		q.Cursor = page.Next
	}
}
