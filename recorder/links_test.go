package recorder_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/recorder"
	"github.com/33god/bloodbank/store"
)

// list is a store by sequence.
type list struct {
	mu     sync.Mutex
	events []store.Event
	looks  int
	fault  error
}

// grow adds n events; each but the first names the one before.
func (l *list) grow(n int) (last int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		e := store.Event{Sequence: int64(len(l.events)) + 1, StoredAt: time.Now(), Envelope: bloodbank.Envelope{EventID: randomID()}}
		if len(l.events) > 0 {
			e.Envelope.CorrelationIDs = []bloodbank.EventID{l.events[len(l.events)-1].Envelope.EventID}
		}
		l.events = append(l.events, e)
	}
	return int64(len(l.events))
}

// first is the name of the store's position.
func (l *list) first() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events[0].Envelope.EventID.String()
}

func randomID() (id bloodbank.EventID) {
	for i := range id {
		id[i] = byte(rand.Uint32())
	}
	return id
}

func (l *list) After(_ context.Context, seq int64, limit int) ([]store.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looks++
	if l.fault != nil {
		return nil, l.fault
	}
	from := min(max(seq, 0), int64(len(l.events)))
	return slices.Clone(l.events[from:min(from+int64(limit), int64(len(l.events)))]), nil
}

func (l *list) Last(context.Context) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.events)), l.fault
}

// memory is a keeper. Faults come one for each call, in turn; lost answers come
// after the call has been carried out.
type memory struct {
	mu       sync.Mutex
	links    map[bloodbank.EventID][]bloodbank.EventID
	at       map[string]correlation.Position
	faults   []error
	lose     []error
	keeps    int
	calls    int
	most     int // events in one call
	rewrites int // links that were there already
}

func newMemory() *memory {
	m := &memory{}
	m.flush()
	return m
}

func (m *memory) flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.links, m.at = map[bloodbank.EventID][]bloodbank.EventID{}, map[string]correlation.Position{}
}

func (m *memory) place(name string, at correlation.Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at[name] = at
}

func (m *memory) fail(before, after []error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults, m.lose = before, after
}

func shift(faults *[]error) (err error) {
	if len(*faults) > 0 {
		err, *faults = (*faults)[0], (*faults)[1:]
	}
	return err
}

func (m *memory) Position(_ context.Context, name string) (correlation.Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	return m.at[name], shift(&m.faults)
}

func (m *memory) Keep(_ context.Context, name string, from, to correlation.Position, events ...bloodbank.Envelope) (k correlation.Kept, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls, m.keeps, m.most = m.calls+1, m.keeps+1, max(m.most, len(events))
	if err := shift(&m.faults); err != nil {
		return k, err
	}
	for _, e := range events {
		if m.links[e.EventID] == nil {
			k.Written++
		} else {
			m.rewrites++
		}
		m.links[e.EventID] = e.CorrelationIDs
	}
	if m.at[name] == from {
		m.at[name] = to
	}
	k.Position = m.at[name]
	return k, shift(&m.lose)
}

func (m *memory) Missing(_ context.Context, events ...bloodbank.Envelope) (n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range events {
		if m.links[e.EventID] == nil {
			n++
		}
	}
	return n, nil
}

func (m *memory) Forget(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.at, name)
	return nil
}

func (m *memory) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.links)
}

// follow runs a follower on the bubble's clock until the test ends.
func follow(t *testing.T, o recorder.LinksOptions) *recorder.Links {
	t.Helper()
	l := recorder.NewLinks(o)
	if err := l.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return l
}

// whole fails unless the keeper has all links and the follower says so.
func whole(t *testing.T, l *recorder.Links, s *list, m *memory) {
	t.Helper()
	synctest.Wait()
	last, _ := s.Last(t.Context())
	status := l.Status(t.Context())
	if m.count() != max(int(last)-1, 0) || !l.Ready() || status.Lag != 0 || status.Position != last || status.Fault != "" {
		t.Fatalf("%d links of %d events, ready %t, %+v", m.count(), last, l.Ready(), status)
	}
}

func TestLinksFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, m := &list{}, newMemory()
		l := follow(t, recorder.LinksOptions{Source: s, Keeper: m, MaxBatch: 10})
		whole(t, l, s, m) // nothing is all there is
		for range 5 {
			l.Wake(s.grow(7))
			if l.Ready() {
				t.Fatal("it has heard of more than it has kept")
			}
			whole(t, l, s, m)
		}
		s.grow(95) // by another process: nobody says so
		time.Sleep(3 * time.Second)
		whole(t, l, s, m)
		if m.most > 10 || l.Status(t.Context()).Written != 129 {
			t.Fatalf("batches of %d, %+v", m.most, l.Status(t.Context()))
		}
	})
}

