package live

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/33god/bloodbank/store"
)

// Limits of a feed.
const (
	// FrameEvery is the least time between two frames that are not full.
	FrameEvery = 50 * time.Millisecond
	// FrameEvents is how many events make a full frame.
	FrameEvents = 256
	// FrameBytes ends a frame of large events early; a single one may be larger.
	FrameBytes = 1 << 20
	// FrameWindow is how many frames with events may be under way unconfirmed.
	FrameWindow = 4
	// BeatEvery is the longest time between two frames while the window is open,
	// and the only one in [ModeCount].
	BeatEvery = time.Second
	// waitingEvents and waitingBytes bound what waits for the window to open.
	waitingEvents = FrameWindow * FrameEvents
	waitingBytes  = 4 << 20
)

// Mode is what a feed sends.
type Mode string

// The modes. In ModeCount no events are sent; those left out make a [Gap] when
// the mode changes back.
const (
	ModeEvents Mode = "events"
	ModeCount  Mode = "count"
)

// Request is what the reader of a feed may ask for, one thing at a time.
type Request struct {
	// Ack confirms all frames up to this position; 0 confirms nothing.
	Ack int64
	// Mode, where not empty, is the mode from now on.
	Mode Mode
	// Filter, where not nil, is the filter from now on, and the feed's own. What waits is filtered
	// again, and the counts begin at 0.
	Filter *store.Filter
	// Fault is sent back as it is: the reader asked for something impossible.
	Fault error
}

// Message is one of: the beginning, a frame, a gap, or the answer to a request
// with a fault.
type Message struct {
	Hello *Hello
	Frame *Frame
	Gap   *Gap
	Fault error
}

// Hello comes first.
type Hello struct {
	// Position is where the feed stands: events above it follow.
	Position int64 `json:"position"`
	// Begin is the newest event in the store when the feed began. Up to there it
	// waits for the reader and drops nothing.
	Begin int64 `json:"begin"`
}

// Frame is a batch of events.
type Frame struct {
	// First is the sequence of the first event, or Last where there is none.
	First int64
	// Last is the position behind the frame: all up to it has been looked at, and
	// a feed that begins there goes on without loss.
	Last   int64
	Events []store.Event // shared: not to be changed
	// Matched and Scanned count events since the filter was set.
	Matched, Scanned int64
	// Dropped counts events that matched and were left out because the reader was
	// slow, since the beginning.
	Dropped int64
}

// Gap says which events that matched were left out: Count of them, with
// sequences From to To. The store has them.
type Gap struct {
	From  int64 `json:"from"`
	To    int64 `json:"to"`
	Count int64 `json:"n"`
}

// Feed sends a watcher's events in frames, to a reader who confirms them.
//
// Law: a reader who is too slow for what is new loses the oldest of it that was
// not sent yet, and is told where; in order, before what follows. Of what was
// stored before the feed began it loses nothing: that is read at its pace.
type Feed struct {
	watcher *Watcher
	filter  store.Filter
	mode    Mode
	begin   int64

	position                  int64 // all up to here was looked at
	matched, scanned, dropped int64
	waiting                   []store.Event
	bytes                     int // of the wire forms in waiting
	gap                       Gap // lies before all that waits
	unconfirmed               []int64
	sent                      time.Time // of the last frame
}

// NewFeed returns a feed of the watcher's events that the filter, which is the
// feed's from now on, wants. The
// watcher stays the caller's to close, after Run.
func NewFeed(w *Watcher, filter store.Filter) *Feed {
	return &Feed{watcher: w, filter: filter, mode: ModeEvents}
}

