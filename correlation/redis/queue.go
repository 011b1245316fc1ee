package redis

import (
	"context"
	"sync"
	"time"

	"github.com/33god/bloodbank"
)

// queue holds links until Redis takes them. It is bounded: links that find it
// full are dropped, because nothing in front of it may wait for Redis.
type queue struct {
	limit    int
	filled   chan struct{} // has a slot when there may be something to do
	finished chan struct{} // closed when the writer has ended

	mu     sync.Mutex
	links  []Link
	busy   int // links that the writer has taken and not yet written
	closed bool
	idle   []chan struct{} // of those who wait for an empty queue
}

func newQueue(limit int) *queue {
	return &queue{limit: limit, filled: make(chan struct{}, 1), finished: make(chan struct{})}
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.links) + q.busy
}

// push takes as many links as fit, and returns how many do not.
func (q *queue) push(links []Link) (dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(links), q.limit-len(q.links)-q.busy)
	if q.closed {
		n = 0
	}
	q.links = append(q.links, links[:n]...)
	q.wake()
	return len(links) - n
}

func (q *queue) wake() {
	select {
	case q.filled <- struct{}{}:
	default:
	}
}

// take returns the next links. They are the writer's until done.
func (q *queue) take(limit int) (links []Link, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.links), limit)
	links = q.links[:n:n]
	q.links, q.busy = q.links[n:], n
	if len(q.links) == 0 {
		q.links = nil // let go of what was written
	}
	return links, q.closed
}

func (q *queue) done() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy = 0
	if len(q.links) == 0 {
		q.release()
	}
}

func (q *queue) release() {
	for _, ch := range q.idle {
		close(ch)
	}
	q.idle = nil
}

// empty returns a channel that is closed when nothing is queued, or when the
// writer has ended.
func (q *queue) empty() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	ch := make(chan struct{})
	q.idle = append(q.idle, ch)
	if len(q.links)+q.busy == 0 {
		q.release()
	}
	return ch
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake()
}

// abandon empties the queue at the end, and returns how much was left.
func (q *queue) abandon() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	left := len(q.links) + q.busy
	q.links, q.busy = nil, 0
	q.release()
	return left
}

// Offer queues links to be written in the background, and never waits. It
// returns how many were dropped because the queue is full or the tracker closed;
// [Status] counts them, [Tracker.Rebuild] brings them back.
func (t *Tracker) Offer(links ...Link) (dropped int) {
	before := t.counts.dropped.Load()
	dropped = t.queue.push(links)
	if dropped > 0 {
		t.counts.dropped.Add(uint64(dropped))
		if before == 0 {
			t.o.Logger.Warn("links for Redis are dropped, because too many wait; bb correlation rebuild brings them back", "queue", t.o.Queue)
		}
	}
	return dropped
}

// Flush waits until all links offered before are written, or ctx ends.
func (t *Tracker) Flush(ctx context.Context) error {
	select {
	case <-t.queue.empty():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// write takes links from the queue until it is closed and empty, or ctx ends.
func (t *Tracker) write(ctx context.Context) {
	defer close(t.queue.finished)
	for {
		links, closed := t.queue.take(atOnce)
		if len(links) == 0 {
			if closed {
				return
			}
			select {
			case <-t.queue.filled:
			case <-ctx.Done():
				return
			}
			continue
		}
		if !t.writeAll(ctx, links) {
			return
		}
		t.queue.done()
	}
}

// writeAll tries until links are written. It gives up when ctx ends, or when the
// queue is closed while Redis does not take them.
func (t *Tracker) writeAll(ctx context.Context, links []Link) bool {
	for pause := firstProbe; ; pause = min(2*pause, lastProbe) {
		err := t.Add(ctx, links...)
		if err == nil {
			return true
		}
		if bloodbank.CodeOf(err) == bloodbank.CodeInvalid {
			t.counts.refused.Add(uint64(len(links)))
			t.o.Logger.Error("links cannot be written", "error", err)
			return true
		}
		if !t.await(ctx, pause) {
			return false
		}
	}
}

// await waits until it makes sense to write again.
func (t *Tracker) await(ctx context.Context, pause time.Duration) bool {
	if t.queue.isClosed() {
		return false
	}
	timer := time.NewTimer(jitter(pause))
	defer timer.Stop()
	for ready, working := timer.C, (<-chan struct{})(nil); ; {
		select {
		case <-ready:
			ready, working = nil, t.breaker.working()
		case <-working:
			return true
		case <-t.queue.filled:
			if t.queue.isClosed() {
				return false
			}
		case <-ctx.Done():
			return false
		}
	}
}

func (q *queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}
