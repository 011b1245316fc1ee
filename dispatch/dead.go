package dispatch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/wal"
)

// DeadLetter is an event that a target will not take, with the reason. It stays
// until it is discarded, or redriven and safe with its target.
type DeadLetter struct {
	// Number names the dead letter, from 1; numbers rise with time.
	Number    uint64              `json:"number"`
	EventID   bloodbank.EventID   `json:"event_id"`
	EventType bloodbank.EventType `json:"event_type"`
	// Target is who would not take it; [MainTarget] for the main bus.
	Target string `json:"target"`
	// Key is the event's ordering key; "" for none.
	Key string `json:"key,omitempty"`
	// Sequence is the event's place in the write-ahead log.
	Sequence uint64 `json:"sequence"`
	Reason   string `json:"reason"`
	// Attempts is how often it was sent to a bus that works; 0 for a record that
	// is no event.
	Attempts int       `json:"attempts"`
	At       time.Time `json:"at"`
	// ConfirmedAt is set once it was sent again and its target has taken it. It is
	// closed when the target can no longer lose it, which is not written down: a
	// crash before that leaves it open as it was. Until then it is neither sent nor
	// discarded.
	ConfirmedAt time.Time `json:"confirmed_at,omitzero"`
	// Event is the wire form, byte for byte; Raw holds it instead where it is not
	// JSON. Both are empty in lists.
	Event json.RawMessage `json:"event,omitempty"`
	Raw   []byte          `json:"raw,omitempty"`
}

// delivered reports whether it only waits to be closed.
func (l DeadLetter) delivered() bool { return !l.ConfirmedAt.IsZero() }

func (l DeadLetter) place() place { return place{l.Target, l.Sequence} }

// DeadLetters keeps the dead letters of all targets in a log of their own. Records
// are added, never changed: {"dead": …, "event": …} opens one and {"closed": N}
// closes it, with "discarded" where nobody took it.
//
// Law: what was discarded is never sent, also not after a crash; its closing
// record stays until the target's position is past it. What was redriven is closed
// only when its target can no longer lose it, as its record may be the last one.
type DeadLetters struct {
	log *wal.Log
	now func() time.Time

	mu        sync.Mutex
	open      map[uint64]DeadLetter  // by number, without the event
	places    map[place]int          // of the open ones, counted
	discarded map[place]uint64       // numbers of their closing records
	busy      map[uint64]struct{}    // being sent again or discarded at this moment
	served    map[string]*Dispatcher // who sends them again, by target
}

type deadRecord struct {
	Dead   *DeadLetter `json:"dead,omitempty"`
	Closed uint64      `json:"closed,omitempty"`
	// Discarded says of a closed one that it was given up, and where it belonged.
	Discarded *discarded `json:"discarded,omitempty"`
	// Event is the wire form, byte for byte; absent where it is not JSON.
	Event json.RawMessage `json:"event,omitempty"`
}

type discarded struct {
	Target   string            `json:"target"`
	Sequence uint64            `json:"sequence"`
	EventID  bloodbank.EventID `json:"event_id"`
	Reason   string            `json:"reason"`
	At       time.Time         `json:"at"`
}

// OpenDeadLetters reads the log of dead letters. The caller keeps owning it.
func OpenDeadLetters(ctx context.Context, log *wal.Log) (*DeadLetters, error) {
	d := &DeadLetters{
		log: log, now: time.Now, open: make(map[uint64]DeadLetter), places: make(map[place]int),
		discarded: make(map[place]uint64), busy: make(map[uint64]struct{}), served: make(map[string]*Dispatcher),
	}
	r, err := log.NewReader(0)
	if err != nil {
		return nil, bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot read the dead letters: %w", err)
	}
	defer r.Close()
	for {
		record, ok, err := r.TryNext()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot read the dead letters: %w", err)
		}
		if !ok {
			return d, nil
		}
		d.replay(record)
	}
}

// replay takes one record in. One that cannot be read is a dead letter like any
// other: it is listed, and stops nothing.
func (d *DeadLetters) replay(record wal.Record) {
	var entry deadRecord
	err := json.Unmarshal(record.Data, &entry)
	if err != nil || entry.Dead == nil && entry.Closed == 0 {
		entry = deadRecord{Dead: &DeadLetter{Reason: "the record of this dead letter cannot be read"}}
	}
	if entry.Dead != nil {
		entry.Dead.Number = record.Seq
		d.addLocked(entry.whole())
	}
	d.closeLocked(entry.Closed)
	if p := entry.Discarded; p != nil {
		d.discarded[place{p.Target, p.Sequence}] = record.Seq
	}
}

