package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/schema"
	"github.com/33god/bloodbank/wal"
)

func TestDuplicates(t *testing.T) {
	t.Parallel()
	a, b, c := oldID(1), oldID(2), oldID(3)
	first := func(id bloodbank.EventID, seq uint64) bloodbank.Receipt {
		return bloodbank.Receipt{EventID: id, Sequence: seq, Ack: bloodbank.AckWAL}
	}
	again := func(id bloodbank.EventID, seq uint64) bloodbank.Receipt {
		return bloodbank.Receipt{EventID: id, Sequence: seq, Ack: bloodbank.AckWAL, Duplicate: true}
	}
	tests := []struct {
		name    string
		archive []bloodbank.EventID
		steps   [][]bloodbank.EventID
		want    [][]bloodbank.Receipt
	}{
		{"one after the other", nil, [][]bloodbank.EventID{{a}, {a}, {b}, {a}},
			[][]bloodbank.Receipt{{first(a, 1)}, {again(a, 1)}, {first(b, 2)}, {again(a, 1)}}},
		{"within a batch", nil, [][]bloodbank.EventID{{c, a, c, b, a, c}},
			[][]bloodbank.Receipt{{first(c, 1), first(a, 2), again(c, 1), first(b, 3), again(a, 2), again(c, 1)}}},
		{"across batches", nil, [][]bloodbank.EventID{{b, a}, {a, c, b}},
			[][]bloodbank.Receipt{{first(b, 1), first(a, 2)}, {again(a, 2), first(c, 3), again(b, 1)}}},
		{"a whole batch again", nil, [][]bloodbank.EventID{{b, a}, {b, a}},
			[][]bloodbank.Receipt{{first(b, 1), first(a, 2)}, {again(b, 1), again(a, 2)}}},
		{"known only to the archive", []bloodbank.EventID{a}, [][]bloodbank.EventID{{a}, {b, a, a}, {a}},
			[][]bloodbank.Receipt{{again(a, 0)}, {first(b, 1), again(a, 0), again(a, 0)}, {again(a, 0)}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g, log := setup(t, func(o *Options) { o.Archive = &fakeArchive{ids: tt.archive} })
			for i, ids := range tt.steps {
				requests := make([]Request, len(ids))
				for j, id := range ids {
					requests[j] = demo(id)
				}
				got, err := g.AcceptAll(t.Context(), requests)
				if err != nil || fmt.Sprint(got) != fmt.Sprint(tt.want[i]) {
					t.Errorf("step %d: got  %v (%v)\nwant %v", i, got, err, tt.want[i])
				}
				log.CheckAll(t)
			}
			if len(g.recent.writing) != 0 {
				t.Errorf("%d ids are still claimed", len(g.recent.writing))
			}
		})
	}
}

