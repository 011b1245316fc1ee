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
	"fmt"
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
	// MaxUnpacked bounds an event that comes compressed, in bytes; 0 means
	// [bus.MaxUnpacked]. A larger one goes to the rejects.
	MaxUnpacked int
	// Retry is how long to wait before consuming is tried again where it could
	// not start; 0 means 5 s.
	Retry  time.Duration
	Logger *slog.Logger
}

// Recorder is a service. It lives once: a stopped recorder stays stopped.
type Recorder struct {
	o       Options
	done    chan struct{} // closed when consuming has ended
	stopped chan struct{} // closed by the first Stop
	waiting waiting

	stored, duplicates, rejected atomic.Uint64

	mu    sync.Mutex
	stop  context.CancelFunc // ends consuming; the batch at hand goes on
	kill  context.CancelFunc // ends the batch at hand, too
	ended bool
	fault error
}

// New returns a recorder.
func New(o Options) *Recorder {
	if o.MaxBatch <= 0 {
		o.MaxBatch = 500
	}
	if o.Retry <= 0 {
		o.Retry = 5 * time.Second
	}
	if o.Committed == nil {
		o.Committed = func(int64) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Recorder{o: o, done: make(chan struct{}), stopped: make(chan struct{})}
}

// Name is the name of the service.
func (r *Recorder) Name() string { return "recorder" }

// Start begins to record. A bus or a store that is down is no failure: the
// recorder tries until they are there, and [Status] says so. On a started
// recorder it does nothing; after Stop it fails with [bus.ErrClosed].
func (r *Recorder) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return bus.ErrClosed
	}
	if r.stop != nil {
		return nil
	}
	batch, kill := context.WithCancel(context.WithoutCancel(ctx))
	consume, stop := context.WithCancel(batch)
	r.stop, r.kill = stop, kill
	go func() {
		defer close(r.done)
		r.consume(consume, batch)
	}()
	return nil
}

// Stop ends recording and waits for the batch at hand, within ctx; when ctx ends
// first the batch is broken off and comes again at the next start. It is
// idempotent.
func (r *Recorder) Stop(ctx context.Context) error {
	r.mu.Lock()
	if !r.ended {
		r.ended = true
		close(r.stopped)
	}
	stop, kill := r.stop, r.kill
	r.mu.Unlock()
	if stop == nil {
		return nil
	}
	stop()
	select {
	case <-r.done:
		kill()
		return nil
	case <-ctx.Done():
		kill()
		return bloodbank.Errorf(bloodbank.CodeTimeout, "the recorder did not stop in time: %w", context.Cause(ctx))
	}
}

// consume takes batches until ctx ends. They are written under batch, which
// lives a little longer.
func (r *Recorder) consume(ctx, batch context.Context) {
	for {
		err := r.o.Subscriber.Consume(ctx, bus.Consumer{Group: Group, MaxBatch: r.o.MaxBatch},
			func(_ context.Context, deliveries []bus.Delivery) error { return r.record(batch, deliveries) })
		if ctx.Err() != nil {
			return
		}
		r.setFault(err)
		r.o.Logger.Error("cannot take events from the bus; they stay there, and it is tried again", "in", r.o.Retry, "error", err)
		select {
		case <-time.After(r.o.Retry):
		case <-ctx.Done():
			return
		}
	}
}

// record writes one batch. An error makes the bus deliver the batch again.
func (r *Recorder) record(ctx context.Context, deliveries []bus.Delivery) error {
	batch := store.Batch{Events: make([]store.Incoming, 0, len(deliveries))}
	for _, d := range deliveries {
		event, err := r.read(d)
		if err != nil {
			batch.Rejected = append(batch.Rejected, store.Rejected{Raw: d.Data, Reason: err.Error()})
			continue
		}
		batch.Events = append(batch.Events, event)
	}
	appended, err := r.o.Store.Append(ctx, batch)
	if err != nil {
		if r.setFault(err) && ctx.Err() == nil {
			r.o.Logger.Warn("cannot store events; they stay on the bus and come again", "count", len(deliveries), "error", err)
		}
		return err
	}
	if r.setFault(nil) {
		r.o.Logger.Info("events are stored again")
	}
	r.count(batch, appended)
	r.o.Committed(appended.Last)
	r.waiting.release(batch.Events)
	return nil
}

// read unpacks and decodes a message. What cannot be read today cannot be read
// tomorrow, so it is no reason to stop: its bytes go to the rejects as they came.
func (r *Recorder) read(d bus.Delivery) (store.Incoming, error) {
	data, err := bus.Unpack(d.Message, r.o.MaxUnpacked)
	if err != nil {
		return store.Incoming{}, fmt.Errorf("the message cannot be unpacked: %w", err)
	}
	e, err := bloodbank.DecodeEnvelope(data)
	if err != nil && d.Encoding != "" {
		err = fmt.Errorf("unpacked from %s: %w", d.Encoding, err)
	}
	return store.Incoming{Envelope: e, Raw: data}, err
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

// setFault reports whether recording has just begun to fail, or to work again.
func (r *Recorder) setFault(err error) (turned bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	turned = (err == nil) != (r.fault == nil)
	r.fault = err
	return turned
}

// Status describes the recorder.
type Status struct {
	Stored     uint64 `json:"stored"`
	Duplicates uint64 `json:"duplicates"`
	Rejected   uint64 `json:"rejected"`
	// Lag counts messages on the bus that are not stored; -1 when it is not known.
	Lag int64 `json:"lag"`
	// Fault is why recording fails at the moment.
	Fault string `json:"fault,omitempty"`
}

// Status returns a snapshot; the counts are since the start. It asks the bus for
// the lag, and waits for that at most two seconds.
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
