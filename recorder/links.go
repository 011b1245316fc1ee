package recorder

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/store"
)

// Pauses of [Links] while links cannot be kept.
const (
	firstLinksPause = 200 * time.Millisecond
	lastLinksPause  = 5 * time.Second
)

// LinkSource is what [Links] follows: a store, by sequence.
type LinkSource interface {
	After(ctx context.Context, seq int64, limit int) ([]store.Event, error)
	Last(ctx context.Context) (int64, error)
}

// LinkKeeper keeps links outside of the store, for example in Redis, together
// with the position of whoever brings them, so that both are lost together. Its
// errors with CodeUnavailable come at once while it is known to be down.
type LinkKeeper interface {
	// Position returns where the follower of that name stands, zero for nowhere.
	Position(ctx context.Context, name string) (correlation.Position, error)
	// Keep writes those links of events that are missing, and only then moves the
	// position. It does not move it where it is not at from.
	Keep(ctx context.Context, name string, from, to correlation.Position, events ...bloodbank.Envelope) (correlation.Kept, error)
}

// LinksOptions configure a [Links]. Source and Keeper are required.
type LinksOptions struct {
	Source LinkSource
	Keeper LinkKeeper
	// MaxAge is how long the keeper keeps a link: events that were stored longer
	// ago are left out. 0 means that none are.
	MaxAge time.Duration
	// MaxBatch is how many events are read at once; 0 means 500.
	MaxBatch int
	// Poll is how often store and keeper are looked at without being told to, for
	// what another process has written or lost; 0 means 2 s.
	Poll   time.Duration
	Logger *slog.Logger
}

// Links is the service that brings the links of a store to a keeper. It is a
// follower of the store: its position stands in the keeper, beside the data. A
// keeper that was down is caught up with, one that lost everything is filled
// again, and nothing waits for it. Several processes may do this for the same
// store. It lives once: stopped it stays stopped.
type Links struct {
	o    LinksOptions
	wake chan struct{} // holds one token
	done chan struct{}

	trail trail // of the following goroutine

	mu       sync.Mutex
	stop     context.CancelFunc // nil until started
	ended    bool
	heard    int64 // the newest sequence that we know of
	position int64
	level    bool // the end of the store was reached since the start, or since the keeper lost something
	written  uint64
	fault    error
}

// NewLinks returns the service.
func NewLinks(o LinksOptions) *Links {
	if o.MaxBatch <= 0 {
		o.MaxBatch = 500
	}
	if o.Poll <= 0 {
		o.Poll = 2 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Links{o: o, wake: make(chan struct{}, 1), done: make(chan struct{}), position: -1}
	l.trail = trail{source: o.Source, keeper: o.Keeper, maxAge: o.MaxAge, batch: o.MaxBatch}
	return l
}

// Name is the name of the service.
func (l *Links) Name() string { return "links" }

// Start begins to follow. A keeper or a store that is down is no failure.
func (l *Links) Start(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "the follower of links has been stopped; make a new one")
	}
	if l.stop != nil {
		return nil
	}
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(l.done)
		l.follow(ctx)
	}()
	return nil
}

// Stop ends following, within ctx. What is not kept yet comes at the next start.
// It is idempotent.
func (l *Links) Stop(ctx context.Context) error {
	l.mu.Lock()
	l.ended = true
	stop := l.stop
	l.mu.Unlock()
	if stop == nil {
		return nil
	}
	stop()
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return bloodbank.Errorf(bloodbank.CodeTimeout, "the follower of links did not stop in time: %w", context.Cause(ctx))
	}
}

// Wake says that last is the newest sequence of the store. It never blocks.
func (l *Links) Wake(last int64) {
	l.mu.Lock()
	l.heard = max(l.heard, last)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Ready reports whether the keeper has the links of all events that we have heard
// of, and all that were there at the start. It asks nobody.
func (l *Links) Ready() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault == nil && l.level && l.position >= l.heard && l.stop != nil && !l.ended
}

func (l *Links) follow(ctx context.Context) {
	tick := time.NewTicker(l.o.Poll)
	defer tick.Stop()
	pause := firstLinksPause
	for {
		err := l.catchUp(ctx)
		if ctx.Err() != nil {
			return
		}
		l.report(err)
		if err != nil {
			l.trail.lost = true
			if !rest(ctx, pause) {
				return
			}
			pause = min(2*pause, lastLinksPause)
			continue
		}
		pause = firstLinksPause
		select {
		case <-l.wake:
		case <-tick.C:
			l.trail.lost = true // look whether the keeper still has it all
		case <-ctx.Done():
			return
		}
	}
}

// rest waits for something between half of d and d.
func rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d/2 + rand.N(d/2+1)):
		return true
	case <-ctx.Done():
		return false
	}
}

// catchUp brings links until the store has no more.
func (l *Links) catchUp(ctx context.Context) error {
	for ctx.Err() == nil {
		heard := l.newest()
		step, err := l.trail.step(ctx)
		if err != nil {
			return err
		}
		if step.restarted {
			l.o.Logger.Info("links are written from the beginning of the store, because the keeper does not know how far they had come")
		}
		l.advance(step, heard)
		if step.end {
			return nil
		}
	}
	return nil
}

func (l *Links) newest() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard
}

// advance notes a step before which heard was the newest sequence.
func (l *Links) advance(s step, heard int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.position = s.at
	l.level = s.end || l.level && !s.restarted
	if s.end && l.heard == heard {
		l.heard = s.at // what lies beyond is gone: the store was made anew
	}
	l.written += uint64(s.written)
}

// report logs when keeping links begins to fail and when it works again.
func (l *Links) report(err error) {
	l.mu.Lock()
	turned := (err == nil) != (l.fault == nil)
	l.fault = err
	l.mu.Unlock()
	switch {
	case turned && err != nil:
		l.o.Logger.Warn("links of events cannot be kept; they stay in the store, and it is tried again", "error", err)
	case turned:
		l.o.Logger.Info("links of events are kept again")
	}
}

// Position is the sequence up to which links are kept, -1 while that is not
// known. It asks nobody.
func (l *Links) Position() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.position
}

// LinksStatus describes a [Links].
type LinksStatus struct {
	// Position is the sequence up to which links are kept; -1 while that is not
	// known.
	Position int64 `json:"position"`
	// Lag is how far the store is ahead of it, -1 when that is not known.
	Lag int64 `json:"lag"`
	// Written counts links that were missing, since the start.
	Written uint64 `json:"written"`
	// Fault is why links cannot be kept at the moment.
	Fault string `json:"fault,omitempty"`
}

// Status returns a snapshot. It asks the store for its newest sequence, and waits
// for that at most two seconds; it does not ask the keeper.
func (l *Links) Status(ctx context.Context) LinksStatus {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	last, err := l.o.Source.Last(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	s := LinksStatus{Position: l.position, Lag: -1, Written: l.written}
	if err == nil && l.position >= 0 {
		s.Lag = max(last-l.position, 0)
	}
	if l.fault != nil {
		s.Fault = l.fault.Error()
	}
	return s
}