// A restart goes on where the last one ended; links are not read again.
func TestLinksGoOnAfterRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, m := &list{}, newMemory()
		s.grow(1000)
		l := follow(t, recorder.LinksOptions{Source: s, Keeper: m})
		whole(t, l, s, m)
		if err := l.Stop(t.Context()); err != nil || l.Ready() {
			t.Fatal(err)
		}
		s.grow(3)
		m.keeps = 0
		again := follow(t, recorder.LinksOptions{Source: s, Keeper: m})
		whole(t, again, s, m)
		if m.keeps != 1 || m.rewrites != 0 {
			t.Fatalf("%d batches, %d links written again", m.keeps, m.rewrites)
		}
		if l.Start(t.Context()) == nil {
			t.Fatal("a stopped follower starts")
		}
	})
}

// TestLinksRebuildThemselves: a keeper that was flushed is filled from the start,
// whether somebody publishes or not; so is one whose position is not of this
// store.
func TestLinksRebuildThemselves(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(s *list, m *memory, l *recorder.Links){
		"flushed, idle":      func(_ *list, m *memory, _ *recorder.Links) { m.flush() },
		"flushed, then used": func(s *list, m *memory, l *recorder.Links) { m.flush(); l.Wake(s.grow(1)) },
		"ahead of the store": func(s *list, m *memory, _ *recorder.Links) {
			m.flush()
			m.place(s.first(), correlation.Position{Sequence: 5000, Event: randomID()})
		},
		"another store's event": func(s *list, m *memory, _ *recorder.Links) {
			m.flush()
			m.place(s.first(), correlation.Position{Sequence: 50, Event: randomID()})
		},
		"store made anew": func(s *list, m *memory, _ *recorder.Links) {
			m.flush()
			s.mu.Lock()
			s.events = nil
			s.mu.Unlock()
			s.grow(20)
		},
		"store emptied": func(s *list, m *memory, _ *recorder.Links) {
			m.flush()
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, m := &list{}, newMemory()
				s.grow(100)
				l := follow(t, recorder.LinksOptions{Source: s, Keeper: m, MaxBatch: 30})
				whole(t, l, s, m)
				harm(s, m, l)
				time.Sleep(10 * time.Second)
				whole(t, l, s, m)
			})
		})
	}
}

// TestLinksThroughFaults: failed, failed but happened, and a store that fails;
// each heals, nothing is missing, and recording is never waited for.
func TestLinksThroughFaults(t *testing.T) {
	t.Parallel()
	down := bloodbank.Errorf(bloodbank.CodeUnavailable, "Redis does not answer")
	for name, c := range map[string]struct{ before, after []error }{
		"failed":              {[]error{down, down, down}, nil},
		"failed but happened": {nil, []error{down, down, down}},
		"both":                {[]error{nil, down, nil, nil, down}, []error{nil, down, down, nil, down}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, m := &list{}, newMemory()
				s.grow(100)
				m.fail(c.before, c.after)
				l := follow(t, recorder.LinksOptions{Source: s, Keeper: m, MaxBatch: 10})
				if status := l.Status(t.Context()); status.Fault == "" || l.Ready() {
					t.Fatalf("%+v, ready %t", status, l.Ready())
				}
				time.Sleep(time.Minute)
				whole(t, l, s, m)
			})
		})
	}
	t.Run("store", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s, m := &list{fault: errors.New("no disk")}, newMemory()
			l := follow(t, recorder.LinksOptions{Source: s, Keeper: m})
			if status := l.Status(t.Context()); status.Fault == "" || status.Lag != -1 || status.Position != -1 || l.Ready() {
				t.Fatalf("%+v", status)
			}
			s.mu.Lock()
			s.fault = nil
			s.mu.Unlock()
			s.grow(5)
			time.Sleep(time.Minute)
			whole(t, l, s, m)
		})
	})
}

// A keeper that stays down is asked now and then, not for each event.
func TestLinksDoNotHammer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, m := &list{}, newMemory()
		s.grow(10)
		faults := make([]error, 10_000)
		for i := range faults {
			faults[i] = bloodbank.Errorf(bloodbank.CodeUnavailable, "down")
		}
		m.fail(faults, nil)
		l := follow(t, recorder.LinksOptions{Source: s, Keeper: m})
		for range 1000 {
			l.Wake(s.grow(1))
			time.Sleep(60 * time.Millisecond)
		}
		if m.calls > 40 {
			t.Fatalf("%d calls in a minute", m.calls)
		}
		if status := l.Status(t.Context()); status.Lag != -1 || status.Fault == "" {
			t.Fatalf("%+v", status)
		}
		m.fail(nil, nil)
		time.Sleep(10 * time.Second)
		whole(t, l, s, m)
	})
}

