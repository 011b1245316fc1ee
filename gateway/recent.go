package gateway

import (
	"bytes"
	"context"
	"sync"

	"github.com/33god/bloodbank"
)

// recentCapacity is how many accepted ids are remembered, about 8 MiB.
const recentCapacity = 1 << 17

// recent remembers the newest accepted ids with their sequences, and which ids
// are being written at this moment. It is what makes the second of two equal
// requests a duplicate even when both arrive at once.
type recent struct {
	mu       sync.Mutex
	accepted map[bloodbank.EventID]uint64
	ring     []bloodbank.EventID // accepted, oldest at next once full
	next     int
	writing  map[bloodbank.EventID]chan struct{} // closed when the writer is done
}

func newRecent(capacity int) *recent {
	return &recent{
		accepted: make(map[bloodbank.EventID]uint64),
		ring:     make([]bloodbank.EventID, 0, capacity),
		writing:  make(map[bloodbank.EventID]chan struct{}),
	}
}

// claim reserves id for the caller, who must release it, unless it is known. It
// waits for another caller that is writing the same id.
func (r *recent) claim(ctx context.Context, id bloodbank.EventID) (seq uint64, known bool, err error) {
	for {
		r.mu.Lock()
		if seq, known := r.accepted[id]; known {
			r.mu.Unlock()
			return seq, true, nil
		}
		busy := r.writing[id]
		if busy == nil {
			r.writing[id] = make(chan struct{})
			r.mu.Unlock()
			return 0, false, nil
		}
		r.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return 0, false, context.Cause(ctx)
		}
	}
}

// release ends a claim. seq is where the event was written, 0 for nowhere.
func (r *recent) release(id bloodbank.EventID, seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if busy := r.writing[id]; busy != nil {
		close(busy)
		delete(r.writing, id)
	}
	if seq > 0 {
		r.addLocked(id, seq)
	}
}

func (r *recent) add(id bloodbank.EventID, seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addLocked(id, seq)
}

func (r *recent) addLocked(id bloodbank.EventID, seq uint64) {
	if _, known := r.accepted[id]; known {
		return
	}
	r.accepted[id] = seq
	if len(r.ring) < cap(r.ring) {
		r.ring = append(r.ring, id)
		return
	}
	delete(r.accepted, r.ring[r.next])
	r.ring[r.next] = id
	r.next = (r.next + 1) % len(r.ring)
}

func (r *recent) lookup(id bloodbank.EventID) (uint64, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seq, known := r.accepted[id]
	return seq, known
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
