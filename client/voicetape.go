package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

const (
	// maxKept bounds the audio that is kept for another connection: half an hour of
	// raw samples. When it is full the source waits.
	maxKept = 64 << 20
	// readSize is how much is read of the source at once.
	readSize = 16 << 10
)

// tape keeps the audio that the server may want again. One goroutine fills it, one
// reads it; positions count the bytes of the source.
type tape struct {
	more chan struct{} // a signal that there is more to read, or the end
	room chan struct{} // a signal that something was dropped

	mu    sync.Mutex
	first int64 // position of kept[0]
	kept  []byte
	ended bool
	err   error // why the source ended early
}

func newTape() *tape {
	return &tape{more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// fill reads the source to its end. It does not see the end of ctx while the source
// gives nothing.
func (t *tape) fill(ctx context.Context, source io.Reader) {
	chunk := make([]byte, readSize)
	for {
		n, err := source.Read(chunk)
		if !t.add(ctx, chunk[:n], err) {
			return
		}
	}
}

// add waits for room and adds what was read. It reports whether to read on.
func (t *tape) add(ctx context.Context, p []byte, err error) bool {
	for t.isFull() {
		select {
		case <-t.room:
		case <-ctx.Done():
			return false
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	t.kept = append(t.kept, p...)
	if err != nil {
		t.ended = true
		if !errors.Is(err, io.EOF) {
			t.err = fmt.Errorf("cannot read the audio: %w", err)
		}
	}
	signal(t.more)
	return err == nil
}

// end ends the audio here, whatever the source still has.
func (t *tape) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	signal(t.more)
	signal(t.room)
}

func (t *tape) isFull() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.kept) >= maxKept && !t.ended
}

// read copies what is at a position into p. It waits until p is full or the audio
// ends; then more is false.
func (t *tape) read(ctx context.Context, at int64, p []byte) (n int, more bool, err error) {
	for {
		n, more, ready := t.look(at, p)
		if ready {
			return n, more, nil
		}
		select {
		case <-t.more:
		case <-ctx.Done():
			return 0, false, context.Cause(ctx)
		}
	}
}

func (t *tape) look(at int64, p []byte) (n int, more, ready bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if from := at - t.first; from >= 0 && from < int64(len(t.kept)) {
		n = copy(p, t.kept[from:])
	}
	return n, !t.ended || at+int64(n) < t.first+int64(len(t.kept)), t.ended || n == len(p)
}

// drop forgets what is before a position.
func (t *tape) drop(before int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(before-t.first, int64(len(t.kept)))
	if n <= 0 {
		return
	}
	t.kept = t.kept[n:]
	t.first += n
	signal(t.room)
}

// span is what is kept, and whether the audio ends there.
func (t *tape) span() (from, to int64, ended bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.first, t.first + int64(len(t.kept)), t.ended
}

// fault is why the source ended early, if it did.
func (t *tape) fault() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
