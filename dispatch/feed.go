package dispatch

import (
	"bytes"
	"context"
	"errors"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/wal"
)

// feed reads the log and hands its events to the loop, some at a time, until ctx
// ends. Decoding here keeps it off the loop.
func (d *Dispatcher) feed(ctx context.Context, r *wal.Reader, out chan<- []*message) {
	for {
		batch, err := readBatch(ctx, r)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, wal.ErrClosed) {
				d.o.Logger.Error("cannot read the log; dispatching stops until a restart", "error", err)
				d.mu.Lock()
				d.broken = err
				d.mu.Unlock()
			}
			return
		}
		select {
		case out <- batch:
		case <-ctx.Done():
			return
		}
	}
}

func readBatch(ctx context.Context, r *wal.Reader) ([]*message, error) {
	record, err := r.Next(ctx)
	if err != nil {
		return nil, err
	}
	batch := append(make([]*message, 0, feedBatch), newMessage(record))
	for len(batch) < feedBatch {
		record, ok, err := r.TryNext()
		if err != nil || !ok {
			return batch, nil // an error comes again with the next read
		}
		batch = append(batch, newMessage(record))
	}
	return batch, nil
}

func newMessage(r wal.Record) *message {
	m := &message{seq: r.Seq, bus: bus.Message{Data: bytes.Clone(r.Data)}}
	e, err := bloodbank.DecodeEnvelope(m.bus.Data)
	if err != nil {
		m.refused = "the record is no event: " + err.Error()
		return m
	}
	m.bus.ID, m.bus.Type, m.bus.Parent = e.EventID, e.EventType, e.CorrelationID()
	m.key = e.Key()
	return m
}
