package powercut

import (
	"bytes"
	"fmt"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/dispatch"
)

type id = bloodbank.EventID

// seen is what a look at the way to one broker finds.
type seen struct {
	lane
	records map[uint64]id // in the log
	last    uint64
	passed  uint64 // by the cursor, or given away before it was saved
	letters []dispatch.DeadLetter
	dead    map[id]bool
	onBus   map[id]bool
	safe    map[id]bool // on the bus, whatever happens
}

// laneOf is the way to the broker of a target.
func (l *life) laneOf(target string) lane {
	for _, way := range l.lanes {
		if way.target == target {
			return way
		}
	}
	panic(violation{fmt.Errorf("there is no target %s", target)})
}

// adopt notes what a new life finds in its log: from now on it must stay.
func (w *world) adopt() {
	for seq, id := range w.readLog() {
		w.book.place(seq, id)
	}
}

// readLog reads every record and holds it against what was offered.
func (w *world) readLog() map[uint64]id {
	r, err := w.life.log.NewReader(0)
	require(err == nil || !w.life.alive.Load(), "the log cannot be read: %v", err)
	if err != nil {
		return nil
	}
	defer r.Close()
	records, before := map[uint64]id{}, uint64(0)
	for {
		record, ok, err := r.TryNext()
		if !w.life.alive.Load() {
			return records
		}
		require(err == nil, "the log cannot be read after record %d: %v", before, err)
		if !ok {
			return records
		}
		require(record.Seq > before, "record %d comes after %d", record.Seq, before)
		before = record.Seq
		records[before] = w.genuine(record.Data)
	}
}

// genuine requires that somebody offered this event as it is, and returns its id.
func (w *world) genuine(data []byte) id {
	if known, ok := w.book.proven.Load(string(data)); ok {
		return known.(id)
	}
	e, err := bloodbank.DecodeEnvelope(data)
	require(err == nil, "a torn record: %v: %.100q", err, data)
	w.book.mu.Lock()
	defer w.book.mu.Unlock()
	o, known := w.book.offered[e.EventID]
	require(known, "event %v was never offered", e.EventID)
	require(bytes.Equal(e.Payload, []byte(o.payload)) && e.OrderingKey == o.key, "event %v is not what was offered: %.100q", e.EventID, data)
	w.book.proven.Store(string(data), e.EventID)
	return e.EventID
}

func (w *world) look() []seen {
	l := w.life
	records := w.readLog()
	var all []seen
	for _, way := range l.lanes {
		s := seen{lane: way, records: records, last: l.log.Last(), dead: map[id]bool{}, onBus: map[id]bool{}}
		s.passed = way.cursor.Position()
		if first := l.log.First(); first > 0 {
			s.passed = max(s.passed, first-1)
		}
		for _, letter := range l.dead.List(0, 0) {
			if letter.Target == way.target {
				s.letters = append(s.letters, letter)
				s.dead[letter.EventID] = true
			}
		}
		var held []held
		held, s.safe = way.broker.view()
		for _, m := range held {
			require(!s.onBus[m.id], "the bus holds event %v twice", m.id)
			s.onBus[m.id] = true
			require(w.genuine(m.data) == m.id, "the bus has event %v under another id", m.id)
		}
		all = append(all, s)
	}
	return all
}

// check requires all that must hold at any moment at which nobody is in the middle of something. It does nothing after
// a blow: the next life is checked instead.
func (w *world) check() {
	if !w.life.alive.Load() {
		return
	}
	all := w.look()
	if !w.life.alive.Load() {
		return
	}
	w.book.mu.Lock()
	defer w.book.mu.Unlock()
	require(w.book.fault == nil, "%v", w.book.fault)
	for _, s := range all {
		w.checkLetters(s)
		w.checkPlaces(s)
		w.checkOrder(s)
	}
}

// checkLetters requires that a sequence is dead once at the most, and that dead letters are genuine.
func (w *world) checkLetters(s seen) {
	listed := map[uint64]bool{}
	for _, letter := range s.letters {
		require(!listed[letter.Sequence], "sequence %d is listed twice as dead", letter.Sequence)
		listed[letter.Sequence] = true
		w.book.dead[letter.EventID] = true
		require(w.book.at[letter.Sequence] == letter.EventID, "dead letter %d says that sequence %d is event %v", letter.Number, letter.Sequence, letter.EventID)
	}
	status := s.disp.Status()
	require(status.Dead == len(s.letters), "%d dead letters are counted, %d listed", status.Dead, len(s.letters))
	for seq, id := range w.book.at {
		if seq <= status.Position {
			require(s.dead[id] || s.onBus[id], "LOST: sequence %d (event %v) counts as done, and is neither on the bus nor dead", seq, id)
		}
	}
}

// checkPlaces requires that every event is where its place says: in the log until the cursor has passed it, and then on
// the bus for good or dead.
func (w *world) checkPlaces(s seen) {
	pending := map[id]bool{}
	for seq, id := range w.book.at {
		if seq > s.passed {
			require(s.records[seq] == id, "LOST: sequence %d (event %v) is not in the log, which ends at %d; the cursor is at %d", seq, id, s.last, s.passed)
			pending[id] = true
			continue
		}
		require(s.dead[id] || s.onBus[id], "LOST: sequence %d (event %v) is behind the cursor at %d, not on the bus and not dead", seq, id, s.passed)
		require(s.dead[id] || s.safe[id] || w.setup.onlyLoss, "the cursor at %d has passed sequence %d (event %v), which the bus can lose", s.passed, seq, id)
	}
	for seq, id := range s.records {
		require(w.book.at[seq] == id || w.book.at[seq].IsZero(), "sequence %d is event %v and was %v", seq, id, w.book.at[seq])
	}
	for id := range w.book.acked {
		require(pending[id] || s.onBus[id] || s.dead[id], "LOST: event %v was accepted and is nowhere", id)
	}
}

// checkOrder requires that the events of a key stand on the bus in the order in which they were accepted.
func (w *world) checkOrder(s seen) {
	newest := map[string]uint64{}
	all, _ := s.broker.view()
	s.broker.mu.Lock()
	defer s.broker.mu.Unlock()
	for _, m := range all {
		key, seq := w.book.offered[m.id].key, w.book.first[m.id]
		if key == "" || seq == 0 || w.book.dead[m.id] || s.broker.rejected[m.id] {
			continue
		}
		require(seq > newest[key], "of key %q event %v, sequence %d, stands on the bus behind sequence %d", key, m.id, seq, newest[key])
		newest[key] = seq
	}
}

// checkRest requires that all has come to rest once the bus works.
func (w *world) checkRest() {
	w.check()
	all := w.look()
	w.book.mu.Lock()
	defer w.book.mu.Unlock()
	for _, s := range all {
		status := s.disp.Status()
		require(status.Lag == 0 && status.Fault == "", "the dispatcher does not come to rest: %+v", status)
		require(status.Safe == s.last, "the log may not forget what the bus has: %+v, the log ends at %d", status, s.last)
		for id := range w.book.acked {
			require(s.safe[id] || s.dead[id], "LOST: in the end event %v is not on the bus for good and not dead", id)
		}
	}
}
