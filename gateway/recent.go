package gateway

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"time"

	"github.com/33god/bloodbank"
)

// recentCapacity is how many accepted ids are remembered at the least; twice as
// many at the most, about 16 MiB.
const recentCapacity = 1 << 17

// clockSkew is how far the clocks of callers may be ahead of ours.
const clockSkew = time.Minute

// recent remembers the newest accepted ids with their sequences, and which ids
// are being written at this moment. It is what makes the second of two equal
// requests a duplicate even when both arrive at once.
//
// Ids are kept in two generations: the old one goes when the young one is full.
type recent struct {
	capacity int
	steady   func() time.Duration // since the start, whatever is done to the clock

	mu         sync.Mutex
	young, old map[bloodbank.EventID]uint64
	youngSince time.Time
	since      time.Time                           // whatever was accepted from here on is remembered
	clock      clockBase                           // to see when the clock jumps, after which since says nothing
	writing    map[bloodbank.EventID]chan struct{} // nil until somebody waits; closed when the writer is done
}

func newRecent(capacity int, now time.Time) *recent {
	begin := time.Now()
	return &recent{
		steady: func() time.Duration { return time.Since(begin) }, clock: clockBase{wall: now},
		capacity: capacity, youngSince: now, since: now,
		young: make(map[bloodbank.EventID]uint64), old: make(map[bloodbank.EventID]uint64),
		writing: make(map[bloodbank.EventID]chan struct{}),
	}
}

// clockBase is what the clock said at a moment of steady time.
type clockBase struct {
	wall   time.Time
	steady time.Duration
}

// clockLocked notices that the clock was set: a machine without a clock of its own begins in the past, for example. What
// was accepted under the old clock can have any time, so only ids made from now on are surely known.
func (r *recent) clockLocked(now time.Time) {
	steady := r.steady()
	if jump := now.Round(0).Sub(r.clock.wall.Round(0)) - (steady - r.clock.steady); jump.Abs() > clockSkew {
		r.clock = clockBase{now, steady}
		r.since, r.youngSince = now, now
	}
}

// claim reserves id for the caller, who must release or abandon it, unless it is
// known. It waits for another caller that is writing the same id.
func (r *recent) claim(ctx context.Context, id bloodbank.EventID) (seq uint64, known bool, err error) {
	for {
		seq, known, busy := r.tryClaim(id)
		if busy == nil {
			return seq, known, nil
		}
		select {
		case <-busy: // and look again: the writer may have failed
		case <-ctx.Done():
			return 0, false, context.Cause(ctx)
		}
	}
}

func (r *recent) tryClaim(id bloodbank.EventID) (seq uint64, known bool, busy chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if seq, known = r.lookupLocked(id); known {
		return seq, true, nil
	}
	busy, claimed := r.writing[id]
	if claimed && busy == nil {
		busy = make(chan struct{})
	}
	r.writing[id] = busy
	return 0, false, busy
}

func (r *recent) lookupLocked(id bloodbank.EventID) (uint64, bool) {
	if seq, known := r.young[id]; known {
		return seq, true
	}
	seq, known := r.old[id]
	return seq, known
}

// release ends a claim: the event is in the log at seq.
func (r *recent) release(id bloodbank.EventID, seq uint64, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addLocked(id, seq, now)
	r.endLocked(id)
}

// abandon ends a claim without an event.
func (r *recent) abandon(id bloodbank.EventID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endLocked(id)
}

func (r *recent) endLocked(id bloodbank.EventID) {
	if busy := r.writing[id]; busy != nil {
		close(busy)
	}
	delete(r.writing, id)
}

func (r *recent) add(id bloodbank.EventID, seq uint64, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addLocked(id, seq, now)
}

// addLocked keeps the first sequence of an id that the log holds twice.
func (r *recent) addLocked(id bloodbank.EventID, seq uint64, now time.Time) {
	if _, known := r.lookupLocked(id); known {
		return
	}
	r.clockLocked(now)
	if len(r.young) >= r.capacity {
		clear(r.old)
		r.young, r.old = r.old, r.young
		r.since, r.youngSince = r.youngSince, now
	}
	r.young[id] = seq
}

// covers reports whether id, were it accepted before, would be remembered: it
// was made (the time stands in a UUIDv7) after the oldest remembered moment. So
// nobody needs to look for it in the store, which would cost more than all the
// rest of accepting an event. Of clocks that are further ahead than clockSkew a
// duplicate may be taken for new; the store, which is idempotent, drops it.
func (r *recent) covers(id bloodbank.EventID, now time.Time) bool {
	if id[6]>>4 != 7 {
		return false
	}
	made := time.UnixMilli(int64(binary.BigEndian.Uint64(id[:8]) >> 16))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clockLocked(now)
	return made.After(r.since.Add(clockSkew)) && !made.After(now.Add(clockSkew))
}

// idOfRecord reads the id from the front of a wire form that we wrote.
func idOfRecord(record []byte) (bloodbank.EventID, bool) {
	const prefix = `{"event_id":"`
	if !bytes.HasPrefix(record, []byte(prefix)) || len(record) < len(prefix)+36 {
		return bloodbank.EventID{}, false
	}
	id, err := bloodbank.ParseEventID(string(record[len(prefix) : len(prefix)+36]))
	return id, err == nil
}
