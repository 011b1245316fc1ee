// Package dispatch is the follower of the write-ahead log that hands every
// accepted event to the bus: in windows of confirms, in order per key, with
// retries, a breaker and dead letters.
//
// Law: it is driven by the log's position alone, never by memory. Every accepted
// sequence is in exactly one of pending, confirmed and dead, and the log keeps a
// record until the bus can no longer lose it. The events of a key reach the bus
// in the order in which they were accepted: see line. It knows no store and no
// door.
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
	// attempt; 0 means 100 ms and 30 s. The delay doubles, and a random part of
	// it is taken, a tenth at the least.
	Backoff, MaxBackoff time.Duration
	// MaxParked bounds the messages in memory that wait: behind a stuck key, for
	// another attempt or for the log of dead letters; 0 means 10,000. When it is
	// reached reading the log stops until one of them moves; only to find a
	// message that a bus which seems down takes, up to twice as many are read.
	// What had been read or sent by then, a window and a batch, comes on top.
	MaxParked int
	Logger    *slog.Logger
}

// Dispatcher moves events from the log to the bus. It lives once: a stopped
// dispatcher stays stopped.
type Dispatcher struct {
	o    Options
	cur  *wal.Cursor
	done chan struct{} // closed when the loop has ended
	wake chan struct{} // holds one token: something for the loop to look at

	mu        sync.Mutex
	stop      context.CancelFunc // nil until started
	stopped   bool
	saved     bool // the final position is on disk
	progress  progress
	results   []result
	redrives  []*message
	redriving map[uint64]struct{} // the dead letters that are being sent again
	fault     fault
	broken    error // why the log cannot be read at the moment
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
	if first := o.Log.First(); first > position+1 { // the log was truncated, the cursor is older
		position = first - 1
	}
	d := &Dispatcher{
		o: o, cur: cur, done: make(chan struct{}), wake: make(chan struct{}, 1),
		progress: newProgress(position), redriving: make(map[uint64]struct{}),
	}
	for _, seq := range o.Dead.sequences(position, o.Log.Last()) {
		d.progress.settle(seq, seq, verdict(true))
	}
	return d, nil
}

// Name is the name of the service.
func (d *Dispatcher) Name() string { return "dispatch" }

// Start begins to publish. A bus that is down is no failure: events wait in the
// log, and [Status] says so. On a started dispatcher it does nothing; after Stop
// it fails with [bus.ErrClosed].
func (d *Dispatcher) Start(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return bus.ErrClosed
	}
	if d.stop != nil {
		return nil
	}
	f := feeder{d: d, next: d.progress.position + 1, out: make(chan []*message)}
	if err := f.open(); err != nil {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot read the log from %d: %w", f.next, err)
	}
	l := newLoop(d, f.out)
	ctx, d.stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(d.done)
		var feeding sync.WaitGroup
		feeding.Go(func() { f.run(ctx) })
		l.run(ctx)
		feeding.Wait()
	}()
	return nil
}

// Stop ends publishing and waits for the loop, within ctx. What is unconfirmed
// stays pending in the log. It is idempotent.
func (d *Dispatcher) Stop(ctx context.Context) error {
	d.mu.Lock()
	stop, saved := d.stop, d.saved
	d.stopped = true
	d.mu.Unlock()
	if stop == nil || saved {
		return nil
	}
	stop()
	select {
	case <-d.done:
	case <-ctx.Done():
		return bloodbank.Errorf(bloodbank.CodeTimeout, "the dispatcher did not stop in time: %w", context.Cause(ctx))
	}
	if err := d.cur.Sync(ctx); err != nil {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot save the dispatcher's position; some events are sent twice at the next start: %w", err)
	}
	d.mu.Lock()
	d.saved = true
	d.mu.Unlock()
	return nil
}

// Confirmed waits until the bus has confirmed the sequence. It returns nil at
// once where it has (even where ctx is over), ctx's error when that ends first,
// and an error with CodeUnavailable for a dead letter or when the dispatcher
// stops.
func (d *Dispatcher) Confirmed(ctx context.Context, sequence uint64) error {
	d.mu.Lock()
	ch := d.progress.wait(sequence)
	d.mu.Unlock()
	if ch == nil {
		return verdict(d.o.Dead.holds(sequence))
	}
	defer func() {
		d.mu.Lock()
		d.progress.forget(sequence, ch)
		d.mu.Unlock()
	}()
	select {
	case err := <-ch:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-d.done:
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "the server is stopping; the event is sent after its next start")
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
	last := d.o.Log.Last()
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Status{Position: d.progress.position, Safe: d.cur.Position(), Dead: d.o.Dead.Open()}
	if settled := s.Position + d.progress.countAhead(); last > settled {
		s.Lag = last - settled
	}
	if d.broken != nil {
		s.Fault = "cannot read the log: " + d.broken.Error()
	} else if d.fault.err != nil {
		s.Fault, s.Retry = d.fault.err.Error(), d.fault.retry
	}
	return s
}

// result is the verdict on one attempt, handed from the bus to the loop.
type result struct {
	m       *message
	attempt int
	err     error
}

// deliver takes the bus's answer. It runs on the driver's goroutine and so only
// leaves a note. There are as many notes as the bus's window is wide.
func (d *Dispatcher) deliver(r result) {
	d.mu.Lock()
	d.results = append(d.results, r)
	d.mu.Unlock()
	d.nudge()
}

func (d *Dispatcher) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}
