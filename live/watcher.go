package live

import (
	"cmp"
	"context"
	"slices"

	"github.com/33god/bloodbank/store"
)

// Watcher is somebody's position in the stream. It is for one goroutine; only
// Close may be called from another.
type Watcher struct {
	hub     *Hub
	after   int64 // -1: where the hub begins
	checked bool  // the position is known to lie within the store
	closed  bool  // guarded by hub.mu
}

// Watch starts a watcher behind sequence after; with after below 0 it starts at
// the end, with the next event. A position that the store has not reached, from
// a store that was made anew since, counts as the end.
func (h *Hub) Watch(after int64) *Watcher {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers++
	if after < 0 {
		after = -1
		if h.begin >= 0 {
			after = h.last
		}
	}
	return &Watcher{hub: h, after: after, checked: after <= h.last}
}

// Close ends the watcher. It is idempotent.
func (w *Watcher) Close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if !w.closed {
		w.closed = true
		w.hub.watchers--
	}
}

// Position is the sequence of the last event that Next returned, or where the
// watcher began.
func (w *Watcher) Position() int64 { return w.after }

// Next returns the next events, at least one and at most a page, in order, and
// waits for them. It returns [ErrClosed] once the hub stops, ctx's error, or an
// error of the store. After an error of the store it can be called again and
// misses nothing. The events are shared: the caller must not change them.
func (w *Watcher) Next(ctx context.Context) ([]store.Event, error) {
	if err := w.check(ctx); err != nil {
		return nil, err
	}
	for {
		events, behind, changed, err := w.fromTail()
		if behind {
			events, err = w.hub.o.Store.After(ctx, w.after, pageSize)
		}
		if err != nil {
			return nil, err
		}
		if len(events) > 0 {
			w.after = events[len(events)-1].Sequence
			return events, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// check takes back a position ahead of the hub. The hub may be a moment late, so
// the store has the word.
func (w *Watcher) check(ctx context.Context) error {
	if w.checked {
		return nil
	}
	last, err := w.hub.o.Store.Last(ctx)
	if err != nil {
		return err
	}
	w.after, w.checked = min(w.after, last), true
	return nil
}

// fromTail returns what is in memory behind the position, or that the position
// lies before it and the store must be read.
func (w *Watcher) fromTail() (events []store.Event, behind bool, changed <-chan struct{}, err error) {
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, false, nil, ErrClosed
	}
	if w.after < 0 && h.begin >= 0 {
		w.after = h.begin
	}
	if w.after < 0 || w.after >= h.last {
		return nil, false, h.changed, nil
	}
	if len(h.tail) == 0 || w.after < h.tail[0].Sequence-1 {
		return nil, true, h.changed, nil
	}
	i, _ := slices.BinarySearchFunc(h.tail, w.after+1, func(e store.Event, seq int64) int {
		return cmp.Compare(e.Sequence, seq)
	})
	end := min(i+pageSize, len(h.tail))
	return h.tail[i:end:end], false, h.changed, nil
}
