package recorder

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// lookupTimeout bounds the one look into the store of [Recorder.Stored], so that
// it can be answered even where the caller's time is over.
const lookupTimeout = time.Second

// firstLook and lastLook are the pauses between looks into the store, for what
// another process of the group has stored.
const (
	firstLook = 200 * time.Millisecond
	lastLook  = 2 * time.Second
)

// Stored waits until the event is in the store. It returns nil at once where it
// is (even where ctx is over), ctx's error when that ends first, and an error
// with CodeUnavailable when the recorder stops.
func (r *Recorder) Stored(ctx context.Context, id bloodbank.EventID) error {
	ch := r.waiting.add(id)
	defer r.waiting.forget(id, ch)
	// Look only after registering: a commit in between closes the channel.
	again := time.NewTimer(0)
	defer again.Stop()
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		if r.has(ctx, id) {
			return nil
		}
		again.Reset(pause)
		select {
		case <-ch:
			return nil
		case <-again.C: // another member of the group may have stored it
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.stopped:
			return bloodbank.Errorf(bloodbank.CodeUnavailable, "the server is stopping; the event is stored after its next start")
		}
	}
}

func (r *Recorder) has(ctx context.Context, id bloodbank.EventID) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
	defer cancel()
	_, err := r.o.Store.Get(ctx, id)
	return err == nil
}

// waiting knows who waits for which event.
type waiting struct {
	// count is the number of waiters, so that a batch nobody waits for costs no
	// lock. It rises before a waiter looks into the store: whoever is not counted
	// yet when a commit is done will find the event there.
	count atomic.Int64
	mu    sync.Mutex
	byID  map[bloodbank.EventID][]chan struct{}
}

func (w *waiting) add(id bloodbank.EventID) chan struct{} {
	ch := make(chan struct{})
	w.count.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byID == nil {
		w.byID = make(map[bloodbank.EventID][]chan struct{})
	}
	w.byID[id] = append(w.byID[id], ch)
	return ch
}

// forget must be called once for each add.
func (w *waiting) forget(id bloodbank.EventID, ch chan struct{}) {
	w.count.Add(-1)
	w.mu.Lock()
	defer w.mu.Unlock()
	rest := w.byID[id][:0]
	for _, c := range w.byID[id] {
		if c != ch {
			rest = append(rest, c)
		}
	}
	if len(rest) == 0 {
		delete(w.byID, id)
		return
	}
	w.byID[id] = rest
}

func (w *waiting) release(events []store.Incoming) {
	if w.count.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range events {
		id := events[i].Envelope.EventID
		for _, ch := range w.byID[id] {
			close(ch)
		}
		delete(w.byID, id)
	}
}