func TestSameIDAtOnce(t *testing.T) {
	t.Parallel()
	const callers = 100
	g, log := setup(t, nil)
	id := oldID(1)
	var wg sync.WaitGroup
	receipts := make([]bloodbank.Receipt, callers)
	for i := range callers {
		wg.Go(func() {
			var err error
			if receipts[i], err = g.Accept(t.Context(), demo(id)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	fresh := 0
	for _, r := range receipts {
		if !r.Duplicate {
			fresh++
		}
		if r.Sequence != 1 || r.EventID != id {
			t.Errorf("receipt %+v", r)
		}
	}
	if fresh != 1 || log.count() != 1 {
		t.Errorf("%d say they were first, %d records", fresh, log.count())
	}
}

// Batches with ids in common, in opposite order, must not wait for each other
// in a ring.
func TestOverlappingBatches(t *testing.T) {
	t.Parallel()
	g, log := setup(t, nil)
	ids := make([]bloodbank.EventID, 40)
	for i := range ids {
		ids[i] = oldID(byte(i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	fresh := 0
	for caller := range 8 {
		wg.Go(func() {
			for round := range 50 {
				requests := make([]Request, 10)
				for i := range requests {
					at := (round*3 + i) % len(ids)
					if caller%2 == 1 {
						at = (round*3 + len(requests) - 1 - i) % len(ids)
					}
					requests[i] = demo(ids[at])
				}
				receipts, err := g.AcceptAll(ctx, requests)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, r := range receipts {
					if !r.Duplicate {
						fresh++
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if fresh != len(ids) {
		t.Errorf("%d of %d ids were new", fresh, len(ids))
	}
	log.CheckAll(t)
}

func TestLogErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		err   error
		batch int
		code  bloodbank.Code
		says  string
	}{
		{"full", fmt.Errorf("write: %w", wal.ErrFull), 1, bloodbank.CodeStorageFull, "Make room"},
		{"read-only", wal.ErrReadOnly, 1, bloodbank.CodeUnavailable, "cannot be written"},
		{"closed", wal.ErrClosed, 1, bloodbank.CodeUnavailable, "stopping"},
		{"too large", wal.ErrTooLarge, 1, bloodbank.CodeTooLarge, "does not fit"},
		{"too large together", wal.ErrTooLarge, 3, bloodbank.CodeTooLarge, "3 events together"},
		{"cancelled", context.Canceled, 1, bloodbank.CodeTimeout, "same event_id"},
		{"late", context.DeadlineExceeded, 2, bloodbank.CodeTimeout, "same event_id"},
		{"broken", errors.New("input/output error"), 1, bloodbank.CodeUnavailable, "same event_id"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g, log := setup(t, nil)
			requests := make([]Request, tt.batch)
			for i := range requests {
				requests[i] = demo(oldID(byte(i)))
			}
			log.fail(tt.err)
			_, err := g.AcceptAll(t.Context(), requests)
			e := refused(t, err, tt.code)
			if !errors.Is(err, tt.err) || !strings.Contains(e.Message, tt.says) {
				t.Errorf("%q", e.Message)
			}
			// Nothing is remembered as accepted: the same events are new once the log
			// works again.
			log.fail(nil)
			receipts, err := g.AcceptAll(t.Context(), requests)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range receipts {
				if r.Duplicate {
					t.Errorf("receipt %+v", r)
				}
			}
			log.CheckAll(t)
		})
	}
}

// A caller waits for another one that is writing the same id. That one keeps the id
// until the log has answered, even when it gives up before: else the log would have
// the event twice.
func TestWaitingForAnotherWriter(t *testing.T) {
	t.Parallel()
	g, log := setup(t, nil)
	log.hold, log.entered = make(chan struct{}), make(chan struct{}, 2)
	id := oldID(1)
	writing, stop := context.WithCancel(t.Context())
	type answer struct {
		receipt bloodbank.Receipt
		err     error
	}
	first, second := make(chan answer, 1), make(chan answer, 1)
	go func() { r, err := g.Accept(writing, demo(id)); first <- answer{r, err} }()
	<-log.entered

	impatient, leave := context.WithCancel(t.Context())
	leave()
	_, _, err := g.recent.claim(impatient, id)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	stop()
	go func() { r, err := g.Accept(t.Context(), demo(id)); second <- answer{r, err} }()
	log.hold <- struct{}{}
	if a := <-first; a.err != nil || a.receipt.Duplicate {
		t.Errorf("the first: %+v", a)
	}
	if a := <-second; a.err != nil || !a.receipt.Duplicate || a.receipt.Sequence != 1 {
		t.Errorf("the second: %+v", a)
	}
	if log.count() != 1 || len(log.entered) != 0 {
		t.Errorf("%d records, %d more appends", log.count(), len(log.entered))
	}
}

// Who waits for another writer takes over when that one fails.
func TestTakingOverFromAnotherWriter(t *testing.T) {
	t.Parallel()
	g, log := setup(t, nil)
	log.hold, log.entered = make(chan struct{}), make(chan struct{}, 2)
	id := oldID(1)
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { _, err := g.Accept(t.Context(), demo(id)); first <- err }()
	<-log.entered
	go func() { _, err := g.Accept(t.Context(), demo(id)); second <- err }()
	log.fail(errors.New("the disk is gone"))
	log.hold <- struct{}{}
	if err := <-first; err == nil {
		t.Error("the first one worked")
	}
	<-log.entered // the second one writes now
	log.fail(nil)
	log.hold <- struct{}{}
	if err := <-second; err != nil || log.count() != 1 {
		t.Errorf("got %v; %d records", err, log.count())
	}
}

func TestCallerGaveUp(t *testing.T) {
	t.Parallel()
	g, log := setup(t, nil)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := g.Accept(over, demo(oldID(1)))
	refused(t, err, bloodbank.CodeTimeout)

	// While another holds the id, in a batch that has claimed others already.
	held := oldID(5)
	if _, _, err := g.recent.claim(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	waiting, leave := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := g.AcceptAll(waiting, []Request{demo(oldID(1)), demo(held)})
		done <- err
	}()
	leave()
	refused(t, <-done, bloodbank.CodeTimeout)
	g.recent.abandon(held)
	if log.count() != 0 || len(g.recent.writing) != 0 {
		t.Errorf("%d records, %d claims are left", log.count(), len(g.recent.writing))
	}
}

// With the real log and the real schemas, across a restart.
func TestRealLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	schemas, err := schema.Open(t.Context(), schema.Options{})
	if err != nil {
		t.Fatal(err)
	}
	id := newID(t)
	voice := Request{Envelope: bloodbank.Envelope{EventID: id, EventType: "other.thing.happened", Payload: []byte("{\n}")}, Permissive: true}
	for round := range 2 {
		log, err := wal.Open(t.Context(), wal.Options{Dir: dir, SegmentSize: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		g := New(Options{Log: log, Schemas: schemas})
		r, err := log.NewReader(0)
		if err != nil {
			t.Fatal(err)
		}
		for {
			record, ok, err := r.TryNext()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			g.Remember(record.Seq, record.Data)
		}
		receipt, err := g.Accept(t.Context(), voice)
		if err != nil || receipt.Sequence != 1 || receipt.Duplicate != (round == 1) {
			t.Errorf("round %d: %+v %v", round, receipt, err)
		}
		many := make([]Request, 100)
		for i := range many {
			many[i] = Request{Envelope: bloodbank.Envelope{EventType: "other.thing.happened", Payload: make([]byte, 4000)}, SkipValidation: true}
			for j := range many[i].Envelope.Payload {
				many[i].Envelope.Payload[j] = '1'
			}
		}
		_, err = g.AcceptAll(t.Context(), many)
		refused(t, err, bloodbank.CodeTooLarge)
		strict := voice
		strict.Permissive, strict.Envelope.EventID = false, newID(t)
		_, err = g.Accept(t.Context(), strict)
		refused(t, err, bloodbank.CodeUnknownType)
		if err := errors.Join(r.Close(), log.Close()); err != nil {
			t.Fatal(err)
		}
		_, err = g.Accept(t.Context(), Request{Envelope: bloodbank.Envelope{EventType: "x.y", Payload: []byte("1")}, Permissive: true})
		refused(t, err, bloodbank.CodeUnavailable)
	}
}

func TestRememberIgnoresWhatIsNoEvent(t *testing.T) {
	t.Parallel()
	g, _ := setup(t, nil)
	for _, record := range []string{"", "{}", `{"event_id":"`, `{"event_id":"0198c0de-0000-7000-8000-00000000000x","a":1}`} {
		g.Remember(1, []byte(record))
	}
	if len(g.recent.young) != 0 {
		t.Errorf("%d are remembered", len(g.recent.young))
	}
}
