// Package retention lets old events of a store go, by age, by size and by type.
//
// Law: an event goes only where a rule says so, in small transactions that keep
// no writer waiting for long; each of them is recorded with its reason, and the
// ledger goes on to prove what was there. Never removed are: the newest event,
// those younger than [Grace], and those that a follower of the store has not read
// yet ([Options.Floor]).
package retention

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// Grace is how old an event in the store must be at least to be removed: by then
// the bus sends it no more, and nobody's position lies before it.
const Grace = time.Hour

// Forever is the age of what is never removed.
const Forever = time.Duration(0)

// Rule says how long the events of some types are kept.
type Rule struct {
	// Types is a glob, such as llm.* (a * is any run of characters).
	Types string
	// MaxAge counts from the storing of the event; Forever keeps it, also where the
	// store is too large.
	MaxAge time.Duration
}

// Store is what is needed of a store.
type Store interface {
	store.Remover
	Last(ctx context.Context) (int64, error)
}

// Options configure a [Keeper]. Store is required.
type Options struct {
	Store Store
	// MaxAge is for types without a rule; Forever keeps them.
	MaxAge time.Duration
	// MaxBytes is how many bytes of wire forms the store holds; 0 is any number.
	// The oldest go first, whatever their age, but for those that a rule keeps
	// forever.
	MaxBytes int64
	// Rules are tried in order; the first that fits a type holds for it.
	Rules []Rule
	// Floor returns the sequence up to which all followers of the store have read;
	// nil means all of it.
	Floor func() int64
	// Every is the time between two sweeps, 0 means a minute; Batch is how many
	// events go at once, 0 means 200; Pause is the least time between two such
	// transactions, 0 means 20 ms.
	Every time.Duration
	Batch int
	Pause time.Duration
	// Now is the clock; nil means time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Keeper sweeps the store. It is for one run.
type Keeper struct {
	o Options
	// reached holds how far each class of types is done with: all up to it is gone,
	// or belongs to another class. A class is a rule, or the rest.
	reached []int64
	sized   int64 // the same for the limit of size

	mu     sync.Mutex
	status Status
	looked time.Time
}

// Status describes a [Keeper].
type Status struct {
	// Usage is at most some seconds old.
	store.Usage
	MaxAge   string   `json:"max_age,omitempty"`
	MaxBytes int64    `json:"max_bytes,omitempty"`
	Rules    []string `json:"rules,omitempty"`
	// Swept is when the last sweep ended, the zero time before the first; Removed
	// counts events since the start.
	Swept   time.Time `json:"swept,omitzero"`
	Removed int64     `json:"removed"`
	// Over is by how many bytes the store is above its limit, because the rest is
	// young, kept forever or needed by a follower.
	Over  int64  `json:"over,omitempty"`
	Fault string `json:"fault,omitempty"`
}

// New returns a keeper.
func New(o Options) *Keeper {
	if o.Every <= 0 {
		o.Every = time.Minute
	}
	if o.Batch <= 0 {
		o.Batch = 200
	}
	o.Batch = min(o.Batch, store.MaxRemove)
	if o.Pause <= 0 {
		o.Pause = 20 * time.Millisecond
	}
	if o.Floor == nil {
		o.Floor = func() int64 { return math.MaxInt64 }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{o: o, reached: make([]int64, len(o.Rules)+1)}
	k.status.MaxBytes = o.MaxBytes
	if o.MaxAge != Forever {
		k.status.MaxAge = ageText(o.MaxAge)
	}
	for _, r := range o.Rules {
		k.status.Rules = append(k.status.Rules, r.Types+"="+ageText(r.MaxAge))
	}
	return k
}

// ageText writes whole days as such.
func ageText(d time.Duration) string {
	switch day := 24 * time.Hour; {
	case d == Forever:
		return "forever"
	case d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}

// Keeps reports whether nothing is ever removed.
func (o Options) Keeps() bool {
	for _, r := range o.Rules {
		if r.MaxAge != Forever {
			return false
		}
	}
	return o.MaxAge == Forever && o.MaxBytes == 0
}

// Run sweeps until ctx ends. A sweep that fails is logged, and tried again at the
// next turn.
func (k *Keeper) Run(ctx context.Context) {
	tick := time.NewTicker(k.o.Every)
	defer tick.Stop()
	for {
		k.report(ctx, k.Sweep(ctx))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (k *Keeper) report(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	k.mu.Lock()
	before := k.status.Fault
	k.status.Fault = err.Error()
	k.mu.Unlock()
	if before == "" {
		k.o.Logger.Warn("old events cannot be removed from the store; it is tried again", "error", err)
	}
}

// fresh is how old what Status says of the store may be.
const fresh = 5 * time.Second

// Status returns a snapshot. Where the last look at the store was a while ago it
// looks again, for at most two seconds.
func (k *Keeper) Status(ctx context.Context) Status {
	k.mu.Lock()
	stale := time.Since(k.looked) > fresh
	if stale {
		k.looked = time.Now() // one look for all who ask
	}
	k.mu.Unlock()
	if stale {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if usage, err := k.o.Store.Usage(ctx); err == nil {
			k.hold(usage)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}

// hold notes how much the store holds.
func (k *Keeper) hold(usage store.Usage) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.looked, k.status.Usage, k.status.Over = time.Now(), usage, 0
	if k.o.MaxBytes > 0 {
		k.status.Over = max(usage.Bytes-k.o.MaxBytes, 0)
	}
}

// Sweep removes all that may go now.
func (k *Keeper) Sweep(ctx context.Context) error {
	if !k.o.Keeps() {
		if err := k.sweepAges(ctx); err != nil {
			return err
		}
	}
	usage, err := k.o.Store.Usage(ctx)
	if err != nil {
		return err
	}
	if k.o.MaxBytes > 0 && usage.Bytes > k.o.MaxBytes {
		if err := k.sweepSize(ctx, usage.Bytes-k.o.MaxBytes); err != nil {
			return err
		}
		if usage, err = k.o.Store.Usage(ctx); err != nil {
			return err
		}
	}
	k.hold(usage)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status.Swept, k.status.Fault = k.o.Now(), ""
	return nil
}

func (k *Keeper) sweepAges(ctx context.Context) error {
	for class := range k.reached {
		age, reason := k.o.MaxAge, "age: older than "+ageText(k.o.MaxAge)
		if class < len(k.o.Rules) {
			r := k.o.Rules[class]
			age, reason = r.MaxAge, "age: "+r.Types+" older than "+ageText(r.MaxAge)
		}
		if age == Forever {
			continue
		}
		err := k.walk(ctx, &k.reached[class], k.o.Now().Add(-max(age, Grace)), reason, func(h store.Head) verdict {
			if k.class(h.Type) == class {
				return remove
			}
			return pass
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (k *Keeper) sweepSize(ctx context.Context, excess int64) error {
	reason := fmt.Sprintf("size: the store holds more than %d bytes", k.o.MaxBytes)
	return k.walk(ctx, &k.sized, k.o.Now().Add(-Grace), reason, func(h store.Head) verdict {
		class := k.class(h.Type)
		switch {
		case excess <= 0:
			return stop
		case class < len(k.o.Rules) && k.o.Rules[class].MaxAge == Forever:
			return pass
		}
		excess -= h.Bytes
		return remove
	})
}

// class is the index of the rule for a type, or behind all rules.
func (k *Keeper) class(t bloodbank.EventType) int {
	for i, r := range k.o.Rules {
		if t.Match(r.Types) {
			return i
		}
	}
	return len(k.o.Rules)
}

// verdict says what becomes of an event.
type verdict int

const (
	pass verdict = iota
	remove
	stop
)

// walk goes from *at through what was stored until the time given, as far as
// followers are, and removes what judge says. *at follows behind.
func (k *Keeper) walk(ctx context.Context, at *int64, until time.Time, reason string, judge func(store.Head) verdict) error {
	last, err := k.o.Store.Last(ctx)
	if err != nil {
		return err
	}
	floor := min(k.o.Floor(), last-1)
	if *at > last {
		*at = 0 // the store was made anew
	}
	var doomed []int64
	seen := *at
	flush := func() error {
		if err := k.remove(ctx, doomed, reason); err != nil {
			return err
		}
		doomed, *at = doomed[:0], seen
		return nil
	}
	for {
		heads, err := k.o.Store.Heads(ctx, seen, store.MaxRemove)
		if err != nil {
			return err
		}
		for _, h := range heads {
			if h.Sequence > floor || h.StoredAt.After(until) {
				return flush()
			}
			switch judge(h) {
			case stop:
				return flush()
			case remove:
				doomed = append(doomed, h.Sequence)
			}
			if seen = h.Sequence; len(doomed) == k.o.Batch {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if len(heads) == 0 {
			return flush()
		}
	}
}

// remove lets a batch go, then rests as long as that took.
func (k *Keeper) remove(ctx context.Context, sequences []int64, reason string) error {
	if len(sequences) == 0 {
		return nil
	}
	began := time.Now()
	r, err := k.o.Store.Remove(ctx, sequences, reason)
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.status.Removed += r.Events
	k.mu.Unlock()
	if r.Events > 0 {
		k.o.Logger.Debug("old events were removed from the store", "events", r.Events, "bytes", r.Bytes, "reason", reason)
	}
	select {
	case <-time.After(max(k.o.Pause, time.Since(began))):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
