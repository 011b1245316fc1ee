package dispatch

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/wal"
)

// Retention lets the log forget what no target needs any more: the records up to
// the least of all safe positions. The dispatchers of one log share it.
//
// Law: every target that ever was holds the log at its position until it is
// given up, whether it is configured at the moment or not. So a target that is
// left out of the configuration by mistake loses nothing; one that is gone for
// good is given up by [Retention.GiveUp], or the log grows for ever.
//
// A target that appears for the first time, or again after it was given up,
// starts at the log's end: it gets what is accepted from then on, unless it asks
// for all that the log still holds (Options.FromStart). It is known from that
// moment on, also after a crash.
type Retention struct {
	log     *wal.Log
	journal *Journal

	mu    sync.Mutex
	holds map[string]*hold // by target
	gone  uint64           // the log has been told to forget up to here
	dead  *DeadLetters
}

// hold is the position of one target.
type hold struct {
	cursor *wal.Cursor
	used   bool // by a dispatcher of this process
	// isNew says that the target begins at begin, which is not written down yet.
	isNew bool
	begin uint64
}

func (h *hold) position() uint64 {
	if h.isNew {
		return h.begin
	}
	return h.cursor.Position()
}

// Hold says where a target keeps the log.
type Hold struct {
	Target   string `json:"target"`
	Position uint64 `json:"position"`
	// Configured is false for a target that no dispatcher of this process serves.
	Configured bool `json:"configured"`
}

// NewRetention returns the retention of a log. Without a journal (nil) it serves
// the main bus alone.
func NewRetention(log *wal.Log, journal *Journal) (*Retention, error) {
	r := &Retention{log: log, journal: journal, holds: make(map[string]*hold)}
	names := []string{MainTarget}
	for _, c := range log.Status().Cursors {
		if name, ok := targetOf(c.Name); ok && !r.givenUp(name) {
			names = append(names, name)
		}
	}
	if journal != nil {
		names = append(names, journal.allTargets()...)
	}
	for _, name := range names {
		if _, err := r.hold(name); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *Retention) givenUp(name string) bool {
	if r.journal == nil || name == MainTarget {
		return false
	}
	used, known := r.journal.target(name)
	return known && !used
}

func (r *Retention) hold(name string) (*hold, error) {
	if h := r.holds[name]; h != nil {
		return h, nil
	}
	cursor, err := r.log.Cursor(CursorOf(name))
	if err != nil {
		return nil, bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot read the position of target %s: %w", name, err)
	}
	h := &hold{cursor: cursor}
	r.holds[name] = h
	return h, nil
}

// join enters a target that is served from now on. It returns its cursor and its
// position.
func (r *Retention) join(name string, fromStart bool, dead *DeadLetters) (*wal.Cursor, uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dead = dead
	if name != MainTarget && r.journal == nil {
		return nil, 0, bloodbank.Errorf(bloodbank.CodeInvalid, "target %s needs a journal, so that it is known again after a restart", name)
	}
	isNew := r.isNewLocked(name)
	h, err := r.hold(name)
	if err != nil {
		return nil, 0, err
	}
	h.used = true
	if h.isNew = isNew; isNew {
		h.begin = r.log.Last()
		if fromStart {
			h.begin = max(r.log.First(), 1) - 1
		}
	}
	return h.cursor, h.position(), nil
}

// isNewLocked reports whether a target was never heard of, or given up. A journal
// or a cursor that is damaged alone does not make it new, or it would miss events.
func (r *Retention) isNewLocked(name string) bool {
	if name == MainTarget {
		return false
	}
	if used, known := r.journal.target(name); known {
		return !used
	}
	h := r.holds[name]
	return h == nil || h.cursor.SavedAt().IsZero()
}

// begin writes down where a new target starts; for any other it does nothing. The
// journal comes last: until it says that the target is known, it is new again
// after a crash.
func (r *Retention) begin(ctx context.Context, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.holds[name]
	if !h.isNew {
		return nil
	}
	if h.begin < h.cursor.Position() {
		if err := h.cursor.Rewind(ctx, h.begin); err != nil {
			return err
		}
	}
	h.cursor.Advance(h.begin)
	if err := h.cursor.Sync(ctx); err != nil {
		return err
	}
	if err := r.journal.setTarget(ctx, name, true); err != nil {
		return err
	}
	h.isNew = false
	return nil
}

// release tells the log what it may forget.
func (r *Retention) release(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	safe := r.holds[MainTarget].position()
	for _, h := range r.holds {
		safe = min(safe, h.position())
	}
	if safe <= r.gone {
		return nil
	}
	if err := r.log.Truncate(ctx, safe); err != nil {
		return err
	}
	r.gone = safe
	return nil
}

// GiveUp ends the hold of a target that is not configured any more. Events that
// it has not got are not kept for it; its dead letters stay listed, and can be
// discarded. Should it be configured again, it is new.
//
// Codes: invalid for the main bus; conflict for a target that is served;
// not_found for one that holds nothing; unavailable when it cannot be written
// down.
func (r *Retention) GiveUp(ctx context.Context, target string) error {
	r.mu.Lock()
	h, dead := r.holds[target], r.dead
	var err error
	switch {
	case targetName(target) == MainTarget:
		err = bloodbank.Errorf(bloodbank.CodeInvalid, "the main bus cannot be given up")
	case h == nil:
		err = bloodbank.Errorf(bloodbank.CodeNotFound, "no target %q holds the log", target)
	case h.used:
		err = bloodbank.Errorf(bloodbank.CodeConflict, "target %s is configured; take it out of the configuration and restart before giving it up", target)
	case r.journal == nil:
		err = bloodbank.Errorf(bloodbank.CodeUnavailable, "target %s cannot be given up without a journal", target)
	default:
		if err = r.journal.setTarget(ctx, target, false); err == nil {
			delete(r.holds, target)
		}
	}
	r.mu.Unlock()
	if err != nil {
		return err
	}
	if dead != nil {
		dead.passed(target, ^uint64(0))
	}
	if err := r.release(ctx); err != nil {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "target %s is given up, but the log could not be cut yet: %w", target, err)
	}
	return nil
}

// Holds lists who holds the log where, by name.
func (r *Retention) Holds() []Hold {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Hold, 0, len(r.holds))
	for _, name := range slices.Sorted(maps.Keys(r.holds)) {
		h := r.holds[name]
		list = append(list, Hold{Target: name, Position: h.position(), Configured: h.used})
	}
	return list
}
