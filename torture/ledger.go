package torture

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/33god/bloodbank"
)

// ledger is the oracle: what was offered, and which receipts came back. It lives
// outside of the program, so nothing that happens to that changes it.
type ledger struct {
	hash maphash.Seed

	mu       sync.Mutex
	entries  map[bloodbank.EventID]*entry
	accepted int
	answered int  // duplicates that were answered as such
	anew     int  // duplicates that were accepted like new ones
	loose    bool // the order of the store is only counted
	outside  int  // events that stood behind younger ones of their key
	broken   *violations
}

// entry is what is remembered of an event: enough to recognise every change.
type entry struct {
	payload, parents uint64
	lane             int32 // which ordering key; -1 for none
	place            int32 // in the lane
	accepted         bool
	seq              uint64
	seen             int // how often it was found in the store
}

func newLedger(broken *violations) *ledger {
	return &ledger{hash: maphash.MakeSeed(), entries: make(map[bloodbank.EventID]*entry), broken: broken}
}

// offered is an event on its way out.
type offered struct {
	envelope    bloodbank.Envelope
	lane, place int32
}

// offer notes events before they are sent for the first time.
func (l *ledger) offer(events []offered) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range events {
		l.entries[o.envelope.EventID] = &entry{
			payload: maphash.Bytes(l.hash, o.envelope.Payload), parents: l.hashParents(o.envelope.CorrelationIDs),
			lane: o.lane, place: o.place,
		}
	}
}

func (l *ledger) hashParents(ids []bloodbank.EventID) uint64 {
	var h maphash.Hash
	h.SetSeed(l.hash)
	for _, id := range ids {
		_, _ = h.Write(id[:]) // never fails
	}
	return h.Sum64()
}

// accept notes the receipts of events that were offered. strict says that the
// server has no excuse to take a duplicate for a new event.
func (l *ledger) accept(events []offered, receipts []bloodbank.Receipt, strict bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(receipts) != len(events) {
		l.broken.add("receipt", bloodbank.EventID{}, "%d events were answered with %d receipts", len(events), len(receipts))
		return
	}
	for i, r := range receipts {
		id := events[i].envelope.EventID
		if r.EventID != id {
			l.broken.add("receipt", id, "it was answered with the receipt of %s", r.EventID)
			continue
		}
		l.acceptOne(l.entries[id], r, strict)
	}
}

func (l *ledger) acceptOne(e *entry, r bloodbank.Receipt, strict bool) {
	switch {
	case !e.accepted:
		e.accepted, e.seq = true, r.Sequence
		l.accepted++
	case r.Duplicate:
		l.answered++
		if r.Sequence != 0 && e.seq != 0 && r.Sequence != e.seq {
			l.broken.add("duplicate", r.EventID, "it has sequence %d, and its duplicate was answered with %d", e.seq, r.Sequence)
		}
	default:
		l.anew++
		e.seq = 0 // either record may answer from here on
		if strict {
			l.broken.add("duplicate", r.EventID, "it was accepted before, and again as a new event with sequence %d", r.Sequence)
		}
	}
}

func (l *ledger) counts() (offered, accepted int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries), l.accepted
}

// ids returns every id that was ever offered.
func (l *ledger) ids() []bloodbank.EventID {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]bloodbank.EventID, 0, len(l.entries))
	for id := range l.entries {
		all = append(all, id)
	}
	return all
}

// forget begins a new count of what is in the store.
func (l *ledger) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outside = 0
	for _, e := range l.entries {
		e.seen = 0
	}
}

// found compares an event of the store with what was offered. lanes holds for
// each ordering key the last place seen.
func (l *ledger) found(e *bloodbank.Envelope, position int64, lanes map[int32]int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.entries[e.EventID]
	if known == nil {
		l.broken.add("foreign", e.EventID, "it is in the store (at %d) and was never offered", position)
		return
	}
	known.seen++
	if known.seen == 2 {
		l.broken.add("twice", e.EventID, "it is in the store twice, the second time at %d", position)
	}
	if maphash.Bytes(l.hash, e.Payload) != known.payload {
		l.broken.add("payload", e.EventID, "its payload in the store is not what was accepted: %s", shorten(e.Payload))
	}
	if l.hashParents(e.CorrelationIDs) != known.parents {
		l.broken.add("parents", e.EventID, "its parents in the store are not those that were accepted: %v", e.CorrelationIDs)
	}
	if known.lane < 0 || !known.accepted || known.seen > 1 {
		return // an event without receipt may be anywhere
	}
	last, any := lanes[known.lane]
	switch {
	case !any || known.place > last:
	case l.loose:
		l.outside++
	default:
		l.broken.add("order", e.EventID, "it is event %d of its ordering key, and stands in the store (at %d) behind event %d", known.place, position, last)
	}
	lanes[known.lane] = max(lanes[known.lane], known.place)
}

// missing returns accepted events that were not found, without those that are
// dead letters.
func (l *ledger) missing(dead map[bloodbank.EventID]string) []bloodbank.EventID {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lost []bloodbank.EventID
	for id, e := range l.entries {
		if _, is := dead[id]; e.accepted && e.seen == 0 && !is {
			lost = append(lost, id)
		}
	}
	return lost
}

func (l *ledger) stored() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if e.seen > 0 {
			n++
		}
	}
	return n
}

func shorten(b []byte) string {
	const limit = 200
	if len(b) > limit {
		return fmt.Sprintf("%s… (%d bytes)", bytes.ToValidUTF8(b[:limit], nil), len(b))
	}
	return string(b)
}

// Violation is a broken promise.
type Violation struct {
	// Kind is lost, foreign, twice, payload, parents, order, duplicate, receipt,
	// refused, chain, dead, stored, died, stop or stuck.
	Kind string `json:"kind"`
	// EventID is the event that it is about, zero for none.
	EventID bloodbank.EventID `json:"event_id,omitzero"`
	Text    string            `json:"text"`
}

// violations counts all of them and keeps the first of each kind.
type violations struct {
	mu    sync.Mutex
	count map[string]int
	list  []Violation
}

// keptViolations is how many of a kind are kept with their text.
const keptViolations = 20

func (v *violations) add(kind string, id bloodbank.EventID, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.count == nil {
		v.count = make(map[string]int)
	}
	v.count[kind]++
	if v.count[kind] <= keptViolations {
		v.list = append(v.list, Violation{Kind: kind, EventID: id, Text: fmt.Sprintf(format, args...)})
	}
}

func (v *violations) total() (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.count {
		n += c
	}
	return n
}
