package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

func testEmpty(t *testing.T, k *kit) {
	if last, err := k.Last(t.Context()); err != nil || last != 0 {
		t.Fatalf("Last is %d, %v", last, err)
	}
	if out, err := k.Append(t.Context(), store.Batch{}); err != nil || out != (store.Appended{}) {
		t.Fatalf("an empty batch: %+v, %v", out, err)
	}
	page, err := k.Query(t.Context(), store.Query{})
	if err != nil || len(page.Events) != 0 || page.Next != "" {
		t.Fatalf("%+v, %v", page, err)
	}
}

// What a decoder and encoder in between would spoil: 64-bit numbers, the order
// of members, spelling of numbers and text, members that nobody knows.
func testExactBytes(t *testing.T, k *kit) {
	const head = `"event_type":"a.b","timestamp":"2026-01-27T10:00:00.123456Z","version":"1.0.0",` +
		`"source":{"host":"h","type":"manual","app":null,"meta":{"b":1,"a":2}},"correlation_ids":[],"agent_context":null,"payload":`
	for _, payload := range []string{
		`{"big":9223372036854775807,"beyond":18446744073709551616,"small":-9007199254740993}`,
		`{"z":1,"a":2,"m":{"y":1,"b":[]}}`,
		`{"f":1.0,"e":1E+2,"tiny":0.10,"minus":-0}`,
		`{ "spaces" : [ 1 , 2 ] }`,
		`{"text":"Zo\u00eb \ud83d\ude00 \/ 日本語 é \u0000 end"}`,
		`{"":{"":""}}`, `{}`, `"only text"`, `[1,[2,[3]]]`, `null`, `17`,
		`{"quote":"' \" ; -- \\ % _ * ?"}`,
	} {
		k.add(decoded(t, []byte(`{"event_id":"`+newID(t).String()+`",`+head+payload+`}`)))
		k.add(decoded(t, []byte(`{"event_id":"`+newID(t).String()+`",`+head+payload+`,"x_unknown":{"deep":[1]},"ordering_key":"k","replay_of":"`+newID(t).String()+`"}`)))
	}
}

func testSameBatchTwice(t *testing.T, k *kit) {
	batch := k.events(120, nil)
	first := k.add(batch...)
	second := k.add(batch...)
	if first.Last != second.Last || second.Duplicates != 120 {
		t.Fatalf("%+v, then %+v", first, second)
	}
	// A redelivery that overlaps with what is new.
	mixed := slices.Concat(batch[100:], k.events(90, nil), batch[:3])
	if out := k.add(mixed...); out.Duplicates != 23 || out.Last <= second.Last {
		t.Fatalf("%+v", out)
	}
}

func testDuplicatesInBatch(_ *testing.T, k *kit) {
	e := k.events(100, nil)
	k.add(slices.Concat(e, e[50:51], e, e[99:])...)
	k.add(e[0], e[0])
	k.add(k.event(nil))
}

func testFirstStays(t *testing.T, k *kit) {
	first := k.event(nil)
	changed := first.Envelope
	changed.Payload = []byte(`{"second":"zebra"}`)
	changed.CorrelationIDs = []bloodbank.EventID{newID(t)}
	k.add(first)
	k.add(incoming(t, changed))
	both := k.event(nil)
	changed = both.Envelope
	changed.Payload = []byte(`{"second":"zebra"}`)
	k.add(both, incoming(t, changed))
	k.matches("zebra", store.NewestFirst)
	k.matches("has:parents", store.NewestFirst)
}

func testConcurrentDuplicates(t *testing.T, k *kit) {
	events := k.events(200, nil)
	for _, e := range events {
		k.raws[e.Envelope.EventID] = e.Raw
	}
	var wg sync.WaitGroup
	outs, errs := make([]store.Appended, 8), make([]error, 8)
	for i := range outs {
		wg.Go(func() {
			// Each sends them all, beginning at another place.
			for part := range slices.Chunk(slices.Concat(events[25*i:], events[:25*i]), 40) {
				out, err := k.Append(t.Context(), store.Batch{Events: part})
				outs[i].Duplicates += out.Duplicates
				errs[i] = errors.Join(errs[i], err)
			}
		})
	}
	wg.Wait()
	duplicates := 0
	for i, out := range outs {
		k.code(errs[i], "")
		duplicates += out.Duplicates
	}
	if duplicates != 7*200 {
		t.Fatalf("%d duplicates, want 1400", duplicates)
	}
}

func testBatchSizes(_ *testing.T, k *kit) {
	for _, n := range []int{1, 2, 7, 8, 9, 63, 64, 65, 130, 500} {
		k.add(k.events(n, func(i int, e *bloodbank.Envelope) {
			for range i % 4 {
				e.CorrelationIDs = append(e.CorrelationIDs, newID(k))
			}
		})...)
	}
}

func testBadBatch(t *testing.T, k *kit) {
	k.add(k.event(nil))
	bad := k.events(10, nil)
	bad[9].Envelope.EventID = bloodbank.EventID{}
	_, err := k.Append(t.Context(), store.Batch{Events: bad})
	k.code(err, bloodbank.CodeInvalid)
	k.check()
	k.add(bad[:9]...)
}

