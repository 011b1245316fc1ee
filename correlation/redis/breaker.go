package redis

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/33god/bloodbank"
)

// Pauses between probes of a Redis that does not answer.
const (
	firstProbe = 50 * time.Millisecond
	lastProbe  = 5 * time.Second
)

// breaker remembers whether Redis answers. Only the prober closes it, so that no
// caller pays for finding out.
type breaker struct {
	kick chan struct{} // asks the prober to look

	mu    sync.Mutex
	fault error     // nil while closed
	since time.Time // of the fault
}

func newBreaker() *breaker {
	return &breaker{kick: make(chan struct{}, 1)}
}

func (b *breaker) state() (since time.Time, fault error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.since, b.fault
}

// trip opens the breaker, and reports whether it was closed.
func (b *breaker) trip(err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	turned := b.fault == nil
	if turned {
		b.since = time.Now()
	}
	b.fault = err
	if turned {
		b.suspect()
	}
	return turned
}

// suspect asks for a probe without opening the breaker.
func (b *breaker) suspect() {
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

func (b *breaker) restore() (down time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fault == nil {
		return 0
	}
	down, b.fault = time.Since(b.since), nil
	return down
}

// probe asks Redis for signs of life, when there are doubts and until it gives
// some.
func (t *Tracker) probe(ctx context.Context) {
	for {
		select {
		case <-t.breaker.kick:
		case <-ctx.Done():
			return
		}
		t.revive(ctx)
	}
}

func (t *Tracker) revive(ctx context.Context) {
	if _, fault := t.breaker.state(); fault == nil {
		err := t.ping(ctx)
		if err == nil || answered(err) || ctx.Err() != nil {
			return
		}
		t.tripped(err)
	}
	for pause := firstProbe; ; pause = min(2*pause, lastProbe) {
		select {
		case <-time.After(jitter(pause)):
		case <-ctx.Done():
			return
		}
		// Connections that have died in silence would each cost a timeout, so all
		// of the old ones go.
		old := t.client.Swap(t.dial())
		_ = old.Close()
		err := t.ping(ctx)
		if err == nil || answered(err) {
			down := t.breaker.restore()
			t.o.Logger.Info("Redis answers again", "addr", t.o.Addr, "after", down)
			return
		}
		if ctx.Err() == nil {
			t.breaker.trip(err)
		}
	}
}

func (t *Tracker) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.o.Timeout)
	defer cancel()
	return t.client.Load().Ping(ctx).Err()
}

// jitter returns something between half of d and d.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// do makes one round trip, unless Redis is known not to answer.
func (t *Tracker) do(ctx context.Context, trip func(ctx context.Context, c *goredis.Client) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if since, fault := t.breaker.state(); fault != nil {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "Redis at %s has not answered for %s (%w); it is tried again by itself",
			t.o.Addr, time.Since(since).Round(time.Second), fault)
	}
	limited, cancel := context.WithTimeout(ctx, t.o.Timeout)
	defer cancel()
	client := t.client.Load()
	err := trip(limited, client)
	switch {
	case err == nil || errors.Is(err, goredis.Nil):
		return err
	case errors.Is(ctx.Err(), context.Canceled):
		return context.Cause(ctx)
	case expired(ctx):
		t.breaker.suspect() // the caller's time was short, or Redis is silent
		return context.DeadlineExceeded
	case answered(err):
		return t.explain(err)
	}
	if t.client.Load() == client { // else it says nothing about the connections of now
		t.tripped(err)
	}
	return t.explain(err)
}

// expired reports whether ctx is over by the clock: a socket may notice that
// before ctx does.
func expired(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}

func (t *Tracker) tripped(err error) {
	if t.breaker.trip(err) {
		t.o.Logger.Warn("Redis does not answer; links wait, and it is tried again", "addr", t.o.Addr, "error", err)
	}
}

// answered reports whether err is an answer of a Redis that works.
func answered(err error) bool {
	var reply goredis.Error
	if !errors.As(err, &reply) {
		return false
	}
	// These are answers of a Redis that does not serve anybody now.
	for _, prefix := range []string{"LOADING", "BUSY", "NOAUTH", "WRONGPASS", "MASTERDOWN", "CLUSTERDOWN", "ERR max number of clients"} {
		if strings.HasPrefix(reply.Error(), prefix) {
			return false
		}
	}
	return true
}
