package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

// A caller waits for another one that is writing the same id, and takes over
// when that one fails.
func TestWaitingForAnotherWriter(t *testing.T) {
	t.Parallel()
	g, log := setup(t, nil)
	log.hold, log.entered = make(chan struct{}), make(chan struct{}, 2)
	id := oldID(1)
	writing, stop := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { _, err := g.Accept(writing, demo(id)); first <- err }()
	<-log.entered

	impatient, leave := context.WithCancel(t.Context())
	leave()
	_, err := g.AcceptAll(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = g.recent.claim(impatient, id)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	go func() { _, err := g.Accept(t.Context(), demo(id)); second <- err }()
	stop()
	refused(t, <-first, bloodbank.CodeTimeout)
	<-log.entered // the second one writes now
	log.hold <- struct{}{}
	if err := <-second; err != nil {
		t.Error(err)
	}
	if log.count() != 1 {
		t.Errorf("%d records", log.count())
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

func TestArchiveIsAskedOnlyWhereItMayKnow(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) bloodbank.EventID {
		ms := uint64(now().Add(d).UnixMilli())
		return bloodbank.EventID{byte(ms >> 40), byte(ms >> 32), byte(ms >> 24), byte(ms >> 16), byte(ms >> 8), byte(ms), 0x70, 0, 0x80, 1}
	}
	tests := []struct {
		name string
		id   bloodbank.EventID
		want int
	}{
		{"no id given", bloodbank.EventID{}, 0},
		{"an id that tells no time", oldID(1), 1},
		{"made before we remember", at(-time.Hour), 1},
		{"made about when we began to remember", at(30 * time.Second), 1},
		{"made since", at(2 * time.Minute), 0},
		{"made in the future", at(time.Hour), 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := &fakeArchive{}
			clock := now()
			g, _ := setup(t, func(o *Options) { o.Archive = a; o.Now = func() time.Time { return clock } })
			clock = clock.Add(2 * time.Minute)
			if _, err := g.Accept(t.Context(), demo(tt.id)); err != nil {
				t.Fatal(err)
			}
			if a.count() != tt.want {
				t.Errorf("asked %d times, want %d", a.count(), tt.want)
			}
		})
	}
}

// A store that is down costs one timeout, not one per event, and no event.
func TestArchiveDown(t *testing.T) {
	t.Parallel()
	for _, hang := range []bool{false, true} {
		t.Run(fmt.Sprintf("hangs %v", hang), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := &fakeArchive{err: errors.New("no database"), hang: hang, ids: []bloodbank.EventID{oldID(200)}}
				var logs strings.Builder
				g, log := setup(t, func(o *Options) {
					o.Archive, o.Now = a, time.Now
					o.Logger = slog.New(slog.NewTextHandler(&logs, nil))
				})
				begin := time.Now()
				for i := range byte(100) {
					if r, err := g.Accept(t.Context(), demo(oldID(i))); err != nil || r.Duplicate {
						t.Fatalf("%+v %v", r, err)
					}
				}
				if took := time.Since(begin); took > archiveTimeout || a.count() != 1 {
					t.Errorf("100 events took %v and asked %d times", took, a.count())
				}
				if n := strings.Count(logs.String(), "\n"); n != 1 {
					t.Errorf("%d lines in the log", n)
				}
				a.mu.Lock()
				a.err, a.hang = nil, false
				a.mu.Unlock()
				<-time.After(archiveRest) // virtual time
				if r, err := g.Accept(t.Context(), demo(oldID(200))); err != nil || !r.Duplicate {
					t.Errorf("not asked again: %+v %v", r, err)
				}
				log.CheckAll(t)
			})
		})
	}
}

func TestRecentIsBounded(t *testing.T) {
	t.Parallel()
	clock := now()
	r := newRecent(10, clock)
	id := func(i int) bloodbank.EventID { return bloodbank.EventID{byte(i >> 8), byte(i), 1} }
	for i := range 1000 {
		clock = clock.Add(time.Second)
		r.add(id(i), uint64(i+1), clock)
		if n := len(r.young) + len(r.old); n > 20 || i >= 20 && n <= 10 {
			t.Fatalf("%d ids after %d", n, i+1)
		}
		for back := range min(i+1, 10) {
			if seq, known := r.lookupLocked(id(i - back)); !known || seq != uint64(i-back+1) {
				t.Fatalf("%d of the newest is not known after %d", back, i+1)
			}
		}
		oldest := r.since // whoever came from here on must be known
		for j := range i + 1 {
			came := now().Add(time.Duration(j+1) * time.Second)
			if _, known := r.lookupLocked(id(j)); !known && !came.Before(oldest) {
				t.Fatalf("id %d came at %v, is not known, but since is %v", j, came, oldest)
			}
		}
	}
	r.add(id(999), 5, clock)
	if seq, _ := r.lookupLocked(id(999)); seq != 1000 {
		t.Errorf("the first sequence was lost: %d", seq)
	}
}