// Run sends until ctx ends, requests is closed, send fails, or the watcher fails;
// it returns the error, nil for closed requests. send is called by one goroutine
// only. While it blocks nothing is kept in memory but what waits already.
func (f *Feed) Run(ctx context.Context, requests <-chan Request, send func(context.Context, Message) error) error {
	if err := f.watcher.check(ctx); err != nil {
		return err
	}
	f.position, f.begin = f.watcher.Position(), max(f.watcher.Position(), f.watcher.hub.Status().Position)
	f.sent = time.Now()
	if err := send(ctx, Message{Hello: &Hello{Position: f.position, Begin: f.begin}}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	pages := make(chan []store.Event)
	var reading sync.WaitGroup
	reading.Go(func() { cancel(f.read(ctx, pages)) })
	defer reading.Wait()
	defer cancel(nil)
	timer := time.NewTimer(BeatEvery)
	defer timer.Stop()
	for {
		wait, err := f.flush(ctx, send)
		if err != nil {
			return err
		}
		timer.Reset(wait)
		in := pages
		if f.position < f.begin && len(f.waiting) >= FrameEvents {
			in = nil // history waits for the reader
		}
		select {
		case page := <-in:
			f.take(page)
		case r, ok := <-requests:
			if !ok {
				return nil
			}
			if err := f.obey(ctx, r, send); err != nil {
				return err
			}
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// read hands over the watcher's pages until it fails or ctx ends.
func (f *Feed) read(ctx context.Context, pages chan<- []store.Event) error {
	for {
		page, err := f.watcher.Next(ctx)
		if err != nil {
			return err
		}
		select {
		case pages <- page:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (f *Feed) obey(ctx context.Context, r Request, send func(context.Context, Message) error) error {
	for len(f.unconfirmed) > 0 && f.unconfirmed[0] <= r.Ack {
		f.unconfirmed = f.unconfirmed[1:]
	}
	if r.Mode != "" {
		f.mode = r.Mode
		if f.mode == ModeCount {
			f.leaveOut(len(f.waiting))
		}
	}
	if r.Filter != nil {
		f.refilter(*r.Filter)
	}
	if r.Fault != nil {
		return send(ctx, Message{Fault: r.Fault})
	}
	return nil
}

func (f *Feed) refilter(filter store.Filter) {
	f.filter, f.matched, f.scanned = filter, 0, 0
	var kept []store.Event
	f.bytes = 0
	for i := range f.waiting {
		if filter.Match(&f.waiting[i].Envelope) {
			kept = append(kept, f.waiting[i])
			f.bytes += len(f.waiting[i].Raw)
		}
	}
	f.waiting = kept
}

// take looks at a page.
func (f *Feed) take(page []store.Event) {
	for i := range page {
		e := &page[i]
		f.position = e.Sequence
		f.scanned++
		f.filter.Follow(&e.Envelope)
		if !f.filter.Match(&e.Envelope) {
			continue
		}
		f.matched++
		f.waiting = append(f.waiting, *e)
		f.bytes += len(e.Raw)
		switch {
		case f.mode == ModeCount:
			f.leaveOut(len(f.waiting))
		case f.position > f.begin:
			for len(f.waiting) > waitingEvents || f.bytes > waitingBytes && len(f.waiting) > 1 {
				f.leaveOut(1)
				f.dropped++
			}
		}
	}
}

// leaveOut makes the oldest n that wait a part of the gap before them.
func (f *Feed) leaveOut(n int) {
	for i := range n {
		e := &f.waiting[i]
		if f.gap.Count == 0 {
			f.gap.From = e.Sequence
		}
		f.gap.To = e.Sequence
		f.gap.Count++
		f.bytes -= len(e.Raw)
		f.waiting[i] = store.Event{} // so that its bytes can go
	}
	f.waiting = f.waiting[n:]
}

// flush sends what is due and returns how long to wait for what comes next.
func (f *Feed) flush(ctx context.Context, send func(context.Context, Message) error) (time.Duration, error) {
	for {
		if len(f.unconfirmed) >= FrameWindow {
			return BeatEvery, nil // only a confirmation changes anything
		}
		if f.gap.Count > 0 && f.mode == ModeEvents {
			gap := f.gap
			f.gap = Gap{}
			if err := send(ctx, Message{Gap: &gap}); err != nil {
				return 0, err
			}
		}
		every := FrameEvery
		if len(f.waiting) == 0 {
			every = BeatEvery
		}
		full := len(f.waiting) >= FrameEvents || f.bytes >= FrameBytes
		if wait := every - time.Since(f.sent); wait > 0 && !full {
			return wait, nil
		}
		if err := send(ctx, Message{Frame: f.frame()}); err != nil {
			return 0, err
		}
	}
}

// frame takes the next frame from what waits; an empty one is a sign of life.
func (f *Feed) frame() *Frame {
	n, bytes := 0, 0
	for n < len(f.waiting) && n < FrameEvents && (n == 0 || bytes+len(f.waiting[n].Raw) <= FrameBytes) {
		bytes += len(f.waiting[n].Raw)
		n++
	}
	// A copy, so that what was sent does not stay in front of what waits.
	events := slices.Clone(f.waiting[:n])
	clear(f.waiting[:n])
	frame := &Frame{Last: f.position, Events: events, Matched: f.matched, Scanned: f.scanned, Dropped: f.dropped}
	if f.waiting, f.bytes = f.waiting[n:], f.bytes-bytes; len(f.waiting) > 0 {
		frame.Last = frame.Events[n-1].Sequence
	}
	frame.First = frame.Last
	if n > 0 {
		frame.First = frame.Events[0].Sequence
		f.unconfirmed = append(f.unconfirmed, frame.Last)
	}
	f.sent = time.Now()
	return frame
}
