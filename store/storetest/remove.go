package storetest

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/store"
)

// keeper is all that a store gives to retention and to those who ask afterwards.
type keeper interface {
	store.Store
	store.Ledger
	store.Remover
	store.Counter
	correlation.Tracker
}

// RunRemover runs what a store.Remover must pass; open returns an empty store.
func RunRemover(t *testing.T, open func(t *testing.T) LedgerSubject) {
	t.Helper()
	for name, test := range map[string]func(t *testing.T, s keeper, subject LedgerSubject){
		"what is removed is gone, and stays proved":   testRemove,
		"children name a parent that is missing":      testRemoveParent,
		"what is not there, the newest, and too many": testRemoveNothing,
		"records of removals that were tampered with": testRemovalsTampered,
		"heads and usage":                          testHeads,
		"an event that comes once more":            testRemovedComesBack,
		"a session goes with its last event":       testRemoveSession,
		"two processes remove while others append": testRemoveAtOnce,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			subject := open(t)
			s, ok := subject.Store.(keeper)
			if !ok {
				t.Fatalf("%T does not keep events in every way", subject.Store)
			}
			test(t, s, subject)
		})
	}
}

func removed(t *testing.T, s store.Remover, want int, sequences ...int64) store.Removal {
	t.Helper()
	r, err := s.Remove(t.Context(), sequences, "age: test")
	if err != nil || int(r.Events) != want {
		t.Fatalf("%d events removed of %v, %v; want %d", r.Events, sequences, err, want)
	}
	return r
}

func testRemove(t *testing.T, s keeper, _ LedgerSubject) {
	all := Samples(t, 0, 40)
	Put(t, s, all[:20])
	Put(t, s, all[20:])
	head := intact(t, s, 40).Head
	r := removed(t, s, 6, 3, 2, 4, 3, 17, 22, 30)
	if !slices.Equal(r.Ranges, []store.Range{{First: 2, Last: 4}, {First: 17, Last: 17}, {First: 22, Last: 22}, {First: 30, Last: 30}}) || r.Reason != "age: test" || r.At.IsZero() {
		t.Fatalf("%+v", r)
	}
	left := map[bloodbank.EventID][]byte{}
	size := int64(0)
	for i, e := range all {
		if slices.Contains([]int{2, 3, 4, 17, 22, 30}, i+1) {
			size += int64(len(e.Raw))
			if _, err := s.Get(t.Context(), e.Envelope.EventID); bloodbank.CodeOf(err) != bloodbank.CodeNotFound {
				t.Fatalf("event %d is there: %v", i+1, err)
			}
			continue
		}
		left[e.Envelope.EventID] = e.Raw
	}
	if r.Bytes != size {
		t.Fatalf("%d bytes removed, want %d", r.Bytes, size)
	}
	CheckStore(t, s, left)
	for filter, want := range map[string]int64{"": 34, "word0": countWord(left), "type:transcription.voice.kind1": 4 - 1} {
		if n, err := s.Count(t.Context(), parse(t, filter)); err != nil || n != want {
			t.Errorf("%q: %d, %v; want %d", filter, n, err, want)
		}
	}
	report := verify(t, s, store.VerifyOptions{Expect: &head})
	if !report.OK || report.Events != 40 || report.Removed != 6 || report.Removals != 1 {
		t.Fatalf("%+v", report)
	}
	removed(t, s, 2, 5, 6)
	Put(t, s, Samples(t, 40, 5))
	if report := verify(t, s, store.VerifyOptions{Expect: &head}); !report.OK || report.Removed != 8 || report.Removals != 2 || report.RemovalsLink == (store.Hash{}) {
		t.Fatalf("%+v", report)
	}
}

func countWord(events map[bloodbank.EventID][]byte) (n int64) {
	for _, raw := range events {
		if bytes.Contains(raw, []byte("word0 ")) {
			n++
		}
	}
	return n
}

