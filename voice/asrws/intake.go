package asrws

import (
	"context"
	"sync"
)

const (
	maxWaiting  = 512 << 10 // bytes of audio that wait to be taken: 16 s of PCM
	keepWaiting = 8 << 10   // a larger buffer is not kept for the next audio
)

// intake is the audio between the goroutine that reads frames and the one that writes
// to the session. It costs nothing for each frame, however small. When it is full the
// reader waits, and so does the client.
type intake struct {
	ready chan struct{} // a signal that there is something to take
	room  chan struct{} // a signal that something was taken

	mu    sync.Mutex
	audio []byte
	then  command // comes behind audio
	spare []byte
	shut  bool // what comes now is too late
}

func newIntake() *intake {
	return &intake{ready: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// add waits for room and adds audio, which it copies, and a command behind it.
func (q *intake) add(ctx context.Context, audio []byte, then command) error {
	for !q.fits(audio, then) {
		select {
		case <-q.room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	signal(q.ready)
	return nil
}

func (q *intake) fits(audio []byte, then command) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shut {
		return true // and dropped
	}
	if q.then != commandNone || len(q.audio) > 0 && len(q.audio)+len(audio) > maxWaiting {
		return false
	}
	q.audio = append(q.audio, audio...)
	q.then = then
	q.shut = then == commandEnd
	return true
}

// take returns what waits, if anything does. The audio is valid until the next call.
func (q *intake) take() (audio []byte, then command, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	audio, then = q.audio, q.then
	if cap(q.spare) > keepWaiting {
		q.spare = nil
	}
	q.audio, q.then, q.spare = q.spare[:0], commandNone, audio
	signal(q.room)
	return audio, then, len(audio) > 0 || then != commandNone
}

// close drops what comes from now on.
func (q *intake) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.shut = true
	signal(q.room)
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
