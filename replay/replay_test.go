package replay

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/gateway"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlite"
)

// bench is a real store and gateway, and a log and a sandbox that remember.
type bench struct {
	*testing.T
	*Replayer
	store *sqlite.Store
	ids   map[string]bloodbank.EventID // by name

	mu    sync.Mutex
	log   [][]byte
	aside []bus.Message
	fail  func(n int) error // of the n-th event, from 1; may be nil
}

func (b *bench) Append(_ context.Context, record []byte) (uint64, error) {
	return b.AppendBatch(b.Context(), [][]byte{record})
}

func (b *bench) AppendBatch(_ context.Context, records [][]byte) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range records {
		b.log = append(b.log, slices.Clone(r))
	}
	if b.fail != nil {
		return uint64(len(b.log)), b.fail(len(b.log))
	}
	return uint64(len(b.log)), nil
}

func (b *bench) PublishAside(_ context.Context, m bus.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.aside = append(b.aside, m)
	if b.fail != nil {
		return b.fail(len(b.aside))
	}
	return nil
}

func (b *bench) Aside() string { return "over there" }

// schemas accept all but bad things.
type schemas struct{}

func (schemas) Validate(t bloodbank.EventType, _ []byte) error {
	if t == "bad.thing.made" {
		return bloodbank.Errorf(bloodbank.CodeSchema, "it is bad")
	}
	return nil
}

func (s schemas) ValidatePermissive(t bloodbank.EventType, payload []byte) error {
	return s.Validate(t, payload)
}

