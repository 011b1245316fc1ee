package dispatch

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/wal"
)

const (
	// feedBatch is how many messages the feeder hands over at once.
	feedBatch = 64
	// feedRecords is how many records it reads for that, where the target does not
	// take them.
	feedRecords = 16 * feedBatch
	// reopenAfter is how long to wait after the log could not be read.
	reopenAfter = time.Second
)

// feeder reads the log and hands its events to the loop, some at a time, until
// its context ends. Decoding here keeps it off the loop.
type feeder struct {
	d      *Dispatcher
	next   uint64 // the sequence to read
	out    chan []*message
	reader *wal.Reader
	err    error // of the reader, after the batch at hand
	pack   packing
}

func (f *feeder) open() (err error) {
	f.reader, err = f.d.o.Log.NewReader(f.next)
	if errors.Is(err, wal.ErrTruncated) { // by somebody who knew that it may go
		f.reader, err = f.d.o.Log.NewReader(0)
	}
	return err
}

func (f *feeder) run(ctx context.Context) {
	defer f.close()
	for ctx.Err() == nil {
		batch, err := f.read(ctx)
		if err == nil {
			f.d.setBroken(nil)
			select {
			case f.out <- batch:
			case <-ctx.Done():
			}
			continue
		}
		switch {
		case ctx.Err() != nil, errors.Is(err, wal.ErrClosed):
			return
		case errors.Is(err, wal.ErrCorrupt): // the reader goes on behind the damage
			f.d.o.Logger.Error("the log is damaged; see bb wal status", "error", err)
		default:
			f.d.setBroken(err)
			f.d.o.Logger.Error("cannot read the log; it is tried again", "from", f.next, "in", reopenAfter, "error", err)
			f.reopen(ctx)
		}
	}
}

func (f *feeder) reopen(ctx context.Context) {
	f.close()
	select {
	case <-time.After(reopenAfter):
		f.err = f.open()
	case <-ctx.Done():
	}
}

func (f *feeder) close() {
	if f.reader != nil {
		_ = f.reader.Close() // it only reads
		f.reader = nil
	}
}

// read waits for the next record and takes what is there behind it.
func (f *feeder) read(ctx context.Context) ([]*message, error) {
	if err := f.err; err != nil {
		f.err = nil
		return nil, err
	}
	record, err := f.reader.Next(ctx)
	if err != nil {
		return nil, err
	}
	batch := make([]*message, 0, feedBatch)
	for n := 1; ; n++ {
		batch = f.add(batch, record)
		f.next = record.Seq + 1
		if len(batch) == feedBatch || n == feedRecords {
			return batch, nil
		}
		var ok bool
		if record, ok, f.err = f.reader.TryNext(); !ok || f.err != nil {
			return batch, nil
		}
	}
}

// add puts a record behind a batch: as a message, or as a stretch of what the
// target does not take.
func (f *feeder) add(batch []*message, r wal.Record) []*message {
	if rule := f.d.o.Accepts; !rule.all() && !rule.takes(readMessage(r.Seq, r.Data)) {
		if n := len(batch); n > 0 && batch[n-1].through == r.Seq-1 && r.Seq > 1 {
			batch[n-1].through = r.Seq
			return batch
		}
		return append(batch, &message{seq: r.Seq, through: r.Seq})
	}
	m := newMessage(r)
	f.pack.pack(m)
	return append(batch, m)
}

// packing compresses what is large. Here, too, it is off the loop.
type packing struct {
	above  int // bytes; 0 for never
	packer bus.Packer
}

func (p *packing) pack(m *message) {
	if p.above > 0 && len(m.bus.Data) >= p.above && m.refused == "" {
		m.size = len(m.bus.Data)
		m.bus = p.packer.Pack(m.bus)
	}
}

func (d *Dispatcher) setBroken(err error) {
	d.mu.Lock()
	d.broken = err
	d.mu.Unlock()
}

// message is an event between the log and the bus.
type message struct {
	seq uint64 // place in the log; 0 for a redriven dead letter
	// through is set for no message at all, but for the sequences from seq to it,
	// which the target does not take.
	through uint64
	bus     bus.Message
	size    int // of the plain data, where it is compressed
	key     string
	// attempts counts the failures that are its own, not the bus's; probes how
	// often it was sent to find out whether the bus works.
	attempts, probes int
	// sent numbers the times it was sent, and awaited is the one of them whose
	// answer is to come; 0 for none.
	sent, awaited int
	due           time.Time // not to be sent before
	remembered    bool      // its attempts are in the journal
	// refused is why it cannot be sent; "" for an event.
	refused string
	// redriven is set for a dead letter that is sent again.
	redriven *redrive
}

func newMessage(r wal.Record) *message {
	return readMessage(r.Seq, bytes.Clone(r.Data))
}

// readMessage keeps data.
func readMessage(seq uint64, data []byte) *message {
	m := &message{seq: seq, bus: bus.Message{Data: data}}
	if m.peek() {
		return m
	}
	return m.decode()
}

// decode is peek for anything else.
func (m *message) decode() *message {
	m.bus = bus.Message{Data: m.bus.Data}
	e, err := bloodbank.DecodeEnvelope(m.bus.Data)
	if err != nil {
		m.refused = "the record is no event: " + err.Error()
		return m
	}
	m.bus.ID, m.bus.Type, m.bus.Parent = e.EventID, e.EventType, e.CorrelationID()
	m.key = e.Key()
	return m
}