func testRemoveSession(t *testing.T, s keeper, _ LedgerSubject) {
	list, ok := s.(store.Sessions)
	if !ok {
		t.Skipf("SKIPPED: %T lists no sessions", s)
	}
	events, want := VoiceEvents(t)
	Put(t, s, events)
	Put(t, s, Samples(t, 900, 1)) // the newest is never removed
	listed := func() (ids []string) {
		t.Helper()
		page, err := list.Sessions(t.Context(), store.SessionQuery{Now: start()})
		if err != nil {
			t.Fatal(err)
		}
		for _, session := range page.Sessions {
			if session.ID == want[0].ID || session.ID == want[1].ID {
				ids = append(ids, session.ID)
			}
		}
		return ids
	}
	removed(t, s, 3, 1, 2, 3)
	if got := listed(); len(got) != 2 {
		t.Fatalf("with events of both left, %q are listed", got)
	}
	removed(t, s, 1, 4) // all of the open one
	if got := listed(); !slices.Equal(got, []string{want[1].ID}) {
		t.Fatalf("%q are listed, want %q", got, want[1].ID)
	}
	removed(t, s, 2, 5, 6) // what is told of the other in any words
	if got := listed(); len(got) != 0 {
		t.Fatalf("%q are listed without an event", got)
	}
	if _, err := list.Session(t.Context(), want[1].ID); bloodbank.CodeOf(err) != bloodbank.CodeNotFound {
		t.Errorf("a session without an event: %v", err)
	}
}