// Several processes follow one store; together they keep all of it.
func TestLinksOfSeveralProcesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, m := &list{}, newMemory()
		s.grow(500)
		var all []*recorder.Links
		for range 3 {
			all = append(all, follow(t, recorder.LinksOptions{Source: s, Keeper: m, MaxBatch: 7}))
		}
		for range 20 {
			last := s.grow(20)
			for _, l := range all {
				l.Wake(last)
			}
		}
		time.Sleep(10 * time.Second)
		for _, l := range all {
			whole(t, l, s, m)
		}
	})
}

// Events that the keeper would have let go of are not even read.
func TestLinksLeaveOldEventsOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, m := &list{}, newMemory()
		s.grow(20_000)
		time.Sleep(40 * 24 * time.Hour)
		l := follow(t, recorder.LinksOptions{Source: s, Keeper: m, MaxAge: 30 * 24 * time.Hour})
		if m.count() != 0 || !l.Ready() || s.looks > 40 {
			t.Fatalf("%d links, ready %t, %d looks at the store", m.count(), l.Ready(), s.looks)
		}
		l.Wake(s.grow(5))
		synctest.Wait()
		if m.count() != 5 || !l.Ready() {
			t.Fatalf("%d links, %+v", m.count(), l.Status(t.Context()))
		}
	})
}

func TestRebuildLinks(t *testing.T) {
	t.Parallel()
	s, m := &list{}, newMemory()
	s.grow(1001)
	o := recorder.RebuildOptions{Source: s, Keeper: m, MaxBatch: 100, DryRun: true}
	var seen []int64
	o.Progress = func(at, last int64) {
		if last != 1001 {
			t.Errorf("of %d", last)
		}
		seen = append(seen, at)
	}
	got, err := recorder.RebuildLinks(t.Context(), o)
	if want := (recorder.Rebuilt{Events: 1001, Links: 1000, Written: 1000}); err != nil || got != want || m.count() != 0 || len(m.at) != 0 {
		t.Fatalf("dry run: %+v, %v, %d links", got, err, m.count())
	}
	if !slices.IsSorted(seen) || len(seen) < 11 || seen[len(seen)-1] != 1001 {
		t.Fatalf("progress: %v", seen)
	}
	o.DryRun = false
	m.fail([]error{nil, nil, nil, nil, errors.New("broken off")}, nil)
	if got, err = recorder.RebuildLinks(t.Context(), o); err == nil || got.Written != 299 {
		t.Fatalf("%+v, %v", got, err)
	}
	got, err = recorder.RebuildLinks(t.Context(), o)
	if want := (recorder.Rebuilt{Events: 701, Links: 701, Written: 701, Resumed: true}); err != nil || got != want || m.count() != 1000 || m.rewrites != 0 {
		t.Fatalf("resumed: %+v, %v, %d links", got, err, m.count())
	}
	got, err = recorder.RebuildLinks(t.Context(), o)
	if want := (recorder.Rebuilt{Events: 1001, Links: 1000}); err != nil || got != want || len(m.at) != 0 || m.most > 100 {
		t.Fatalf("again: %+v, %v, %v", got, err, m.at)
	}
}

// A rebuild leaves the position of a server alone, and ends although the store
// grows all the time.
func TestRebuildBesideAServer(t *testing.T) {
	t.Parallel()
	s, m := &list{}, newMemory()
	s.grow(100)
	server := correlation.Position{Sequence: 100, Event: s.events[99].Envelope.EventID}
	name := s.first()
	m.place(name, server)
	o := recorder.RebuildOptions{Source: s, Keeper: m, MaxBatch: 10, Progress: func(int64, int64) { s.grow(20) }}
	got, err := recorder.RebuildLinks(t.Context(), o)
	if err != nil || got.Written != 99 || m.at[name] != server || len(m.at) != 1 {
		t.Fatalf("%+v, %v, %v", got, err, m.at)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o.Keeper, o.Progress = dead{m}, nil
	if _, err := recorder.RebuildLinks(ctx, o); err == nil {
		t.Fatal("a rebuild that was cancelled has worked")
	}
	if got, err := recorder.RebuildLinks(t.Context(), recorder.RebuildOptions{Source: &list{}, Keeper: m}); err != nil || got.Events != 0 {
		t.Fatalf("an empty store: %+v, %v", got, err)
	}
}

// dead answers with the context's error.
type dead struct{ *memory }

func (dead) Position(ctx context.Context, _ string) (p correlation.Position, err error) {
	return p, ctx.Err()
}

func TestLinksLifecycle(t *testing.T) {
	t.Parallel()
	l := recorder.NewLinks(recorder.LinksOptions{Source: &list{}, Keeper: newMemory()})
	if err := l.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		l := recorder.NewLinks(recorder.LinksOptions{Source: &list{}, Keeper: newMemory()})
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { _ = l.Start(t.Context()) }) // it may have been stopped before
			wg.Go(func() { l.Wake(1) })
			wg.Go(func() {
				if err := l.Stop(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if err := l.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
