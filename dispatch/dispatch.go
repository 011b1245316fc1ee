// Package dispatch is the follower of the write-ahead log that hands every
// accepted event to the bus: in windows of confirms, in order per key, with
// retries, a breaker and dead letters.
//
// Law: it is driven by the log's position alone, never by memory. Every accepted
// sequence is in exactly one of pending, confirmed and dead, and the log keeps a
// record until the bus can no longer lose it. It knows no store and no door.
package dispatch

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/wal"
)

// CursorName is the name of the dispatcher's position in the log.
const CursorName = "bus"

// Options configure a [Dispatcher]. Log, Publisher and Dead are required.
type Options struct {
	Log       *wal.Log
	Publisher bus.Publisher
	Dead      *DeadLetters
	// MaxAttempts is how often a message is sent to a bus that works before it
	// becomes a dead letter; 0 means 8. Failures while the bus itself is down
	// do not count.
	MaxAttempts int
	// Backoff is the first and MaxBackoff the longest delay before another
	// attempt; 0 means 100 ms and 30 s. The delay doubles and is drawn at random
	// from 0 to its full length.
	Backoff, MaxBackoff time.Duration
	// MaxParked bounds the messages that wait behind a stuck key; 0 means
	// 10,000. When it is reached reading stops until the key moves.
	MaxParked int
	Logger    *slog.Logger
}

// Dispatcher moves events from the log to the bus. Start it once.
type Dispatcher struct {
	o    Options
	cur  *wal.Cursor
	done chan struct{}
	stop context.CancelCauseFunc

	mu       sync.Mutex
	progress progress
	results  []result
	redrives []*message
	fault    fault
	broken   error // the log cannot be read any more

	wake chan struct{} // holds one token: something for the loop to look at
}

// New returns a dispatcher that continues where its cursor stands.
func New(o Options) (*Dispatcher, error) {
	o.MaxAttempts = cmp.Or(o.MaxAttempts, 8)
	o.Backoff = cmp.Or(o.Backoff, 100*time.Millisecond)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, 30*time.Second)
	o.MaxParked = cmp.Or(o.MaxParked, 10_000)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	cur, err := o.Log.Cursor(CursorName)
	if err != nil {
		return nil, bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot read the dispatcher's position: %w", err)
	}
	position := cur.Position()
	if first := o.Log.First(); first > 0 && position+1 < first {
		position = first - 1
	}
	d := &Dispatcher{o: o, cur: cur, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	d.progress.start(position)
	return d, nil
}

// Name is the name of the service.
func (d *Dispatcher) Name() string { return "dispatch" }

// Start begins to publish.
func (d *Dispatcher) Start(ctx context.Context) error {
	reader, err := d.o.Log.NewReader(d.progress.position + 1)
	if err != nil {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot read the log from %d: %w", d.progress.position+1, err)
	}
	held, err := d.recall(ctx)
	if err != nil {
		return err
	}
	ctx, d.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	go func() {
		defer close(d.done)
		defer reader.Close()
		newLoop(d, held).run(ctx, reader)
	}()
	return nil
}

// recall asks the bus for what it took of the tail that is about to be sent
// again.
func (d *Dispatcher) recall(ctx context.Context) (map[bloodbank.EventID]struct{}, error) {
	recaller, ok := d.o.Publisher.(bus.Recaller)
	if !ok || d.o.Log.Last() <= d.progress.position || d.cur.SavedAt().IsZero() {
		return nil, nil
	}
	// What follows the position was sent, if at all, after the position was
	// saved, give or take the delay for which a confirm is held back.
	since := d.cur.SavedAt().Add(-2*d.o.Publisher.Features().SafeDelay - time.Minute)
	held, err := recaller.Recall(ctx, since)
	if err != nil {
		return nil, bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot ask the bus what it holds: %w", err)
	}
	return held, nil
}

// Stop ends publishing and waits for the loop, within ctx. What is unconfirmed
// stays pending in the log. It is idempotent.
func (d *Dispatcher) Stop(ctx context.Context) error {
	if d.stop == nil {
		return nil
	}
	d.stop(bus.ErrClosed)
	select {
	case <-d.done:
		return d.cur.Sync(ctx)
	case <-ctx.Done():
		return bloodbank.Errorf(bloodbank.CodeTimeout, "the dispatcher did not stop in time: %w", context.Cause(ctx))
	}
}

// Confirmed waits until the bus has confirmed the sequence. It returns nil at
// once where it has, and an error with CodeUnavailable for a dead letter.
func (d *Dispatcher) Confirmed(ctx context.Context, sequence uint64) error {
	d.mu.Lock()
	ch := d.progress.wait(sequence)
	d.mu.Unlock()
	if ch == nil {
		return verdict(d.o.Dead.holds(sequence))
	}
	select {
	case err := <-ch:
		return err
	case <-ctx.Done():
		d.mu.Lock()
		d.progress.forget(sequence, ch)
		d.mu.Unlock()
		return context.Cause(ctx)
	}
}

// Status describes the dispatcher.
type Status struct {
	// Position is the last sequence up to which all are confirmed or dead; Safe
	// is the last one that the bus can no longer lose.
	Position uint64 `json:"position"`
	Safe     uint64 `json:"safe"`
	// Lag counts accepted events that are not yet confirmed or dead.
	Lag uint64 `json:"lag"`
	// Dead counts open dead letters.
	Dead int `json:"dead"`
	// Fault is the last failure while the bus is not taking messages.
	Fault string `json:"fault,omitempty"`
	// Retry is when the next attempt is made while Fault is set.
	Retry time.Time `json:"retry,omitzero"`
}

// Status returns a snapshot.
func (d *Dispatcher) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Status{Position: d.progress.position, Safe: d.cur.Position(), Dead: d.o.Dead.Open()}
	if last := d.o.Log.Last(); last > s.Position {
		s.Lag = last - s.Position
	}
	if d.broken != nil {
		s.Fault = "cannot read the log: " + d.broken.Error()
	} else if d.fault.err != nil {
		s.Fault, s.Retry = d.fault.err.Error(), d.fault.retry
	}
	return s
}

// fault is the state of the breaker: err is nil while it is closed.
type fault struct {
	err   error
	retry time.Time
	count int
}

// result is the verdict on one attempt, handed from the bus to the loop.
type result struct {
	m   *message
	err error
}

// deliver takes the bus's answer. It runs on the driver's goroutine and so only
// leaves a note.
func (d *Dispatcher) deliver(m *message, err error) {
	d.mu.Lock()
	d.results = append(d.results, result{m, err}) // bounded by the bus's window
	d.mu.Unlock()
	d.nudge()
}

func (d *Dispatcher) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}
