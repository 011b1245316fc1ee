package retention

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/sqlite"
)

// bench is a real store with a clock of its own.
type bench struct {
	*testing.T
	*sqlite.Store
	now time.Time
}

func newBench(t *testing.T) *bench {
	b := &bench{T: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "events.db"), Now: func() time.Time { return b.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	b.Store = s
	return b
}

func (b *bench) keeper(o Options) *Keeper {
	o.Store, o.Pause, o.Now = b.Store, 1, func() time.Time { return b.now }
	return New(o)
}

// put stores an event of each type, an hour after what came before.
func (b *bench) put(types ...string) {
	b.Helper()
	b.now = b.now.Add(time.Hour)
	for _, typ := range types {
		id, err := bloodbank.NewEventID()
		if err != nil {
			b.Fatal(err)
		}
		e := bloodbank.Envelope{
			EventID: id, EventType: bloodbank.EventType(typ), Timestamp: b.now, Version: bloodbank.Version,
			Source: bloodbank.Source{Host: "box", Type: bloodbank.SourceManual, App: "test"}, Payload: fmt.Appendf(nil, `{"filler":%q}`, strings.Repeat("x", 500)),
		}
		raw, err := e.AppendJSON(nil)
		if err == nil {
			_, err = b.Append(b.Context(), store.Batch{Events: []store.Incoming{{Envelope: e, Raw: raw}}})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// left sweeps and returns the types that are left, oldest first.
func (b *bench) left(k *Keeper) string {
	b.Helper()
	if err := k.Sweep(b.Context()); err != nil {
		b.Fatal(err)
	}
	events, err := b.After(b.Context(), 0, 1000)
	if err != nil {
		b.Fatal(err)
	}
	var types []string
	for _, e := range events {
		types = append(types, string(e.Envelope.EventType))
	}
	report, err := store.VerifyLedger(b.Context(), b.Store, store.VerifyOptions{})
	if err != nil || !report.OK {
		b.Fatalf("%+v, %v", report, err)
	}
	return strings.Join(types, " ")
}

func (b *bench) want(k *Keeper, want string) {
	b.Helper()
	if got := b.left(k); got != want {
		b.Fatalf("left are %q, want %q", got, want)
	}
}

func TestTheDefaultKeepsEverything(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.put("a.b", "c.d")
	b.now = b.now.AddDate(50, 0, 0)
	k := b.keeper(Options{})
	b.want(k, "a.b c.d")
	if s := k.Status(t.Context()); s.Events != 2 || s.Removed != 0 || s.Swept.IsZero() || !k.o.Keeps() {
		t.Fatalf("%+v", s)
	}
}

func TestRulesByAgeAndType(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.put("llm.prompt", "debug.trace.made", "bill.paid", "x.y")
	b.put("llm.prompt", "debug.trace.made")
	k := b.keeper(Options{MaxAge: 10 * time.Hour, Rules: []Rule{
		{"bill.*", Forever}, {"debug.*", 2 * time.Hour}, {"llm.*", 5 * time.Hour}, {"debug.trace.made", Forever},
	}})
	b.want(k, "llm.prompt debug.trace.made bill.paid x.y llm.prompt debug.trace.made")
	b.now = b.now.Add(90 * time.Minute) // the first debug is 2:30 old
	b.want(k, "llm.prompt bill.paid x.y llm.prompt debug.trace.made")
	b.put("end.reached")
	b.now = b.now.Add(3 * time.Hour)
	b.want(k, "bill.paid x.y end.reached")
	b.now = b.now.Add(20 * time.Hour)
	b.want(k, "bill.paid end.reached") // the newest stays, whatever its age
	s := k.Status(t.Context())
	if s.Removed != 5 || s.RemovedEvents != 5 || s.Events != 2 || !slices.Contains(s.Rules, "bill.*=forever") || s.MaxAge != "10h0m0s" {
		t.Fatalf("%+v", s)
	}
	removals, err := b.RemovalLog(t.Context(), 0, 10)
	if err != nil || removals[0].Reason != "age: debug.* older than 2h0m0s" {
		t.Fatalf("%+v, %v", removals, err)
	}
}

func TestLimitOfSize(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for range 10 {
		b.put("some.thing.made", "kept.thing.made")
	}
	usage, err := b.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(30 * time.Minute)
	k := b.keeper(Options{MaxBytes: usage.Bytes * 8 / 10, Rules: []Rule{{"kept.*", Forever}}, Batch: 3})
	if got := b.left(k); strings.Count(got, "kept") != 10 || strings.Count(got, "some") != 6 || k.Status(t.Context()).Over != 0 {
		t.Fatalf("%q, %+v", got, k.Status(t.Context()))
	}
	// What is young stays, and it is said that there is too much.
	k = b.keeper(Options{MaxBytes: 1, Rules: []Rule{{"kept.*", Forever}}})
	if got := b.left(k); strings.Count(got, "some") != 1 || k.Status(t.Context()).Over == 0 {
		t.Fatalf("%q, %+v", got, k.Status(t.Context()))
	}
}

func TestFollowersAreWaitedFor(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.put("a.one", "a.two", "a.three", "a.four")
	b.now = b.now.Add(100 * time.Hour)
	floor := int64(2)
	k := b.keeper(Options{MaxAge: 2 * time.Hour, Floor: func() int64 { return floor }})
	b.want(k, "a.three a.four")
	floor = -1
	b.want(k, "a.three a.four")
	floor = 4
	b.want(k, "a.four")
}

// broken fails to remove until it is mended.
type broken struct {
	Store
	err error
}

func (s *broken) Remove(ctx context.Context, sequences []int64, reason string) (store.Removal, error) {
	if s.err != nil {
		return store.Removal{}, s.err
	}
	return s.Store.Remove(ctx, sequences, reason)
}

func TestAFaultIsShownAndTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.put("a.one", "a.two")
	b.now = b.now.Add(100 * time.Hour)
	k := b.keeper(Options{MaxAge: 2 * time.Hour})
	s := &broken{b.Store, errors.New("the disk is on fire")}
	k.o.Store = s
	k.report(t.Context(), k.Sweep(t.Context()))
	if !strings.Contains(k.Status(t.Context()).Fault, "on fire") {
		t.Fatalf("%+v", k.Status(t.Context()))
	}
	s.err = nil
	b.want(k, "a.two")
	if k.Status(t.Context()).Fault != "" {
		t.Fatalf("%+v", k.Status(t.Context()))
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for range 30 {
		b.put("a.one")
	}
	b.now = b.now.Add(100 * time.Hour)
	k := b.keeper(Options{MaxAge: 2 * time.Hour, Batch: 1})
	k.o.Pause = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.Run(ctx)
	}()
	for k.Status(t.Context()).Removed == 0 { // the first batch, then it rests
		runtime.Gosched()
		if err := context.Cause(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	<-done
	if n := k.Status(t.Context()).Removed; n != 1 {
		t.Fatalf("%d removed", n)
	}
}
