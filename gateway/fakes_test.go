package gateway

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank"
)

// fakeLog keeps records in memory.
type fakeLog struct {
	mu      sync.Mutex
	records [][]byte
	batches []int // sizes of the calls, in order
	err     error
	hold    chan struct{} // where not nil, an append waits for it or for its context
	entered chan struct{} // told when an append waits
}

func (l *fakeLog) Append(ctx context.Context, record []byte) (uint64, error) {
	return l.AppendBatch(ctx, [][]byte{record})
}

func (l *fakeLog) AppendBatch(ctx context.Context, records [][]byte) (uint64, error) {
	if l.hold != nil {
		l.entered <- struct{}{}
		select {
		case <-l.hold:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, l.err
	}
	first := uint64(len(l.records) + 1)
	for _, r := range records {
		l.records = append(l.records, bytes.Clone(r))
	}
	l.batches = append(l.batches, len(records))
	return first, nil
}

func (l *fakeLog) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// CheckAll requires what must hold after every step: each record is one line, is
// read by everybody behind the log, and has an id of its own.
func (l *fakeLog) CheckAll(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := make(map[bloodbank.EventID]bool)
	for i, r := range l.records {
		if bytes.ContainsAny(r, "\r\n") {
			t.Errorf("record %d has several lines: %q", i+1, r)
		}
		e, err := bloodbank.DecodeEnvelope(r)
		if err != nil {
			t.Errorf("record %d: %v: %s", i+1, err, r)
		}
		if seen[e.EventID] {
			t.Errorf("record %d is a second %s", i+1, e.EventID)
		}
		seen[e.EventID] = true
		if id, ok := idOfRecord(r); !ok || id != e.EventID {
			t.Errorf("record %d: its id cannot be peeked", i+1)
		}
	}
}

func (l *fakeLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.records)
}

// fakeSchemas knows demo.* types; a payload with the text "bad" in it breaks the
// schema at /where.
type fakeSchemas struct{}

func (fakeSchemas) Validate(t bloodbank.EventType, payload []byte) error {
	if t.Domain() != "demo" {
		return bloodbank.Errorf(bloodbank.CodeUnknownType, "no schema for %s; pass --permissive", t)
	}
	if bytes.Contains(payload, []byte("bad")) {
		err := bloodbank.Errorf(bloodbank.CodeSchema, "the payload breaks its schema")
		err.Details = []bloodbank.Detail{{Pointer: "/where", Message: "is bad"}}
		return err
	}
	return nil
}

func (s fakeSchemas) ValidatePermissive(t bloodbank.EventType, payload []byte) error {
	if t.Domain() != "demo" {
		return nil
	}
	return s.Validate(t, payload)
}

// fakeArchive holds ids, fails or hangs.
type fakeArchive struct {
	mu    sync.Mutex
	ids   []bloodbank.EventID
	err   error
	hang  bool
	asked int
}

func (a *fakeArchive) Has(ctx context.Context, id bloodbank.EventID) (bool, error) {
	a.mu.Lock()
	a.asked++
	has, err, hang := slices.Contains(a.ids, id), a.err, a.hang
	a.mu.Unlock()
	if hang {
		<-ctx.Done()
		return false, ctx.Err()
	}
	return has && err == nil, err
}

func (a *fakeArchive) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked
}

var errDead = errors.New("dead letter")

// fakeProgress has what it lists; dead sequences fail; all else waits for ctx.
type fakeProgress struct {
	confirmed, dead []uint64
	stored          []bloodbank.EventID
	mu              sync.Mutex
	lookups         int
}

func (p *fakeProgress) Confirmed(ctx context.Context, sequence uint64) error {
	if slices.Contains(p.confirmed, sequence) {
		return nil
	}
	if slices.Contains(p.dead, sequence) {
		return errDead
	}
	<-ctx.Done()
	return ctx.Err()
}

func (p *fakeProgress) Stored(ctx context.Context, id bloodbank.EventID) error {
	p.mu.Lock()
	p.lookups++
	p.mu.Unlock()
	if slices.Contains(p.stored, id) {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

// now is the time of the tests' clock.
func now() time.Time { return time.Date(2026, 1, 27, 10, 0, 0, 123456789, time.UTC) }

// setup returns a gateway on a fake log; change alters its options.
func setup(t testing.TB, change func(*Options)) (*Gateway, *fakeLog) {
	t.Helper()
	log := &fakeLog{}
	o := Options{Log: log, Schemas: fakeSchemas{}, Host: "box", Now: now}
	if change != nil {
		change(&o)
	}
	return New(o), log
}

func newID(t testing.TB) bloodbank.EventID {
	t.Helper()
	id, err := bloodbank.NewEventID()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// oldID is an id that the gateway cannot know by its age, so it asks the archive.
func oldID(n byte) bloodbank.EventID { return bloodbank.EventID{1, 2, 3, 4, 5, 6, 0x40, 8, 0x80, n} }

func demo(id bloodbank.EventID) Request {
	return Request{Envelope: bloodbank.Envelope{EventID: id, EventType: "demo.thing.happened", Payload: []byte(`{"n":1}`)}}
}

func refused(t *testing.T, err error, code bloodbank.Code) *bloodbank.Error {
	t.Helper()
	var e *bloodbank.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got %v (%s), want code %s", err, bloodbank.CodeOf(err), code)
	}
	return e
}
