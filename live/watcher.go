package live

import (
	"context"
	"errors"
	"slices"

	"github.com/33god/bloodbank/store"
)

// ErrClosed says that the hub has stopped.
var ErrClosed = errors.New("live: the server is stopping")

// Watcher is somebody's position in the stream. It is for one goroutine.
type Watcher struct {
	hub   *Hub
	after int64
}

// Watch starts a watcher behind sequence after; with after below 0 it starts at
// the end, with the next event.
func (h *Hub) Watch(after int64) *Watcher {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watch++
	if after < 0 || after > h.last {
		after = h.last
	}
	return &Watcher{hub: h, after: after}
}

// Close ends the watcher.
func (w *Watcher) Close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.hub.watch--
}

// Position is the sequence of the last event that Next returned.
func (w *Watcher) Position() int64 { return w.after }

// Next returns the next events, at least one and at most a page, and waits for
// them. It returns ErrClosed when the hub stops, and ctx's error.
func (w *Watcher) Next(ctx context.Context) ([]store.Event, error) {
	for {
		events, changed, closed := w.fromTail()
		if len(events) > 0 {
			w.after = events[len(events)-1].Sequence
			return events, nil
		}
		if closed {
			return nil, ErrClosed
		}
		if changed == nil { // fallen behind what is in memory
			events, err := w.hub.o.Store.After(ctx, w.after, pageSize)
			if err != nil {
				return nil, err
			}
			if len(events) > 0 {
				w.after = events[len(events)-1].Sequence
				return events, nil
			}
			changed = w.changed()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// fromTail returns what is in memory behind the position; a nil channel means
// that the position lies before it.
func (w *Watcher) fromTail() ([]store.Event, <-chan struct{}, bool) {
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if w.after >= h.last {
		return nil, h.changed, h.closed
	}
	if len(h.tail) == 0 || w.after < h.tail[0].Sequence-1 {
		return nil, nil, h.closed
	}
	i, _ := slices.BinarySearchFunc(h.tail, w.after+1, func(e store.Event, seq int64) int {
		return int(e.Sequence - seq)
	})
	return h.tail[i:min(i+pageSize, len(h.tail))], h.changed, h.closed
}

func (w *Watcher) changed() <-chan struct{} {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	return w.hub.changed
}