// whole fills in what records of older versions lack.
func (r deadRecord) whole() DeadLetter {
	letter := *r.Dead
	letter.Target = targetName(letter.Target)
	if letter.Key == "" && r.Event != nil {
		letter.Key = newMessage(wal.Record{Data: r.Event}).key
	}
	return letter
}

// Get returns one dead letter with its event.
func (d *DeadLetters) Get(number uint64) (DeadLetter, error) {
	d.mu.Lock()
	letter, ok := d.open[number]
	d.mu.Unlock()
	if !ok {
		return DeadLetter{}, notOpen(number)
	}
	r, err := d.log.NewReader(number)
	if err != nil {
		return letter, bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot read dead letter %d: %w", number, err)
	}
	defer r.Close()
	record, ok, err := r.TryNext()
	if err == nil && (!ok || record.Seq != number) {
		err = errNotThere
	}
	if err != nil {
		return letter, bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot read dead letter %d: %w", number, err)
	}
	var entry deadRecord
	if json.Unmarshal(record.Data, &entry) != nil || entry.Dead == nil {
		letter.Raw = bytes.Clone(record.Data)
		return letter, nil
	}
	whole := entry.whole()
	whole.Number, whole.Event, whole.ConfirmedAt = number, entry.Event, letter.ConfirmedAt
	return whole, nil
}

func notOpen(number uint64) error {
	return bloodbank.Errorf(bloodbank.CodeNotFound, "there is no open dead letter %d; see bb dlq list", number)
}

var errNotThere = errors.New("its record is not there")

// add makes a message of a target a dead letter. It returns once that is on disk.
func (d *DeadLetters) add(ctx context.Context, target string, m *message, reason string) error {
	event, err := bus.Unpack(m.bus, m.size)
	if err != nil {
		return err
	}
	letter := DeadLetter{
		EventID: m.bus.ID, EventType: m.bus.Type, Target: target, Key: m.key, Sequence: m.seq,
		Reason: reason, Attempts: m.attempts, At: d.now().UTC(),
	}
	if !json.Valid(event) {
		letter.Raw, event = event, nil
	}
	number, err := d.append(ctx, deadRecord{Dead: &letter}, event)
	if err != nil {
		return err
	}
	letter.Number = number
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addLocked(letter)
	return nil
}

// trim lets the log forget what is before the oldest record that still counts.
func (d *DeadLetters) trim(ctx context.Context) {
	d.mu.Lock()
	oldest := d.log.Last() + 1
	for n := range d.open {
		oldest = min(oldest, n)
	}
	for _, n := range d.discarded {
		oldest = min(oldest, n)
	}
	d.mu.Unlock()
	_ = d.log.Truncate(ctx, oldest-1) // to save space; the next one does it as well
}

// append writes a record. The event is put in by hand, because an encoder would
// escape and compact it.
func (d *DeadLetters) append(ctx context.Context, entry deadRecord, event []byte) (uint64, error) {
	data, err := json.Marshal(entry)
	if err != nil {
		return 0, err
	}
	if event != nil {
		data = append(data[:len(data)-1], `,"event":`...)
		data = append(append(data, event...), '}')
	}
	return d.log.Append(ctx, data)
}

// holds reports whether the event at a place is an open dead letter, or was
// discarded not long ago.
func (d *DeadLetters) holds(p place) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, gone := d.discarded[p]
	return gone || d.places[p] > 0
}

// sequences returns the sequences above after and up to last whose events are
// open dead letters of the target or were discarded, rising.
func (d *DeadLetters) sequences(target string, after, last uint64) []uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []uint64
	take := func(p place) {
		if p.target == target && after < p.seq && p.seq <= last {
			list = append(list, p.seq)
		}
	}
	for p := range d.places {
		take(p)
	}
	for p := range d.discarded {
		take(p)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// passed says that a target's position is durable behind seq, so that what was
// discarded up to there cannot come again.
func (d *DeadLetters) passed(target string, seq uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.discarded, func(p place, _ uint64) bool { return p.target == target && p.seq <= seq })
}

func (d *DeadLetters) addLocked(letter DeadLetter) {
	letter.Event, letter.Raw = nil, nil
	d.open[letter.Number] = letter
	d.places[letter.place()]++
}

func (d *DeadLetters) closeLocked(number uint64) {
	letter, ok := d.open[number]
	if !ok {
		return
	}
	delete(d.open, number)
	if p := letter.place(); d.places[p] == 1 {
		delete(d.places, p)
	} else {
		d.places[p]--
	}
}
