package live

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// reader is the other end of a feed, on the clock of a synctest bubble.
type reader struct {
	t        *testing.T
	store    *fakeStore
	hub      *Hub
	watcher  *Watcher
	requests chan Request
	gate     chan struct{} // sending takes a token and puts it back
	ended    chan error
	cancel   context.CancelFunc

	mu       sync.Mutex
	messages []Message
	at       []time.Time
}

// feed starts a feed in the bubble of the running test.
func feed(t *testing.T, s *fakeStore, from int64, filter store.Filter) *reader {
	t.Helper()
	r := &reader{t: t, store: s, requests: make(chan Request), ended: make(chan error, 1), gate: make(chan struct{}, 1)}
	r.gate <- struct{}{}
	r.hub = New(Options{Store: s, Poll: 24 * time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	if err := r.hub.Start(ctx); err != nil {
		t.Fatal(err)
	}
	r.watcher = r.hub.Watch(from)
	f := NewFeed(r.watcher, filter)
	go func() {
		r.ended <- f.Run(ctx, r.requests, func(_ context.Context, m Message) error {
			<-r.gate
			r.gate <- struct{}{}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.messages, r.at = append(r.messages, m), append(r.at, time.Now())
			return nil
		})
	}()
	synctest.Wait()
	return r
}

func (r *reader) close() error {
	r.cancel()
	err := <-r.ended
	r.watcher.Close()
	if err := r.hub.Stop(context.WithoutCancel(r.t.Context())); err != nil {
		r.t.Error(err)
	}
	return err
}

func (r *reader) add(n, size int) {
	r.store.add(n, size, 0)
	r.hub.Wake(0)
	synctest.Wait()
}

func (r *reader) ask(q Request) {
	r.requests <- q
	synctest.Wait()
}

func (r *reader) pass(d time.Duration) {
	<-time.After(d) // on the bubble's clock
	synctest.Wait()
}

// all returns what came since the last call, and when.
func (r *reader) all() ([]Message, []time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.messages, r.at = nil, nil }()
	return r.messages, r.at
}

// take is all without signs of life.
func (r *reader) take() (messages []Message) {
	all, _ := r.all()
	for _, m := range all {
		if m.Frame == nil || len(m.Frame.Events) > 0 {
			messages = append(messages, m)
		}
	}
	return messages
}

// delivered are the sequences of all events in frames, in their order.
func delivered(messages []Message) (all []int64) {
	for _, m := range messages {
		if m.Frame != nil {
			all = append(all, sequences(m.Frame.Events)...)
		}
	}
	return all
}

// span returns the numbers from low to high.
func span(low, high int64) (all []int64) {
	for n := low; n <= high; n++ {
		all = append(all, n)
	}
	return all
}

func TestFeedBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStore{}
		s.add(7, 1, 0)
		r := feed(t, s, -1, store.Filter{})
		if got := r.take(); len(got) != 1 || got[0].Hello == nil || *got[0].Hello != (Hello{Position: 7, Begin: 7}) {
			t.Fatalf("%+v", got)
		}
		r.pass(time.Second)
		r.all()
		// Ten come one by one within one frame's time.
		r.pass(100 * time.Millisecond)
		for range 10 {
			r.add(1, 1)
			r.pass(time.Millisecond)
		}
		r.pass(FrameEvery)
		got, at := r.all()
		if len(got) != 2 || at[1].Sub(at[0]) != FrameEvery {
			t.Fatalf("%d messages at %v", len(got), at)
		}
		if !slices.Equal(delivered(got), span(8, 17)) || got[1].Frame.First != 9 || got[1].Frame.Last != 17 || got[1].Frame.Scanned != 10 || got[1].Frame.Matched != 10 {
			t.Fatalf("%+v", got)
		}
		r.ask(Request{Ack: 17})
		// Full frames wait for nothing.
		began := time.Now()
		r.add(2*FrameEvents, 1)
		if got := r.take(); len(got) != 2 || len(got[0].Frame.Events) != FrameEvents || time.Since(began) != 0 {
			t.Fatalf("%d messages", len(got))
		}
		if err := r.close(); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
}

func TestFeedShowsLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		none, err := store.ParseFilter("type:none.such", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r := feed(t, &fakeStore{}, -1, none)
		r.all()
		r.add(20, 1)
		r.pass(10 * time.Second)
		got, _ := r.all()
		if len(got) != 10 {
			t.Fatalf("%d signs of life in 10 s", len(got))
		}
		f := got[9].Frame
		if f.First != 20 || f.Last != 20 || len(f.Events) != 0 || f.Scanned != 20 || f.Matched != 0 {
			t.Fatalf("%+v", f)
		}
		_ = r.close()
	})
}

// A reader who confirms nothing gets the window, and later the newest events and
// word of those in between.
func TestFeedDropsTheOldest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := feed(t, &fakeStore{}, -1, store.Filter{})
		r.take()
		const total = 5000
		for range total / 500 {
			r.add(500, 1)
		}
		r.pass(time.Minute)
		window := r.take()
		if len(window) != FrameWindow || !slices.Equal(delivered(window), span(1, FrameWindow*FrameEvents)) {
			t.Fatalf("%d messages came unconfirmed", len(window))
		}
		r.ask(Request{Ack: window[FrameWindow-1].Frame.Last})
		r.pass(time.Second)
		rest := r.take()
		const from, to = FrameWindow*FrameEvents + 1, total - waitingEvents
		if g := rest[0].Gap; g == nil || *g != (Gap{From: from, To: to, Count: to - from + 1}) {
			t.Fatalf("%+v", rest[0])
		}
		if !slices.Equal(delivered(rest), span(to+1, total)) {
			t.Fatalf("%d events after the gap", len(delivered(rest)))
		}
		last := rest[len(rest)-1].Frame
		if last.Dropped != to-from+1 || last.Scanned != total || last.Matched != total {
			t.Fatalf("%+v", last)
		}
		_ = r.close()
	})
}

// Confirming a part opens a part of the window.
func TestFeedWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := feed(t, &fakeStore{}, -1, store.Filter{})
		r.take()
		r.add(6*FrameEvents, 1)
		first := r.take()
		r.ask(Request{Ack: first[0].Frame.Last - 1}) // confirms no whole frame
		if got := r.take(); len(got) != 0 {
			t.Fatalf("%+v", got)
		}
		r.ask(Request{Ack: first[1].Frame.Last})
		if got := r.take(); len(first)+len(got) != 6 || !slices.Equal(delivered(append(first, got...)), span(1, 6*FrameEvents)) {
			t.Fatalf("%d frames, then %d", len(first), len(got))
		}
		_ = r.close()
	})
}

// What was there before is read at the reader's pace; nothing of it is dropped.
func TestFeedPacesHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStore{}
		const total = 20_000
		s.add(total, 1, 0)
		r := feed(t, s, 0, store.Filter{})
		first := r.take()
		if h := first[0].Hello; *h != (Hello{Position: 0, Begin: total}) {
			t.Fatalf("%+v", h)
		}
		r.pass(time.Minute)
		if n := r.store.readCount(); n > 6 {
			t.Fatalf("%d pages were read for a reader who confirms nothing", n)
		}
		all := delivered(first)
		for len(all) < total {
			r.ask(Request{Ack: all[len(all)-1]})
			r.pass(FrameEvery)
			got := r.take()
			all = append(all, delivered(got)...)
			for _, m := range got {
				if m.Gap != nil {
					t.Fatalf("a gap: %+v", m.Gap)
				}
			}
		}
		if !slices.Equal(all, span(1, total)) {
			t.Fatal("history came with holes")
		}
		_ = r.close()
	})
}

func TestFeedCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := feed(t, &fakeStore{}, -1, store.Filter{})
		r.ask(Request{Mode: ModeCount})
		r.pass(time.Second)
		r.all()
		for range 50 {
			r.add(30, 1)
			r.pass(100 * time.Millisecond)
		}
		counts, _ := r.all()
		if len(counts) != 5 {
			t.Fatalf("%d frames in 5 s", len(counts))
		}
		for _, m := range counts {
			if len(m.Frame.Events) != 0 || m.Frame.Dropped != 0 || m.Frame.Matched != m.Frame.Last {
				t.Fatalf("%+v", m.Frame)
			}
		}
		r.all()
		r.ask(Request{Mode: ModeEvents})
		r.add(1, 1)
		r.pass(FrameEvery)
		if got := r.take(); len(got) != 2 || got[0].Gap == nil || *got[0].Gap != (Gap{1, 1500, 1500}) || !slices.Equal(delivered(got), span(1501, 1501)) {
			t.Fatalf("%+v", got)
		}
		_ = r.close()
	})
}

func TestFeedChangesItsFilter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := feed(t, &fakeStore{}, -1, store.Filter{})
		r.take()
		fault := bloodbank.Errorf(bloodbank.CodeInvalid, "bad filter")
		r.ask(Request{Fault: fault})
		if got := r.take(); len(got) != 1 || got[0].Fault == nil || got[0].Fault.Error() != fault.Error() {
			t.Fatalf("%+v", got)
		}
		r.add(1, 1)
		r.pass(FrameEvery)
		if got := r.take(); !slices.Equal(delivered(got), span(1, 1)) { // the last good one stays
			t.Fatalf("%+v", got)
		}
		none, err := store.ParseFilter("type:none.such", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r.add(1, 1)
		r.pass(FrameEvery)
		r.add(1, 1) // waits for its frame when the filter changes
		r.ask(Request{Filter: &none})
		r.pass(BeatEvery)
		got, _ := r.all()
		if !slices.Equal(delivered(got), span(2, 2)) {
			t.Fatalf("%+v", got)
		}
		if f := got[len(got)-1].Frame; f.Last != 3 || f.Scanned != 0 {
			t.Fatalf("%+v", f)
		}
		_ = r.close()
	})
}

// Large events make small frames, and what waits is bounded by bytes too.
func TestFeedBoundsBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := feed(t, &fakeStore{}, -1, store.Filter{})
		r.take()
		r.add(40, 400<<10)
		window := r.take()
		for _, m := range window {
			if m.Frame != nil && len(m.Frame.Events) > 2 {
				t.Fatalf("%d events of 400 KiB in a frame", len(m.Frame.Events))
			}
		}
		r.ask(Request{Ack: 1 << 40})
		got := append(window, r.take()...)
		n := int64(0)
		for _, m := range got {
			if m.Gap != nil {
				n += m.Gap.Count
			}
		}
		if all := len(delivered(got)); n == 0 || int64(all)+n < 30 {
			t.Fatalf("%d delivered, %d left out", all, n)
		}
		_ = r.close()
	})
}

// While a message cannot be written nothing piles up, and the feed ends.
func TestFeedBlockedWriter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := feed(t, &fakeStore{}, -1, store.Filter{})
		<-r.gate
		for range 40 {
			r.add(500, 1)
		}
		if n := r.watcher.Position(); n > 1000 { // a page in the feed, one ahead of it
			t.Errorf("read as far as %d", n)
		}
		r.gate <- struct{}{}
		synctest.Wait()
		got := r.take()
		if len(delivered(got)) == 0 {
			t.Fatal("nothing came")
		}
		_ = r.close()
	})
}

func TestFeedEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := feed(t, &fakeStore{}, -1, store.Filter{})
		close(r.requests)
		if err := <-r.ended; err != nil {
			t.Fatal(err)
		}
		r.ended <- nil
		_ = r.close()

		r = feed(t, &fakeStore{}, -1, store.Filter{})
		if err := r.hub.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-r.ended; !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
		r.ended <- nil
		_ = r.close()

		s := &fakeStore{}
		s.add(3, 1, 0)
		r = feed(t, s, -1, store.Filter{})
		broken := errors.New("the disk burns")
		s.fail(broken)
		w := r.hub.Watch(0)
		defer w.Close()
		err := NewFeed(w, store.Filter{}).Run(t.Context(), nil, func(context.Context, Message) error { return nil })
		if !errors.Is(err, broken) {
			t.Fatal(err)
		}
		_ = r.close()
	})
}
