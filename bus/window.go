package bus

import (
	"context"
	"fmt"

	"github.com/33god/bloodbank"
)

// weightUnit is how many bytes of data take one place in a window.
const weightUnit = 64 << 10

// Window is a driver's room for unconfirmed messages, and the turn of those who
// send: whoever has the turn waits for room, so that messages go out in the order
// of the calls. A message takes a place for each 64 KiB, so that a window of huge
// ones cannot fill the memory.
type Window struct {
	// Channels, because those who wait must heed a context. room has a token for
	// each free place, turn one while somebody sends.
	room, turn, closing chan struct{}
	taken               int // by Shut and Await
}

// NewWindow returns a window of so many places, at least one.
func NewWindow(places int) *Window {
	w := &Window{room: make(chan struct{}, places), turn: make(chan struct{}, 1), closing: make(chan struct{})}
	w.Give(places)
	return w
}

// Enter waits for the turn and for the room that a message with so many bytes of
// data needs, and returns the places that it has then. It fails with [ErrClosed]
// after Shut, or with ctx's error; then it holds neither.
//
// Law: once ctx has ended or the window is shut, nobody enters. A select alone
// would let some in by chance, and those would overtake who was sent away.
func (w *Window) Enter(ctx context.Context, bytes int) (places int, err error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	select {
	case <-w.closing:
		return 0, ErrClosed
	default:
	}
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-w.closing:
		return 0, ErrClosed
	}
	places = min(cap(w.room), 1+bytes/weightUnit)
	for n := range places {
		select {
		case <-w.room:
			continue
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-w.closing:
			err = ErrClosed
		}
		w.Give(n)
		w.Next()
		return 0, err
	}
	return places, nil
}

// Next gives the turn of Enter to the next one. The places stay taken.
func (w *Window) Next() { <-w.turn }

// Give frees places.
func (w *Window) Give(places int) {
	for range places {
		w.room <- struct{}{}
	}
}

// Idle reports whether no place is taken.
func (w *Window) Idle() bool { return len(w.room) == cap(w.room) }

// Shut lets nobody enter any more and waits until all places are free or ctx ends.
// Call it once.
func (w *Window) Shut(ctx context.Context) {
	close(w.closing)
	for ; w.taken < cap(w.room); w.taken++ {
		select {
		case <-w.room:
		case <-ctx.Done():
			return
		}
	}
}

// Await waits, after Shut, until the rest of the places is free.
func (w *Window) Await() {
	for ; w.taken < cap(w.room); w.taken++ {
		<-w.room
	}
}

// Closing is closed by Shut.
func (w *Window) Closing() <-chan struct{} { return w.closing }

// Check refuses, with [ErrRejected], what no broker would ever take: data over the
// limit, no id, a type that is none.
func (m *Message) Check(limit int) error {
	if len(m.Data) > limit {
		return RejectSize(len(m.Data), limit)
	}
	if m.ID.IsZero() {
		return fmt.Errorf("%w: it has no event id", ErrRejected)
	}
	if _, err := bloodbank.ParseEventType(string(m.Type)); err != nil {
		return fmt.Errorf("%w: %w", ErrRejected, err)
	}
	return nil
}

// RejectSize is the error of a message that is larger than the limit, in bytes.
func RejectSize(size, limit int) error {
	return fmt.Errorf("%w: it has %d bytes, the limit is %d", ErrRejected, size, limit)
}
