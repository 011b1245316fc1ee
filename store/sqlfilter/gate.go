package sqlfilter

import (
	"context"
	"sync"

	"github.com/33god/bloodbank"
)

// Gate admits calls to a store until it is closed, and knows those under way.
type Gate struct {
	// Life ends when Shut begins.
	Life  context.Context
	end   context.CancelFunc
	place string

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
}

// NewGate returns an open gate. The values of ctx stay, its end does not matter.
// place names the store in messages.
func NewGate(ctx context.Context, place string) *Gate {
	g := &Gate{place: place}
	g.Life, g.end = context.WithCancel(context.WithoutCancel(ctx))
	return g
}

// Enter admits a call, whose context ends with the store. leave must follow.
// After Shut it is CodeUnavailable.
func (g *Gate) Enter(ctx context.Context) (_ context.Context, leave func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, nil, bloodbank.Errorf(bloodbank.CodeUnavailable, "the store %s is closed", g.place)
	}
	g.calls.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(g.Life, cancel)
	return ctx, func() {
		stop()
		cancel()
		g.calls.Done()
	}, nil
}

// Shut admits no more calls and ends Life. It reports false where that was done
// before.
func (g *Gate) Shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := !g.closed
	g.closed = true
	g.end()
	return first
}

// Wait returns when the last call has left.
func (g *Gate) Wait() { g.calls.Wait() }