func testRejected(t *testing.T, k *kit) {
	keeps, ok := k.Store.(interface {
		Rejected(ctx context.Context, limit int) ([]store.Rejected, error)
	})
	e := k.event(nil)
	k.raws[e.Envelope.EventID] = e.Raw
	batch := store.Batch{Events: []store.Incoming{e}, Rejected: []store.Rejected{
		{Raw: []byte("no JSON \x00\xff"), Reason: "invalid character"}, {Raw: nil, Reason: "empty"}, {Raw: []byte("no JSON \x00\xff"), Reason: "invalid character"},
	}}
	for range 2 {
		if _, err := k.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := k.Append(t.Context(), store.Batch{Rejected: []store.Rejected{{Raw: []byte("alone"), Reason: "alone"}}}); err != nil {
		t.Fatal(err)
	}
	if !ok {
		t.Log("SKIPPED in part: this store does not show what was rejected")
		return
	}
	got, err := keeps.Rejected(t.Context(), 10)
	if err != nil || len(got) != 3 || got[0].Reason != "alone" || string(got[2].Raw) != "no JSON \x00\xff" || got[2].Reason != "invalid character" {
		t.Fatalf("%d rejected: %q, %v", len(got), got, err)
	}
}

// testFollower: whoever has seen sequence n never finds anything below n later.
func testFollower(t *testing.T, k *kit) {
	const writers, batches, size = 4, 15, 20
	total := writers * batches * size
	var all [][]store.Incoming
	for range writers * batches {
		all = append(all, k.events(size, nil))
	}
	for _, b := range all {
		for _, e := range b {
			k.raws[e.Envelope.EventID] = e.Raw
		}
	}
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range batches {
				_, err := k.Append(t.Context(), store.Batch{Events: all[w*batches+i]})
				errs[w] = errors.Join(errs[w], err)
			}
		})
	}
	var seen []int64
	for seq := int64(0); len(seen) < total && t.Context().Err() == nil; {
		events, err := k.After(t.Context(), seq, 7)
		if err != nil {
			t.Error(err)
			break
		}
		for _, e := range events {
			seen = append(seen, e.Sequence)
			seq = e.Sequence
		}
	}
	wg.Wait()
	k.code(errors.Join(errs...), "")
	events := ReadAll(t, k.Store)
	if len(events) != len(seen) {
		t.Fatalf("the follower saw %d events of %d", len(seen), len(events))
	}
	for i := range events {
		if events[i].Sequence != seen[i] {
			t.Fatalf("the follower saw %d where there is %d", seen[i], events[i].Sequence)
		}
	}
}

func testAfter(t *testing.T, k *kit) {
	k.add(k.events(25, nil)...)
	all := ReadAll(t, k.Store)
	for _, limit := range []int{1, 2, 24, 25, 26, 5000} {
		got, err := k.After(t.Context(), all[4].Sequence, limit)
		k.code(err, "")
		sameEvents(t, got, all[5:min(5+limit, 25)])
	}
	for _, seq := range []int64{all[24].Sequence, 1 << 62} {
		if got, err := k.After(t.Context(), seq, 10); err != nil || len(got) != 0 {
			t.Fatalf("%d events behind the end, %v", len(got), err)
		}
	}
	if got, err := k.After(t.Context(), -1, 100); err != nil || len(got) != 25 {
		t.Fatalf("%d events, %v", len(got), err)
	}
}

func testReopen(t *testing.T, k *kit) {
	if k.reopen == nil {
		t.Skip("SKIPPED: this store cannot be reopened by the test")
	}
	first := k.add(k.events(70, nil)...)
	for i := range 3 {
		k.Store = k.reopen()
		k.check()
		if out := k.add(k.events(5, nil)...); out.Last <= first.Last {
			t.Fatalf("sequence %d after %d, reopened %d times", out.Last, first.Last, i+1)
		}
	}
}

func testCancelled(t *testing.T, k *kit) {
	k.add(k.events(10, nil)...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Append(ctx, store.Batch{Events: k.events(3, nil)}); !errors.Is(err, context.Canceled) {
		t.Fatalf("append: %v", err)
	}
	if _, err := k.Query(ctx, store.Query{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("query: %v", err)
	}
	if _, err := k.After(ctx, 0, 10); !errors.Is(err, context.Canceled) {
		t.Fatalf("after: %v", err)
	}
	if _, err := k.Get(ctx, newID(t)); !errors.Is(err, context.Canceled) {
		t.Fatalf("get: %v", err)
	}
	k.check()
	k.add(k.events(3, nil)...)
}

func testGet(t *testing.T, k *kit) {
	e := k.event(nil)
	out := k.add(k.event(nil), e)
	got, err := k.Get(t.Context(), e.Envelope.EventID)
	if err != nil || got.Sequence != out.Last || string(got.Raw) != string(e.Raw) {
		t.Fatalf("%+v, %v", got, err)
	}
	id := newID(t)
	_, err = k.Get(t.Context(), id)
	k.code(err, bloodbank.CodeNotFound)
	if !strings.Contains(err.Error(), id.String()) {
		t.Fatalf("the message does not name the event: %v", err)
	}
}

func testCheck(t *testing.T, k *kit) {
	for range 2 {
		k.code(k.Check(t.Context()), "")
	}
	k.add(k.event(nil))
	k.code(k.Check(t.Context()), "")
}

func testLarge(t *testing.T, k *kit) {
	text := strings.Repeat("word ", 60_000)
	k.add(k.events(30, func(i int, e *bloodbank.Envelope) {
		e.Payload = fmt.Appendf(nil, `{"needle":"needle%d","text":%q}`, i, text)
	})...)
	k.matches("needle7", store.NewestFirst, 7)
	page, err := k.Query(t.Context(), store.Query{})
	if err != nil || len(page.Events) == 0 || len(page.Events) < 30 && page.Next == "" {
		t.Fatalf("%d events, next %q, %v", len(page.Events), page.Next, err)
	}
}