func TestAckLevels(t *testing.T) {
	t.Parallel()
	const bus, stored, log = bloodbank.AckBus, bloodbank.AckStored, bloodbank.AckWAL
	tests := []struct {
		name                 string
		ask                  bloodbank.AckLevel
		confirmed, dead, had bool // had: stored
		want                 bloodbank.AckLevel
	}{
		{"default", "", true, false, true, log},
		{"wal", log, true, false, true, log},
		{"bus reached", bus, true, false, false, bus},
		{"bus not reached in time", bus, false, false, false, log},
		{"bus, dead letter", bus, false, true, false, log},
		{"stored reached", stored, true, false, true, stored},
		{"stored not reached in time", stored, true, false, false, bus},
		{"stored, bus is down", stored, false, false, false, log},
		{"stored, dead letter", stored, false, true, false, log},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				id, p := oldID(1), &fakeProgress{}
				if tt.confirmed {
					p.confirmed = []uint64{1}
				}
				if tt.dead {
					p.dead = []uint64{1}
				}
				if tt.had {
					p.stored = []bloodbank.EventID{id}
				}
				g, _ := setup(t, func(o *Options) { o.Progress = p; o.WaitTimeout = time.Second })
				r := demo(id)
				r.Ack = tt.ask
				begin := time.Now()
				for range 2 { // the second is a duplicate and is told the same
					receipt, err := g.Accept(t.Context(), r)
					if err != nil || receipt.Ack != tt.want || receipt.Sequence != 1 {
						t.Errorf("%+v %v", receipt, err)
					}
				}
				waits := tt.want != tt.ask && tt.ask != "" && !tt.dead
				if took := time.Since(begin); took != 0 && !waits || waits && took != 2*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// One timeout holds for all events together, and what was reached by then is
// said without further waiting.
func TestAckLevelsOfABatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		requests := make([]Request, 50)
		p := &fakeProgress{}
		for i := range requests {
			requests[i] = demo(oldID(byte(i + 1)))
			requests[i].Ack = bloodbank.AckStored
			p.confirmed = append(p.confirmed, uint64(i+1))
		}
		requests[1].Ack = bloodbank.AckWAL
		p.stored = []bloodbank.EventID{oldID(1), oldID(3)}
		g, _ := setup(t, func(o *Options) { o.Progress = p })
		begin := time.Now()
		receipts, err := g.AcceptAll(t.Context(), requests)
		if err != nil || time.Since(begin) != DefaultWaitTimeout {
			t.Fatalf("%v after %v", err, time.Since(begin))
		}
		for i, want := range []bloodbank.AckLevel{bloodbank.AckStored, bloodbank.AckWAL, bloodbank.AckStored, bloodbank.AckBus} {
			if receipts[i].Ack != want {
				t.Errorf("event %d: %s, want %s", i, receipts[i].Ack, want)
			}
		}
		if p.lookups > 4 {
			t.Errorf("%d looks into the store after the time was over", p.lookups-3)
		}
	})
}

func TestArchivedDuplicateHasReachedTheBus(t *testing.T) {
	t.Parallel()
	id := oldID(1)
	g, _ := setup(t, func(o *Options) {
		o.Archive = &fakeArchive{ids: []bloodbank.EventID{id}}
		o.Progress = &fakeProgress{stored: []bloodbank.EventID{id}}
	})
	for _, level := range []bloodbank.AckLevel{bloodbank.AckBus, bloodbank.AckStored} {
		r := demo(id)
		r.Ack = level
		if receipt, err := g.Accept(t.Context(), r); err != nil || receipt.Ack != level || !receipt.Duplicate {
			t.Errorf("%+v %v", receipt, err)
		}
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
