package correlation

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/33god/bloodbank"
)

// Defaults of [FallbackOptions], and the longest pause of its breaker.
const (
	DefaultPatience = 500 * time.Millisecond
	firstPause      = time.Second
	lastPause       = 8 * time.Second
)

// FallbackOptions configure a [Fallback]. Fast and Truth are required.
type FallbackOptions struct {
	// Fast is a copy: it may be down, be behind, or have forgotten.
	Fast Tracker
	// Truth knows everything: the store.
	Truth Tracker
	// Ready reports whether Fast has all that Truth has; nil means always. While
	// it says false, Fast is not asked. It must not block.
	Ready func() bool
	// MaxAge is how long Fast surely keeps what it has, 0 for ever. Answers that
	// touch older events come from Truth.
	MaxAge time.Duration
	// Patience is how long Fast may take; 0 means DefaultPatience.
	Patience time.Duration

	now func() time.Time // for tests
}

// Fallback is a [Tracker] that asks a fast copy first, and the truth where the
// copy does not answer, is behind, or may have forgotten something: the answers
// are the truth's. It keeps in mind that the copy failed, so that a silent one
// costs its patience once, not once for each question.
type Fallback struct {
	o FallbackOptions

	mu     sync.Mutex
	status FallbackStatus
	pause  time.Duration
	again  time.Time // before that the copy is not asked
}

var _ Tracker = (*Fallback)(nil)

// FallbackStatus counts answers since the start.
type FallbackStatus struct {
	Fast  uint64 `json:"fast"`
	Truth uint64 `json:"truth"`
	// Fault is why the copy failed last, "" once it works again.
	Fault string `json:"fault,omitempty"`
}

// NewFallback returns a fallback.
func NewFallback(o FallbackOptions) *Fallback {
	if o.Patience <= 0 {
		o.Patience = DefaultPatience
	}
	if o.Ready == nil {
		o.Ready = func() bool { return true }
	}
	if o.now == nil {
		o.now = time.Now
	}
	return &Fallback{o: o, pause: firstPause}
}

// Status returns a snapshot.
func (f *Fallback) Status() FallbackStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

// Parents implements [Tracker].
func (f *Fallback) Parents(ctx context.Context, id bloodbank.EventID) (parents []bloodbank.EventID, err error) {
	fast := f.try(ctx, func(ctx context.Context) (bool, error) {
		parents, err = f.o.Fast.Parents(ctx, id)
		return err == nil, err
	})
	if !fast {
		parents, err = f.o.Truth.Parents(ctx, id)
	}
	return parents, err
}

// Children implements [Tracker].
func (f *Fallback) Children(ctx context.Context, id bloodbank.EventID) (children []bloodbank.EventID, err error) {
	fast := f.try(ctx, func(ctx context.Context) (bool, error) {
		// Only a chain says how old the parent is.
		l := Limits{MaxDepth: 2}.WithDefaults()
		c, err := f.o.Fast.Chain(ctx, id, Descendants, l)
		if err != nil || len(c.Nodes) >= l.MaxNodes || f.doubtful(c) {
			return false, err
		}
		children = childrenOf(c)
		return true, nil
	})
	if !fast {
		return f.o.Truth.Children(ctx, id)
	}
	return children, nil
}

// childrenOf returns the children of the start, oldest first.
func childrenOf(c Chain) []bloodbank.EventID {
	nodes := slices.DeleteFunc(slices.Clone(c.Nodes), func(n Node) bool { return !slices.Contains(n.Parents, c.Start) })
	slices.SortFunc(nodes, func(a, b Node) int {
		return cmp.Or(a.Timestamp.Compare(b.Timestamp), bytes.Compare(a.ID[:], b.ID[:]))
	})
	var ids []bloodbank.EventID
	for _, n := range nodes {
		ids = append(ids, n.ID)
	}
	return ids
}

// Chain implements [Tracker].
func (f *Fallback) Chain(ctx context.Context, id bloodbank.EventID, d Direction, l Limits) (c Chain, err error) {
	fast := f.try(ctx, func(ctx context.Context) (bool, error) {
		c, err = f.o.Fast.Chain(ctx, id, d, l)
		return err == nil && !f.doubtful(c), err
	})
	if !fast {
		c, err = f.o.Truth.Chain(ctx, id, d, l)
	}
	return c, err
}

// doubtful reports whether the truth may know more than this answer of the copy.
// An answer of one node is what a copy gives that has just been emptied; the
// truth gives it for next to nothing.
func (f *Fallback) doubtful(c Chain) bool {
	return c.Lost || len(c.Nodes) < 2 || f.o.MaxAge > 0 && slices.ContainsFunc(c.Nodes, func(n Node) bool { return f.old(n, c.Direction) })
}

// old reports whether links of a node may be too old for the copy. Of a node
// that is not known nobody knows the age; only what it caused can be lost.
func (f *Fallback) old(n Node, d Direction) bool {
	if n.Timestamp.IsZero() {
		return n.Known || d == Descendants
	}
	return f.o.now().Sub(n.Timestamp) >= f.o.MaxAge
}

// try asks the copy, if there is a point in that, and reports whether its answer
// counts.
func (f *Fallback) try(ctx context.Context, ask func(ctx context.Context) (good bool, err error)) bool {
	if !f.open() {
		return f.count(false)
	}
	limited, cancel := context.WithTimeout(ctx, f.o.Patience)
	defer cancel()
	good, err := ask(limited)
	if ctx.Err() == nil || err == nil {
		f.note(err)
	}
	return f.count(good)
}

// open reports whether the copy may be asked now. After a failure one question
// at a time finds out whether it is back.
func (f *Fallback) open() bool {
	if !f.o.Ready() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status.Fault == "" {
		return true
	}
	now := f.o.now()
	if now.Before(f.again) {
		return false
	}
	f.again = now.Add(f.pause)
	return true
}

func (f *Fallback) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch bloodbank.CodeOf(err) {
	case "", bloodbank.CodeNotFound, bloodbank.CodeInvalid: // an answer
		f.status.Fault, f.pause = "", firstPause
		return
	}
	if errors.Is(err, context.DeadlineExceeded) {
		f.status.Fault = "it did not answer within " + f.o.Patience.String()
	} else {
		f.status.Fault = err.Error()
	}
	f.again = f.o.now().Add(f.pause)
	f.pause = min(2*f.pause, lastPause)
}

func (f *Fallback) count(fast bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fast {
		f.status.Fast++
	} else {
		f.status.Truth++
	}
	return fast
}
