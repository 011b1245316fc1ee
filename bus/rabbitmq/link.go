package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/33god/bloodbank/bus"
)

// reconnectBase is the longest pause after the first failure; it doubles from
// there.
const reconnectBase = 100 * time.Millisecond

// link keeps one connection to the broker, for ever.
type link struct {
	purpose string
	dial    *dialer
	serve   func(ctx context.Context, c *connection, ready func()) error
	log     *slog.Logger

	tried chan struct{} // closed after the first attempt
	told  func(error)   // why there is no connection; may be nil

	mu      sync.Mutex
	conn    *connection // nil while there is none
	down    error       // why
	changed chan struct{}
}

func newLink(purpose string, d *dialer, serve func(context.Context, *connection, func()) error) *link {
	return &link{
		purpose: purpose, dial: d, serve: serve, log: d.opts.Logger,
		tried: make(chan struct{}), changed: make(chan struct{}), down: errConnecting,
	}
}

// run connects and serves until ctx ends.
func (l *link) run(ctx context.Context) {
	first := sync.OnceFunc(func() { close(l.tried) })
	defer first()
	for n := 1; ; n++ {
		began := time.Now()
		up := false
		err := l.once(ctx, func() { up = true; first() })
		if ctx.Err() != nil {
			l.set(nil, bus.ErrClosed)
			return
		}
		if up && time.Since(began) > l.dial.opts.ReconnectMax {
			n = 1
		}
		l.set(nil, err)
		wait := backoff(n, reconnectBase, l.dial.opts.ReconnectMax)
		l.log.Warn("no connection to the bus; trying again", "for", l.purpose, "wait", wait, "err", err)
		first()
		if !pause(ctx, wait) {
			l.set(nil, bus.ErrClosed)
			return
		}
	}
}

func (l *link) once(ctx context.Context, up func()) error {
	c, err := l.dial.connect(ctx, l.purpose)
	if err != nil {
		return err
	}
	defer c.close()
	return l.serve(ctx, c, func() {
		l.set(c, nil)
		l.log.Info("connected to the bus", "for", l.purpose, "at", l.dial.place)
		up()
	})
}

func (l *link) set(c *connection, down error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.down = c, down
	if l.told != nil && c == nil {
		l.told(down)
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// now returns the connection, or why there is none.
func (l *link) now() (*connection, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn, l.down
}

// await waits for a connection, until ctx ends or the link is closed.
func (l *link) await(ctx context.Context) (*connection, error) {
	for {
		l.mu.Lock()
		c, down, changed := l.conn, l.down, l.changed
		l.mu.Unlock()
		if c != nil {
			return c, nil
		}
		if errors.Is(down, bus.ErrClosed) {
			return nil, down
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", down, context.Cause(ctx))
		}
	}
}

// backoff is a random pause whose limit grows with n = 1, 2, … (full jitter):
// many clients of one broker must not come back at once.
func backoff(n int, base, limit time.Duration) time.Duration {
	ceiling := limit
	if shift := min(n-1, 30); base < limit>>shift {
		ceiling = base << shift
	}
	return rand.N(ceiling) + 1
}

// pause waits for d; false means that ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
