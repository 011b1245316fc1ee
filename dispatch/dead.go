package dispatch

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/wal"
)

// DeadLetter is an event that the bus will not take, with the reason. It stays
// until it is redriven.
type DeadLetter struct {
	// Number names the dead letter, from 1; numbers rise with time.
	Number    uint64              `json:"number"`
	EventID   bloodbank.EventID   `json:"event_id"`
	EventType bloodbank.EventType `json:"event_type"`
	// Sequence is the event's place in the write-ahead log.
	Sequence uint64 `json:"sequence"`
	Reason   string `json:"reason"`
	// Attempts is how often it was sent to a bus that works; 0 for a record that
	// is no event.
	Attempts int       `json:"attempts"`
	At       time.Time `json:"at"`
	// Event is the wire form, byte for byte; Raw holds it instead where it is not
	// JSON. Both are empty in lists.
	Event json.RawMessage `json:"event,omitempty"`
	Raw   []byte          `json:"raw,omitempty"`
}

// DeadLetters keeps dead letters in a log of their own. Records are added, never
// changed: {"dead": …, "event": …} opens one and {"closed": N} closes it.
type DeadLetters struct {
	log *wal.Log
	now func() time.Time

	mu   sync.Mutex
	open map[uint64]DeadLetter // by number, without the event
	seqs map[uint64]int        // log sequences of the open ones, counted
}

type deadRecord struct {
	Dead   *DeadLetter `json:"dead,omitempty"`
	Closed uint64      `json:"closed,omitempty"`
	// Event is the wire form, byte for byte; absent where it is not JSON.
	Event json.RawMessage `json:"event,omitempty"`
}

// OpenDeadLetters reads the log of dead letters. The caller keeps owning it.
func OpenDeadLetters(ctx context.Context, log *wal.Log) (*DeadLetters, error) {
	d := &DeadLetters{log: log, now: time.Now, open: make(map[uint64]DeadLetter), seqs: make(map[uint64]int)}
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
		d.addLocked(*entry.Dead)
	}
	d.closeLocked(entry.Closed)
}

// Open counts the open dead letters.
func (d *DeadLetters) Open() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.open)
}

// List returns up to limit open dead letters (all with a limit below 1) with a
// number above after, oldest first, without their events.
func (d *DeadLetters) List(after uint64, limit int) []DeadLetter {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []DeadLetter
	for number, letter := range d.open {
		if number > after {
			list = append(list, letter)
		}
	}
	slices.SortFunc(list, func(a, b DeadLetter) int { return cmp.Compare(a.Number, b.Number) })
	if limit > 0 {
		list = list[:min(limit, len(list))]
	}
	return list
}

// Get returns one dead letter with its event.
func (d *DeadLetters) Get(number uint64) (DeadLetter, error) {
	d.mu.Lock()
	letter, ok := d.open[number]
	d.mu.Unlock()
	if !ok {
		return DeadLetter{}, bloodbank.Errorf(bloodbank.CodeNotFound, "there is no open dead letter %d; see bb dlq list", number)
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
	letter = *entry.Dead
	letter.Number, letter.Event = number, entry.Event
	return letter, nil
}

var errNotThere = errors.New("its record is not there")

// add makes a message a dead letter. It returns once that is on disk.
func (d *DeadLetters) add(ctx context.Context, m *message, reason string) error {
	letter := DeadLetter{
		EventID: m.bus.ID, EventType: m.bus.Type, Sequence: m.seq,
		Reason: reason, Attempts: m.attempts, At: d.now().UTC(),
	}
	event := m.bus.Data
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

// close ends a dead letter that the bus has taken after all.
func (d *DeadLetters) close(ctx context.Context, number uint64) error {
	if _, err := d.append(ctx, deadRecord{Closed: number}, nil); err != nil {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "dead letter %d was delivered, but that cannot be written down: %w", number, err)
	}
	d.mu.Lock()
	d.closeLocked(number)
	oldest := d.log.Last() + 1
	for n := range d.open {
		oldest = min(oldest, n)
	}
	d.mu.Unlock()
	_ = d.log.Truncate(ctx, oldest-1) // to save space; the next one does it as well
	return nil
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

// holds reports whether the event at a sequence of the log is an open dead
// letter.
func (d *DeadLetters) holds(sequence uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seqs[sequence] > 0
}

// sequences returns the sequences above after and up to last whose events are
// open dead letters, rising.
func (d *DeadLetters) sequences(after, last uint64) []uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []uint64
	for seq := range d.seqs {
		if after < seq && seq <= last {
			list = append(list, seq)
		}
	}
	slices.Sort(list)
	return list
}

func (d *DeadLetters) addLocked(letter DeadLetter) {
	letter.Event, letter.Raw = nil, nil
	d.open[letter.Number] = letter
	d.seqs[letter.Sequence]++
}

func (d *DeadLetters) closeLocked(number uint64) {
	letter, ok := d.open[number]
	if !ok {
		return
	}
	delete(d.open, number)
	if d.seqs[letter.Sequence]--; d.seqs[letter.Sequence] == 0 {
		delete(d.seqs, letter.Sequence)
	}
}
