package audio

import "sync"

// belt carries bytes from one goroutine to another and holds a bounded number of them.
type belt struct {
	limit  int
	filled chan struct{} // signals that take has something to give, or the end
	freed  chan struct{} // signals that put has room
	mu     sync.Mutex
	buf    []byte
	closed bool
}

func newBelt(limit int) *belt {
	return &belt{limit: limit, filled: make(chan struct{}, 1), freed: make(chan struct{}, 1)}
}

// put takes as much of p as there is room for and says how much that was. A closed belt
// takes everything and drops it.
func (b *belt) put(p []byte) int {
	b.mu.Lock()
	n := len(p)
	if !b.closed {
		n = min(len(p), b.limit-len(b.buf))
		b.buf = append(b.buf, p[:n]...)
	}
	b.mu.Unlock()
	if n > 0 {
		signal(b.filled)
	}
	return n
}

// take gives everything there is, in exchange for memory to use again. ended: nothing
// will come after it.
func (b *belt) take(memory []byte) (all []byte, ended bool) {
	b.mu.Lock()
	all, b.buf = b.buf, memory[:0]
	ended = b.closed
	b.mu.Unlock()
	if len(all) > 0 {
		signal(b.freed)
	}
	return all, ended
}

// end lets take give the rest, and put drop whatever comes later.
func (b *belt) end() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	signal(b.filled)
	signal(b.freed)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
