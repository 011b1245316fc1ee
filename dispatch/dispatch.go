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
	"sync/atomic"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/wal"
)

// CursorName is the name of the main bus's position in the log; see [CursorOf].
const CursorName = "bus"

// Options configure a [Dispatcher]. Log, Publisher and Dead are required, and
// Retention for any target but the main bus.
type Options struct {
	Log       *wal.Log
	Publisher bus.Publisher
	Dead      *DeadLetters
	// Target is the name of the target, see [CheckTarget]; "" is the main bus.
	// There is one dispatcher for each target.
	Target string
	// FromStart has a target that appears for the first time begin with the oldest
	// record of the log instead of behind the newest. The main bus always does, and
	// known targets go on where they are.
	FromStart bool
	// Accepts says which events the target takes.
	Accepts Rule
	// Retention lets the log forget; all dispatchers of a log share one. For the
	// main bus alone nil is enough; then attempts are not remembered.
	Retention *Retention
	// CompressAbove is the size in bytes from which on data is sent compressed,
	// with [bus.EncodingGzip], where that makes it smaller; 0 means never.
	CompressAbove int
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
	o      Options
	target string
	cur    *wal.Cursor
	memo   *memo
	done   chan struct{} // closed when the loop has ended
	wake   chan struct{} // holds one token: something for the loop to look at
	// resumed are the attempts of an earlier life; the loop's own once it runs.
	resumed map[uint64]attempt

	mu        sync.Mutex
	stop      context.CancelFunc // nil until started
	stopped   bool
	saved     bool // the final position is on disk
	progress  progress
	results   []result
	troubled  atomic.Bool // results hold a failure; changes with them
	redrives  []*message
	redriving map[uint64]struct{} // the dead letters that are being sent again, or not closed yet
	fault     fault
	broken    error // why the log cannot be read at the moment
}

// New returns a dispatcher that continues where its cursor stands. The codes are
// invalid for a target that may not be, and unavailable.
func New(o Options) (*Dispatcher, error) {
	o.MaxAttempts = cmp.Or(o.MaxAttempts, 8)
	o.Backoff = cmp.Or(o.Backoff, 100*time.Millisecond)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, 30*time.Second)
	o.MaxParked = cmp.Or(o.MaxParked, 10_000)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	target := targetName(o.Target)
	if target != MainTarget {
		if err := CheckTarget(target); err != nil {
			return nil, err
		}
	}
	if o.Retention == nil {
		var err error
		if o.Retention, err = NewRetention(o.Log, nil); err != nil {
			return nil, err
		}
	}
	cur, position, err := o.Retention.join(target, o.FromStart, o.Dead)
	if err != nil {
		return nil, err
	}
	if first := o.Log.First(); first > position+1 { // the log was truncated, the cursor is older
		position = first - 1
	}
	d := &Dispatcher{
		o: o, target: target, cur: cur, done: make(chan struct{}), wake: make(chan struct{}, 1),
		memo:     newMemo(target, o.Retention.journal, o.Logger),
		progress: newProgress(position), redriving: make(map[uint64]struct{}),
	}
	d.recover(position)
	return d, nil
}

// recover takes up what is known of the sequences behind a position on disk.
func (d *Dispatcher) recover(position uint64) {
	d.o.Dead.passed(d.target, position)
	for _, seq := range d.o.Dead.sequences(d.target, position, d.o.Log.Last()) {
		d.progress.settle(seq, seq, verdict(true))
	}
	if d.memo.journal == nil {
		return
	}
	d.resumed = d.memo.journal.of(d.target)
	for seq := range d.resumed {
		if d.progress.settled(seq) {
			delete(d.resumed, seq)
			d.memo.put(seq, attempt{})
		}
	}
}

// Name is the name of the service: "dispatch", or "dispatch NAME" for a target
// beside the main bus.
func (d *Dispatcher) Name() string {
	if d.target == MainTarget {
		return "dispatch"
	}
	return "dispatch " + d.target
}

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
	if err := d.o.Retention.begin(ctx, d.target); err != nil {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot write down where target %s begins: %w", d.target, err)
	}
	f := feeder{d: d, next: d.progress.position + 1, out: make(chan []*message), pack: packing{above: d.o.CompressAbove}}
	if err := f.open(); err != nil {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot read the log from %d: %w", f.next, err)
	}
	l := newLoop(d, f.out)
	ctx, d.stop = context.WithCancel(context.WithoutCancel(ctx))
	d.o.Dead.serve(d)
	go func() {
		defer close(d.done)
		var others sync.WaitGroup
		others.Go(func() { f.run(ctx) })
		others.Go(func() { d.memo.run(ctx) })
		l.run(ctx)
		others.Wait()
		d.leave()
	}()
	return nil
}

// leave gives back the dead letters that were to be sent or closed.
func (d *Dispatcher) leave() {
	d.o.Dead.unserve(d)
	d.mu.Lock()
	defer d.mu.Unlock()
	for number := range d.redriving {
		d.o.Dead.unclaim(number)
	}
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
		return verdict(d.o.Dead.holds(place{d.target, sequence}))
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
	// Target is where it sends to; [MainTarget] for the main bus.
	Target string `json:"target"`
	// Position is the last sequence up to which all are confirmed or dead; Safe
	// is the last one that the bus can no longer lose.
	Position uint64 `json:"position"`
	Safe     uint64 `json:"safe"`
	// Lag counts accepted events that are not yet confirmed or dead.
	Lag uint64 `json:"lag"`
	// Dead counts the target's open dead letters, also those that were delivered and
	// are not closed yet.
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
	s := Status{Target: d.target, Position: d.progress.position, Safe: d.cur.Position(), Dead: d.o.Dead.Count(Filter{Target: d.target})}
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
	if r.err != nil {
		d.troubled.Store(true)
	}
	d.mu.Unlock()
	d.nudge()
}

func (d *Dispatcher) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}
