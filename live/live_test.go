package live

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank/store"
)

func TestWatchPositions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		before  int // events in the store at start
		unseen  int // events that the hub was not told of yet when the watcher begins
		from    int64
		after   int // events added once it watches
		want    []int64
		prepare func(*fakeStore)
	}{
		{name: "the end of an empty store", from: -1, after: 2, want: []int64{1, 2}},
		{name: "the end", before: 3, from: -1, after: 2, want: []int64{4, 5}},
		{name: "everything", before: 3, from: 0, after: 1, want: []int64{1, 2, 3, 4}},
		{name: "resume in the past", before: 3, from: 2, after: 1, want: []int64{3, 4}},
		{name: "resume at the end", before: 3, from: 3, after: 1, want: []int64{4}},
		{name: "resume behind what the hub has seen", before: 3, unseen: 2, from: 4, after: 1, want: []int64{5, 6}},
		{name: "a position of an older store", before: 3, from: 1000, after: 1, want: []int64{4}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &fakeStore{}
			s.add(tt.before, 1, 0)
			h := start(t, s, Options{})
			s.add(tt.unseen, 1, 0)
			w := h.Watch(tt.from)
			defer w.Close()
			if err := w.check(t.Context()); err != nil { // as Next does first
				t.Fatal(err)
			}
			s.add(tt.after, 1, 0)
			h.Wake(0)
			got, err := collect(within(t), w, len(tt.want))
			if err != nil || !slices.Equal(got, tt.want) {
				t.Fatalf("got %v (%v), want %v", got, err, tt.want)
			}
			if w.Position() != got[len(got)-1] {
				t.Errorf("position %d", w.Position())
			}
		})
	}
}

// Every watcher sees every sequence once and in order, however slow it is,
// whenever it came and wherever it resumes.
func TestWatchersMissNothing(t *testing.T) {
	t.Parallel()
	const total = 10_000
	s := &fakeStore{}
	h := start(t, s, Options{Keep: 64, KeepBytes: 64 * 20})
	ctx := within(t)
	var wg sync.WaitGroup
	turns := make(chan struct{}) // the slow ones read only when the writer allows it
	watch := func(slow bool, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 0))
		w := h.Watch(0)
		defer func() { w.Close() }()
		var seen int64
		for n := 0; n < total; {
			if slow {
				select {
				case <-turns:
				case <-ctx.Done():
				}
			}
			events, err := w.Next(ctx)
			if err != nil {
				t.Errorf("after %d events: %v", n, err)
				return
			}
			for _, e := range events {
				if e.Sequence <= seen {
					t.Errorf("sequence %d after %d", e.Sequence, seen)
				}
				seen = e.Sequence
			}
			n += len(events)
			if random.IntN(20) == 0 { // a client that reconnects
				w.Close()
				w = h.Watch(seen)
			}
		}
		if all := s.sequences(); seen != all[len(all)-1] {
			t.Errorf("ended at %d", seen)
		}
	}
	for i := range 12 {
		wg.Go(func() { watch(i%2 == 0, uint64(i)) })
	}
	random := rand.New(rand.NewPCG(99, 0))
	for added := 0; added < total; {
		n := min(1+random.IntN(200), total-added)
		s.add(n, random.IntN(40), random.IntN(3))
		added += n
		h.Wake(0)
		select {
		case turns <- struct{}{}:
		default:
		}
	}
	close(turns)
	wg.Wait()
	if status := h.Status(); status.Watchers != 0 {
		t.Errorf("%d watchers are left", status.Watchers)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                      string
		size, keep, keepBytes     int
		wantEvents, wantBytesMost int
	}{
		{"by number", 10, 100, 1 << 20, 125 + pageSize, 1 << 20},
		{"by bytes", 1000, 100_000, 50_000, 50 + 12 + pageSize, 62_500 + 1000*pageSize},
		{"an event alone is too much", 5000, 100, 100, pageSize, 5000 * pageSize},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &fakeStore{}
			h := start(t, s, Options{Keep: tt.keep, KeepBytes: tt.keepBytes})
			w := h.Watch(-1)
			defer w.Close()
			for range 20 {
				s.add(70, tt.size, 0)
				h.Wake(0)
				if _, err := collect(within(t), w, 70); err != nil {
					t.Fatal(err)
				}
				h.mu.Lock()
				events, bytes, capacity := len(h.tail), 0, cap(h.tail)
				for _, e := range h.tail {
					bytes += len(e.Raw)
				}
				if bytes != h.bytes {
					t.Errorf("%d bytes are counted, %d are there", h.bytes, bytes)
				}
				h.mu.Unlock()
				if events > tt.wantEvents || bytes > tt.wantBytesMost || capacity > 4*tt.wantEvents {
					t.Fatalf("%d events, %d bytes, capacity %d", events, bytes, capacity)
				}
			}
		})
	}
}

func TestSlowWatcherReadsTheStore(t *testing.T) {
	t.Parallel()
	s := &fakeStore{}
	h := start(t, s, Options{Keep: 8})
	fast, slow := h.Watch(-1), h.Watch(-1)
	defer fast.Close()
	defer slow.Close()
	s.add(100, 1, 0)
	h.Wake(0)
	if _, err := collect(within(t), fast, 100); err != nil {
		t.Fatal(err)
	}
	before := s.readCount()
	got, err := collect(within(t), slow, 100)
	if err != nil || len(got) != 100 {
		t.Fatalf("%d events: %v", len(got), err)
	}
	if s.readCount() == before {
		t.Error("it was served from memory that should be gone")
	}
}

func TestStoreErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	s := &fakeStore{}
	s.add(10, 1, 0)
	s.read = make(chan struct{}, 1)
	h := start(t, s, Options{})
	behind, ahead := h.Watch(0), h.Watch(99)
	defer behind.Close()
	defer ahead.Close()
	s.fail(broken)
	for _, w := range []*Watcher{behind, ahead} {
		if _, err := w.Next(within(t)); !errors.Is(err, broken) {
			t.Fatalf("next: %v", err)
		}
	}
	<-s.read
	h.Wake(0)
	<-s.read // the hub has failed, too
	s.fail(nil)
	s.add(1, 1, 0)
	h.Wake(0)
	if got, err := collect(within(t), behind, 11); err != nil || len(got) != 11 {
		t.Errorf("it missed something: %v %v", got, err)
	}
}

// With a store that is down at start the stream begins where that stands when it
// is back.
func TestStoreDownAtStart(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	s := &fakeStore{}
	s.add(5, 1, 0)
	s.fail(broken)
	h := start(t, s, Options{})
	w, old := h.Watch(-1), h.Watch(2)
	defer w.Close()
	defer old.Close()
	if _, err := old.Next(within(t)); !errors.Is(err, broken) {
		t.Fatalf("a position that cannot be checked: %v", err)
	}
	s.fail(nil)
	h.Wake(0)
	if got, err := collect(within(t), old, 3); err != nil || len(got) != 3 || got[0] != 3 {
		t.Errorf("behind 2: %v %v", got, err)
	}
	s.add(1, 1, 0)
	h.Wake(0)
	if got, err := collect(within(t), w, 1); err != nil || len(got) != 1 || got[0] != 6 {
		t.Errorf("from the end: %v %v", got, err)
	}
}

func TestStopWakesWatchers(t *testing.T) {
	t.Parallel()
	s := &fakeStore{}
	s.add(3, 1, 0)
	h := start(t, s, Options{})
	ended := make(chan error)
	for range 5 {
		w := h.Watch(-1)
		go func() {
			defer w.Close()
			_, err := w.Next(within(t))
			ended <- err
		}()
	}
	for range 2 {
		if err := h.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
	w := h.Watch(0) // a client that comes too late, behind the end
	defer w.Close()
	if _, err := w.Next(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	if err := h.Start(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("start after stop: %v", err)
	}
}

func TestLifecycle(t *testing.T) {
	t.Parallel()
	h := New(Options{Store: &fakeStore{}})
	if err := h.Stop(t.Context()); err != nil {
		t.Errorf("stop before start: %v", err)
	}
	s := &fakeStore{}
	h = start(t, s, Options{})
	if err := h.Start(t.Context()); err != nil {
		t.Errorf("second start: %v", err)
	}
	if h.Name() != "live" {
		t.Error(h.Name())
	}
	w := h.Watch(-1)
	w.Close()
	w.Close()
	if n := h.Status().Watchers; n != 0 {
		t.Errorf("%d watchers", n)
	}
}

// blockedStore holds a reading of the hub until released.
type blockedStore struct {
	fakeStore
	entered, release chan struct{}
}

func (s *blockedStore) After(context.Context, int64, int) ([]store.Event, error) {
	s.entered <- struct{}{}
	<-s.release
	return []store.Event{{Sequence: 1}}, nil
}

func TestStopInTimeOrNot(t *testing.T) {
	t.Parallel()
	s := &blockedStore{entered: make(chan struct{}), release: make(chan struct{})}
	h := New(Options{Store: s, Poll: time.Hour})
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer h.Watch(-1).Close()
	h.Wake(0)
	<-s.entered
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Stop(over); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(s.release)
	if err := h.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if h.Status().Position != 0 {
		t.Error("it went on after the stop")
	}
}

func TestNextHeedsItsContext(t *testing.T) {
	t.Parallel()
	h := start(t, &fakeStore{}, Options{})
	w := h.Watch(-1)
	defer w.Close()
	gone := errors.New("the client left")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if _, err := w.Next(ctx); !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
}

func TestPollFindsWhatOthersWrote(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStore{}
		h := New(Options{Store: s})
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w := h.Watch(-1)
		s.add(1, 1, 0) // and nobody wakes the hub
		begin := time.Now()
		if _, err := w.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > DefaultPoll {
			t.Errorf("took %v", took)
		}
		w.Close()
		if err := h.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// With nobody watching the hub reads no events, and whoever comes later misses
// none.
func TestNobodyWatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStore{}
		h := New(Options{Store: s, Poll: time.Hour})
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		first := h.Watch(-1)
		s.add(3, 1, 0)
		h.Wake(3)
		synctest.Wait()
		first.Close()
		reads := s.readCount()
		s.add(5, 1, 0)
		h.Wake(8)
		synctest.Wait()
		if got := s.readCount(); got != reads {
			t.Errorf("the hub read events %d times for nobody", got-reads)
		}
		if got := h.Status().Position; got != 8 {
			t.Errorf("position %d, want 8", got)
		}
		late := h.Watch(1)
		s.add(2, 1, 0)
		h.Wake(10)
		got, err := collect(t.Context(), late, 9)
		if want := s.sequences()[1:]; err != nil || !slices.Equal(got, want) {
			t.Errorf("a late watcher saw %v, %v; want %v", got, err, want)
		}
		late.Close()
		if err := h.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}
