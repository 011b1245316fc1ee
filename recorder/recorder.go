// Package recorder is the durable consumer that writes what the bus delivers
// into the store: events, their parents and their search text, a batch in a
// transaction.
//
// Law: a batch is acknowledged to the bus only after the store has committed it.
// The store is idempotent by event id, so a batch that comes twice is stored
// once. It knows no log and no door.
package recorder

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/store"
)

// Group is the recorder's durable name on the bus.
const Group = "recorder"

// Options configure a [Recorder]. Subscriber and Store are required.
type Options struct {
	Subscriber bus.Subscriber
	Store      store.Store
	// Committed is called after each commit with the store's newest sequence; it
	// must not block. It may be nil.
	Committed func(last int64)
	// MaxBatch is how many events one transaction takes; 0 means 500.
	MaxBatch int
	Logger   *slog.Logger
}

// Recorder is a service. Start it once.
type Recorder struct {
	o    Options
	stop context.CancelCauseFunc
	done chan struct{}

	stored, duplicates, rejected atomic.Uint64
	// interest is the number of waiters, so that a batch nobody waits for costs
	// no lock.
	interest atomic.Int64
	mu       sync.Mutex
	waiters  map[bloodbank.EventID][]chan struct{}
	fault    error
}

// New returns a recorder.
func New(o Options) *Recorder {
	if o.MaxBatch <= 0 {
		o.MaxBatch = 500
	}
	if o.Committed == nil {
		o.Committed = func(int64) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Recorder{o: o, done: make(chan struct{}), waiters: make(map[bloodbank.EventID][]chan struct{})}
}

// Name is the name of the service.
func (r *Recorder) Name() string { return "recorder" }

// Start begins to record.
func (r *Recorder) Start(ctx context.Context) error {
	ctx, r.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	go func() {
		defer close(r.done)
		err := r.o.Subscriber.Consume(ctx, bus.Consumer{Group: Group, MaxBatch: r.o.MaxBatch}, r.record)
		if err != nil && ctx.Err() == nil {
			r.setFault(err)
			r.o.Logger.Error("cannot take events from the bus; they stay there until a restart", "error", err)
		}
	}()
	return nil
}

// Stop ends recording and waits for the batch at hand, within ctx. It is
// idempotent.
func (r *Recorder) Stop(ctx context.Context) error {
	if r.stop == nil {
		return nil
	}
	r.stop(bus.ErrClosed)
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return bloodbank.Errorf(bloodbank.CodeTimeout, "the recorder did not stop in time: %w", context.Cause(ctx))
	}
}

// record writes one batch. An error makes the bus deliver the batch again.
func (r *Recorder) record(ctx context.Context, deliveries []bus.Delivery) error {
	var batch store.Batch
	batch.Events = make([]store.Incoming, 0, len(deliveries))
	for _, d := range deliveries {
		e, err := bloodbank.DecodeEnvelope(d.Data)
		if err != nil {
			batch.Rejected = append(batch.Rejected, store.Rejected{Raw: d.Data, Reason: err.Error()})
			continue
		}
		batch.Events = append(batch.Events, store.Incoming{Envelope: e, Raw: d.Data})
	}
	appended, err := r.o.Store.Append(ctx, batch)
	r.setFault(err)
	if err != nil {
		r.o.Logger.Warn("cannot store events; they stay on the bus and come again", "count", len(deliveries), "error", err)
		return err
	}
	r.count(batch, appended)
	r.o.Committed(appended.Last)
	r.release(batch.Events)
	return nil
}

func (r *Recorder) count(batch store.Batch, appended store.Appended) {
	r.stored.Add(uint64(len(batch.Events) - appended.Duplicates))
	r.duplicates.Add(uint64(appended.Duplicates))
	r.rejected.Add(uint64(len(batch.Rejected)))
	if len(batch.Rejected) > 0 {
		r.o.Logger.Warn("the bus delivered messages that are no events; they are kept in the store's rejects",
			"count", len(batch.Rejected), "reason", batch.Rejected[0].Reason)
	}
}

func (r *Recorder) setFault(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = err
}

// Stored waits until the event is in the store. It returns nil at once where it
// is.
func (r *Recorder) Stored(ctx context.Context, id bloodbank.EventID) error {
	ch := make(chan struct{})
	r.interest.Add(1)
	defer r.interest.Add(-1)
	r.mu.Lock()
	r.waiters[id] = append(r.waiters[id], ch)
	r.mu.Unlock()
	defer r.forget(id, ch)
	// Look only after registering: a commit in between closes the channel.
	if _, err := r.o.Store.Get(context.WithoutCancel(ctx), id); err == nil {
		return nil
	}
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *Recorder) release(events []store.Incoming) {
	if r.interest.Load() == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		for _, ch := range r.waiters[e.Envelope.EventID] {
			close(ch)
		}
		delete(r.waiters, e.Envelope.EventID)
	}
}

func (r *Recorder) forget(id bloodbank.EventID, ch chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rest := r.waiters[id][:0]
	for _, c := range r.waiters[id] {
		if c != ch {
			rest = append(rest, c)
		}
	}
	if len(rest) > 0 {
		r.waiters[id] = rest
	} else {
		delete(r.waiters, id)
	}
}

// Status describes the recorder.
type Status struct {
	Stored     uint64 `json:"stored"`
	Duplicates uint64 `json:"duplicates"`
	Rejected   uint64 `json:"rejected"`
	// Lag counts messages on the bus that are not stored; -1 when it is not known.
	Lag   int64  `json:"lag"`
	Fault string `json:"fault,omitempty"`
}

// Status returns a snapshot; the counts are since the start.
func (r *Recorder) Status(ctx context.Context) Status {
	s := Status{Stored: r.stored.Load(), Duplicates: r.duplicates.Load(), Rejected: r.rejected.Load(), Lag: -1}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if lag, err := r.o.Subscriber.Lag(ctx, Group); err == nil {
		s.Lag = int64(lag)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fault != nil {
		s.Fault = r.fault.Error()
	}
	return s
}
