package rabbitmq

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// wireBuffer is how many bytes may wait to be sent.
	wireBuffer = 256 << 10
	// partingFlush is how long a closing wire still sends what waits.
	partingFlush = 250 * time.Millisecond
)

// wire is a socket whose writes are collected and sent by a goroutine of its
// own. The client library flushes after every message; here they go out
// together, which saves most of the system calls on both sides. And a write that
// stalls (the broker no longer reads) has a deadline, after which the socket is
// closed: nothing in the library can interrupt a write.
type wire struct {
	net.Conn
	stall time.Duration

	mu      sync.Mutex
	work    sync.Cond // something to send, or the end
	room    sync.Cond // something was sent, or the end
	waiting []byte
	spare   []byte
	err     error
	closing bool
	flushed chan struct{} // the goroutine has ended

	hungUp atomic.Bool // the other side has closed it
}

func newWire(c net.Conn, stall time.Duration) *wire {
	w := &wire{Conn: c, stall: stall, flushed: make(chan struct{})}
	w.work.L, w.room.L = &w.mu, &w.mu
	go w.flush()
	return w
}

// Write takes p for sending. Its error may be that of an earlier write.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.waiting) >= wireBuffer && w.err == nil && !w.closing {
		w.room.Wait()
	}
	if w.err != nil {
		return 0, w.err
	}
	if w.closing {
		return 0, net.ErrClosed
	}
	w.waiting = append(w.waiting, p...)
	w.work.Signal()
	return len(p), nil
}

func (w *wire) flush() {
	defer close(w.flushed)
	for {
		p := w.next()
		if p == nil {
			return
		}
		_ = w.Conn.SetWriteDeadline(time.Now().Add(w.stall)) // fails where the write fails, too
		_, err := w.Conn.Write(p)
		w.mu.Lock()
		w.spare = p[:0]
		if err != nil {
			w.err = err
			w.room.Broadcast()
		}
		w.mu.Unlock()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			_ = w.Conn.Close() // so that the reader ends, too
			return
		}
		if err != nil {
			// The last words of the other side, which say why, may still be read.
			time.AfterFunc(partingFlush, func() { _ = w.Conn.Close() })
			return
		}
	}
}

// next waits for something to send; nil is the end.
func (w *wire) next() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.waiting) == 0 && !w.closing {
		w.work.Wait()
	}
	if len(w.waiting) == 0 {
		return nil
	}
	p := w.waiting
	w.waiting, w.spare = w.spare, nil
	w.room.Broadcast()
	return p
}

// Read notes whether the other side hung up.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		w.hungUp.Store(true)
	}
	return n, err
}

// SetDeadline bounds reading. Writing has a deadline of its own.
func (w *wire) SetDeadline(t time.Time) error { return w.Conn.SetReadDeadline(t) }

// SetWriteDeadline does nothing; see SetDeadline.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// Close sends what waits, for a moment at most, and closes the socket.
func (w *wire) Close() error {
	w.stop()
	t := time.NewTimer(partingFlush)
	defer t.Stop()
	select {
	case <-w.flushed:
	case <-t.C:
	}
	err := w.Conn.Close()
	<-w.flushed
	return err
}

// kill closes the socket at once, whatever still waits.
func (w *wire) kill() {
	w.expire()
	<-w.flushed
}

// expire is kill without waiting.
func (w *wire) expire() {
	_ = w.Conn.Close() // it may be closed already
	w.stop()
}

func (w *wire) stop() {
	w.mu.Lock()
	w.closing = true
	w.work.Broadcast()
	w.room.Broadcast()
	w.mu.Unlock()
}
