package powercut

import (
	"fmt"
	"maps"
	"sync"

	"github.com/33god/bloodbank"
)

// violation is a broken promise. It stops a run by a panic, which the run turns into an error: below rapid a failure
// must be told on rapid's own goroutine.
type violation struct{ error }

func require(ok bool, format string, args ...any) {
	if !ok {
		panic(violation{fmt.Errorf(format, args...)})
	}
}

// offer is an event as its sender knows it.
type offer struct {
	key     string
	payload string
}

// book is what the outside world knows: what was offered, and what it was told.
type book struct {
	mu      sync.Mutex
	offered map[bloodbank.EventID]offer
	acked   map[bloodbank.EventID]bool
	at      map[uint64]bloodbank.EventID // told in a receipt or read back after a start: holds for ever
	first   map[bloodbank.EventID]uint64 // the oldest of its sequences
	dead    map[bloodbank.EventID]bool   // was a dead letter once, so it has no place in an order
	proven  *sync.Map                    // of what was held against the offers before, as text: its id
	fault   error                        // found on a goroutine that could not stop the run
}

func newBook() *book {
	return &book{proven: &sync.Map{}, offered: map[bloodbank.EventID]offer{}, acked: map[bloodbank.EventID]bool{}, at: map[uint64]bloodbank.EventID{},
		first: map[bloodbank.EventID]uint64{}, dead: map[bloodbank.EventID]bool{}}
}

// clone is the book at this moment.
func (b *book) clone() *book {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &book{proven: b.proven, offered: maps.Clone(b.offered), acked: maps.Clone(b.acked), at: maps.Clone(b.at), first: maps.Clone(b.first),
		dead: maps.Clone(b.dead), fault: b.fault}
}

func (b *book) offer(id bloodbank.EventID, o offer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offered[id] = o
}

// ack notes a receipt, unless its process is dead: then nobody has got it.
func (b *book) ack(l *life, r bloodbank.Receipt, promised bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !l.alive.Load() {
		return
	}
	switch {
	case r.Duplicate && !b.acked[r.EventID] && b.first[r.EventID] == 0:
		b.faultLocked("event %v is answered as a duplicate of nothing", r.EventID)
	case promised && !r.Duplicate:
		b.faultLocked("event %v, sequence %d, was accepted before and is not known to be a duplicate", r.EventID, r.Sequence)
	}
	b.acked[r.EventID] = true
	l.acked[r.EventID] = true
	if r.Sequence > 0 {
		b.placeLocked(r.Sequence, r.EventID)
	}
}

// place says that a sequence names this event.
func (b *book) place(seq uint64, id bloodbank.EventID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.placeLocked(seq, id)
}

func (b *book) placeLocked(seq uint64, id bloodbank.EventID) {
	if other, known := b.at[seq]; known && other != id {
		b.faultLocked("sequence %d names event %v, and named %v before", seq, id, other)
	}
	b.at[seq] = id
	if first := b.first[id]; first == 0 || seq < first {
		b.first[id] = seq
	}
}

func (b *book) faultLocked(format string, args ...any) {
	if b.fault == nil {
		b.fault = fmt.Errorf(format, args...)
	}
}