func testRemoveParent(t *testing.T, s keeper, _ LedgerSubject) {
	parent := Sample(t, 0)
	child := Sample(t, 1, parent.Envelope.EventID)
	grandchild := Sample(t, 2, child.Envelope.EventID)
	Put(t, s, []store.Incoming{parent, child, grandchild})
	removed(t, s, 1, 2)
	up, err := s.Chain(t.Context(), grandchild.Envelope.EventID, correlation.Ancestors, correlation.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []bloodbank.EventID
	for _, n := range up.Nodes {
		ids = append(ids, n.ID)
		if n.ID == child.Envelope.EventID && n.Known {
			t.Error("what was removed passes for stored")
		}
	}
	if !slices.Contains(ids, child.Envelope.EventID) {
		t.Fatalf("the ancestors are %v, without the one that was removed", ids)
	}
	down, err := s.Chain(t.Context(), parent.Envelope.EventID, correlation.Descendants, correlation.Limits{})
	if err != nil || len(down.Nodes) != 1 {
		t.Fatalf("%+v, %v", down, err)
	}
}

func testRemoveNothing(t *testing.T, s keeper, _ LedgerSubject) {
	Put(t, s, Samples(t, 0, 3))
	removed(t, s, 0, 77, 3)
	removed(t, s, 0)
	removed(t, s, 2, 1, 2, 3)
	removed(t, s, 0, 1, 2, 3)
	if last, err := s.Last(t.Context()); err != nil || last != 3 {
		t.Fatal(last, err)
	}
	if report := intact(t, s, 3); report.Removals != 1 {
		t.Fatalf("%+v", report)
	}
	if _, err := s.Remove(t.Context(), make([]int64, store.MaxRemove+1), ""); bloodbank.CodeOf(err) != bloodbank.CodeInvalid {
		t.Fatal(err)
	}
}

func testRemovalsTampered(t *testing.T, s keeper, subject LedgerSubject) {
	Put(t, s, Samples(t, 0, 20))
	removed(t, s, 2, 1, 2)
	removed(t, s, 2, 5, 6)
	removed(t, s, 2, 8, 9)
	intact(t, s, 20)
	// Someone removes an event and makes it look like retention.
	subject.Exec("DELETE FROM events WHERE sequence = 12")
	same(t, verify(t, s, store.VerifyOptions{}).Faults, fault(store.FaultRemoved, 12))
	subject.Exec("UPDATE removals SET last = 12, ranges = (SELECT ranges FROM removals WHERE id = 3) WHERE id = 2")
	same(t, verify(t, s, store.VerifyOptions{}).Faults, fault(store.FaultRemoved, 5), fault(store.FaultRemoved, 6), fault(store.FaultRemoved, 12), fault(store.FaultRemoval, 2))
	subject.Exec("DELETE FROM removals WHERE id = 2")
	report := verify(t, s, store.VerifyOptions{})
	if report.FaultCount != 4 || report.Faults[3].Kind != store.FaultRemoval {
		t.Fatalf("%+v", report.Faults)
	}
}

func testHeads(t *testing.T, s keeper, _ LedgerSubject) {
	if u, err := s.Usage(t.Context()); err != nil || u != (store.Usage{}) {
		t.Fatalf("%+v, %v", u, err)
	}
	all := Samples(t, 0, 30)
	Put(t, s, all[:10])
	Put(t, s, all)
	var size int64
	for _, e := range all {
		size += int64(len(e.Raw))
	}
	if u, err := s.Usage(t.Context()); err != nil || u != (store.Usage{Events: 30, Bytes: size}) {
		t.Fatalf("%+v, %v; want %d bytes", u, err, size)
	}
	r := removed(t, s, 3, 1, 2, ReadAll(t, s)[19].Sequence)
	if u, err := s.Usage(t.Context()); err != nil || u != (store.Usage{Events: 27, Bytes: size - r.Bytes, RemovedEvents: 3, RemovedBytes: r.Bytes}) {
		t.Fatalf("%+v, %v", u, err)
	}
	events := ReadAll(t, s)
	heads, err := s.Heads(t.Context(), events[0].Sequence, 10)
	if err != nil || len(heads) != 10 {
		t.Fatal(len(heads), err)
	}
	for i, h := range heads {
		e := events[i+1]
		if h != (store.Head{Sequence: e.Sequence, StoredAt: e.StoredAt, Type: e.Envelope.EventType, Bytes: int64(len(e.Raw))}) {
			t.Fatalf("%+v, want %+v", h, e)
		}
	}
}

// Two processes with the same rules remove the same events: each goes once, and
// the removals are one chain.
func testRemoveAtOnce(t *testing.T, s keeper, subject LedgerSubject) {
	other, ok := subject.Other().(keeper)
	if !ok {
		t.Fatal("the other store does not keep events")
	}
	const size = 200
	Put(t, s, Samples(t, 0, size))
	var sequences []int64
	for _, e := range ReadAll(t, s) {
		sequences = append(sequences, e.Sequence)
	}
	var wg sync.WaitGroup
	errs, gone := make([]error, 4), make([]int64, 4)
	for w := range errs {
		wg.Go(func() {
			from := []keeper{s, other}[w%2]
			for part := range slices.Chunk(sequences[:size-20], 9) {
				if w > 1 { // some append meanwhile
					_, err := from.Append(t.Context(), store.Batch{Events: Samples(t, 1000*w, 3)})
					errs[w] = errors.Join(errs[w], err)
				}
				r, err := from.Remove(t.Context(), part, "age: test")
				errs[w], gone[w] = errors.Join(errs[w], err), gone[w]+r.Events
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if n := gone[0] + gone[1] + gone[2] + gone[3]; n != size-20 {
		t.Fatalf("%d events were removed, of %d", n, size-20)
	}
	if report := verify(t, s, store.VerifyOptions{}); !report.OK || report.Removed != size-20 {
		t.Fatalf("%+v", report)
	}
}

// A log that is replayed brings back what was removed: as a new event of the
// store, with an entry of its own.
func testRemovedComesBack(t *testing.T, s keeper, _ LedgerSubject) {
	all := Samples(t, 0, 5)
	Put(t, s, all)
	removed(t, s, 1, 2)
	Put(t, s, all)
	events := ReadAll(t, s)
	if len(events) != 5 || events[4].Envelope.EventID != all[1].Envelope.EventID || events[4].Sequence < 6 {
		t.Fatalf("%d events, the last is %+v", len(events), events[len(events)-1])
	}
	if report := intact(t, s, 6); report.Removed != 1 {
		t.Fatalf("%+v", report)
	}
}