func newBench(t *testing.T) *bench {
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "events.db")})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, store: s, ids: map[string]bloodbank.EventID{}}
	b.Replayer = New(t.Context(), Options{
		Store: s, Tracker: s, Gateway: gateway.New(gateway.Options{Log: b, Schemas: schemas{}}), Sandbox: b, Rate: 100_000,
	})
	t.Cleanup(func() {
		b.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// put stores an event a second later than the one before, with parents by name.
func (b *bench) put(name string, parents ...string) {
	b.Helper()
	b.putType(name, "test.thing.made", parents...)
}

func (b *bench) id(name string) bloodbank.EventID {
	if _, ok := b.ids[name]; !ok {
		id, err := bloodbank.NewEventID()
		if err != nil {
			b.Fatal(err)
		}
		b.ids[name] = id
	}
	return b.ids[name]
}

func (b *bench) putType(name string, typ bloodbank.EventType, parents ...string) {
	b.Helper()
	e := bloodbank.Envelope{
		EventID: b.id(name), EventType: typ, Timestamp: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(len(b.ids)) * time.Second),
		Version: bloodbank.Version, Source: bloodbank.Source{Host: "box", Type: bloodbank.SourceManual, App: "test"},
		Payload: fmt.Appendf(nil, `{"name":%q,"big":9007199254740993}`, name),
	}
	for _, p := range parents {
		e.CorrelationIDs = append(e.CorrelationIDs, b.id(p))
	}
	raw, err := e.AppendJSON(nil)
	if err == nil {
		_, err = b.store.Append(b.Context(), store.Batch{Events: []store.Incoming{{Envelope: e, Raw: raw}}})
	}
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) filter(text string) *store.Filter {
	b.Helper()
	f, err := store.ParseFilter(text, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	return &f
}

// names are those of a plan's events.
func (b *bench) names(p Plan) (names []string) {
	for _, e := range p.Events {
		for name, id := range b.ids {
			if id == e.ID {
				names = append(names, name)
			}
		}
	}
	return names
}

func (b *bench) plan(r Request, want ...string) Plan {
	b.Helper()
	p, err := b.Plan(b.Context(), r)
	if err != nil || !slices.Equal(b.names(p), want) || p.Count != len(want) {
		b.Fatalf("the plan is %v (%d), %v; want %v", b.names(p), p.Count, err, want)
	}
	return p
}

// do runs a job to its end.
func (b *bench) do(r Request) Job {
	b.Helper()
	j, err := b.Start(b.Context(), r)
	if err != nil {
		b.Fatal(err)
	}
	b.work.Wait()
	if j, err = b.Job(j.ID); err != nil || j.State == Running || j.Ended.IsZero() {
		b.Fatalf("%+v, %v", j, err)
	}
	return j
}

// sent decodes what the log got, by the name in the payload.
func (b *bench) sent() map[string]bloodbank.Envelope {
	b.Helper()
	out := map[string]bloodbank.Envelope{}
	for _, record := range b.log {
		e, err := bloodbank.DecodeEnvelope(record)
		if err != nil {
			b.Fatal(err)
		}
		for name, id := range b.ids {
			if e.ReplayOf == id {
				out[name] = e
			}
		}
	}
	return out
}

// diamond is a root, two children, their common child, and somebody else.
func diamond(t *testing.T) *bench {
	b := newBench(t)
	b.put("root", "unknown")
	b.put("left", "root")
	b.put("other")
	b.put("right", "root")
	b.put("joined", "right", "left", "other")
	return b
}

func TestPlan(t *testing.T) {
	t.Parallel()
	b := diamond(t)
	p := b.plan(Request{IDs: []bloodbank.EventID{b.ids["root"]}, Tree: true}, "root", "left", "right", "joined")
	if p.Target != ToBus || p.Truncated || len(p.Types) != 1 || p.Types[0] != (TypeCount{"test.thing.made", 4}) || !p.First.Before(p.Last) {
		t.Fatalf("%+v", p)
	}
	if !slices.Equal(p.Events[3].Within, []bloodbank.EventID{b.ids["right"], b.ids["left"]}) {
		t.Fatalf("%+v", p.Events[3])
	}
	b.plan(Request{IDs: []bloodbank.EventID{b.ids["joined"], b.ids["root"]}}, "root", "joined")
	b.plan(Request{Filter: b.filter("has:parents")}, "root", "left", "right", "joined")
	p = b.plan(Request{Filter: b.filter("type:test.*"), Limit: 2}, "root", "left")
	if !p.Truncated {
		t.Fatal("a plan that was cut does not say so")
	}
	p = b.plan(Request{IDs: []bloodbank.EventID{b.ids["root"]}, Tree: true, Limit: 3}, "root", "left", "right")
	if !p.Truncated {
		t.Fatal("a tree that was cut does not say so")
	}
	if len(b.log) != 0 {
		t.Fatal("a plan has sent something")
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	b := diamond(t)
	one := []bloodbank.EventID{b.ids["root"]}
	for want, requests := range map[bloodbank.Code][]Request{
		bloodbank.CodeInvalid: {
			{}, {IDs: one, Filter: b.filter("app:a")}, {Filter: &store.Filter{}}, {IDs: one, Target: "mars"}, {IDs: one, Limit: MaxEvents + 1},
			{IDs: one, Limit: -1}, {IDs: one, SameIDs: true}, {IDs: make([]bloodbank.EventID, 1001)},
		},
		bloodbank.CodeNotFound: {{IDs: []bloodbank.EventID{b.id("never stored")}}},
	} {
		for _, r := range requests {
			if _, err := b.Plan(t.Context(), r); bloodbank.CodeOf(err) != want {
				t.Errorf("%+v: %v, want %s", r, err, want)
			}
			if _, err := b.Start(t.Context(), r); bloodbank.CodeOf(err) != want {
				t.Errorf("%+v: %v, want %s", r, err, want)
			}
		}
	}
	b.o.Sandbox = nil
	if _, err := b.Plan(t.Context(), Request{IDs: one, Target: ToSandbox}); bloodbank.CodeOf(err) != bloodbank.CodeUnsupported {
		t.Error(err)
	}
	if _, err := b.Job("nobody"); bloodbank.CodeOf(err) != bloodbank.CodeNotFound {
		t.Error(err)
	}
}

func TestATreeKeepsItsEdges(t *testing.T) {
	t.Parallel()
	b := diamond(t)
	j := b.do(Request{IDs: []bloodbank.EventID{b.ids["root"]}, Tree: true})
	if j.State != Done || j.Sent != 4 || j.Failed != 0 || j.Count != 4 {
		t.Fatalf("%+v", j)
	}
	got := b.sent()
	for name, want := range map[string][]bloodbank.EventID{
		"root":   {b.ids["root"]},
		"left":   {got["root"].EventID, b.ids["left"]},
		"right":  {got["root"].EventID, b.ids["right"]},
		"joined": {got["right"].EventID, got["left"].EventID, b.ids["joined"]},
	} {
		e := got[name]
		if !slices.Equal(e.CorrelationIDs, want) || e.ReplayOf != b.ids[name] || e.EventID == b.ids[name] {
			t.Errorf("%s came again as %+v, want the parents %v", name, e, want)
		}
		if string(e.Payload) != fmt.Sprintf(`{"name":%q,"big":9007199254740993}`, name) || e.Source.App != "test" || time.Since(e.Timestamp) > time.Hour {
			t.Errorf("%s came again as %+v", name, e)
		}
	}
}

func TestCyclesEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.id("hen")
	b.put("hen", "egg")
	b.put("egg", "hen")
	b.put("chick", "egg")
	j := b.do(Request{IDs: []bloodbank.EventID{b.ids["hen"]}, Tree: true})
	got := b.sent()
	if j.Sent != 3 || !slices.Equal(got["hen"].CorrelationIDs, []bloodbank.EventID{got["egg"].EventID, b.ids["hen"]}) {
		t.Fatalf("%+v, %+v", j, got["hen"])
	}
}

func TestSandbox(t *testing.T) {
	t.Parallel()
	b := diamond(t)
	r := Request{Filter: b.filter("has:parents"), Target: ToSandbox}
	if p := b.plan(r, "root", "left", "right", "joined"); p.Aside != "over there" {
		t.Fatalf("%+v", p)
	}
	if j := b.do(r); j.Sent != 4 || len(b.aside) != 4 || len(b.log) != 0 {
		t.Fatalf("%+v, %d aside, %d in the log", j, len(b.aside), len(b.log))
	}
	e, err := bloodbank.DecodeEnvelope(b.aside[1].Data)
	if err != nil || e.EventID != b.aside[1].ID || e.ReplayOf != b.ids["left"] || b.aside[1].Parent != b.aside[0].ID {
		t.Fatalf("%+v, %v", e, err)
	}
	b.aside = nil
	r.SameIDs = true
	b.do(r)
	original, err := b.store.Get(t.Context(), b.ids["root"])
	if err != nil || b.aside[0].ID != b.ids["root"] || string(b.aside[0].Data) != string(original.Raw) {
		t.Fatalf("%+v, %v", b.aside[0], err)
	}
}

func TestFailuresAreListedAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.put("first")
	b.putType("bad", "bad.thing.made")
	b.put("last")
	j := b.do(Request{Filter: b.filter("app:test")})
	if j.State != Done || j.Sent != 2 || j.Failed != 1 || len(j.Failures) != 1 || j.Failures[0].ID != b.ids["bad"] || j.Failures[0].Error.Code != bloodbank.CodeSchema {
		t.Fatalf("%+v", j)
	}
}

func TestABrokenWayEndsTheJob(t *testing.T) {
	t.Parallel()
	b := diamond(t)
	b.fail = func(n int) error {
		if n == 2 {
			return errors.New("no connection")
		}
		return nil
	}
	j := b.do(Request{Filter: b.filter("app:test"), Target: ToSandbox})
	if j.State != Stopped || j.Sent != 1 || j.Failed != 1 || j.Error != "no connection" {
		t.Fatalf("%+v", j)
	}
	// The next one may begin.
	b.fail = nil
	if j := b.do(Request{Filter: b.filter("app:test"), Target: ToSandbox}); j.State != Done || j.Sent != 5 {
		t.Fatalf("%+v", j)
	}
}

func TestOneJobAtATimeAndCloseEndsIt(t *testing.T) {
	t.Parallel()
	b := diamond(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	b.fail = func(n int) error {
		if n == 1 {
			close(entered)
			<-leave
		}
		return nil
	}
	r := Request{Filter: b.filter("app:test"), Target: ToSandbox}
	j, err := b.Start(t.Context(), r)
	if err != nil || j.State != Running || j.Count != 5 {
		t.Fatalf("%+v, %v", j, err)
	}
	<-entered
	if _, err := b.Start(t.Context(), r); bloodbank.CodeOf(err) != bloodbank.CodeConflict {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		b.Close()
	}()
	<-b.life.Done()
	close(leave)
	<-closed
	if j, err = b.Job(j.ID); err != nil || j.State != Stopped || j.Sent != 1 || j.Error == "" {
		t.Fatalf("%+v, %v", j, err)
	}
	if _, err := b.Start(t.Context(), r); bloodbank.CodeOf(err) != bloodbank.CodeUnavailable {
		t.Fatal(err)
	}
}
