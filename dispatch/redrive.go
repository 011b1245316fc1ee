package dispatch

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/wal"
)

// maxRedrives bounds the dead letters that are being sent again at once.
const maxRedrives = 256

// redrive is a dead letter that is sent again.
type redrive struct {
	number  uint64
	verdict chan error
	left    atomic.Bool // nobody waits for the verdict any more
}

// Redrive sends a dead letter of the dispatcher's target again, once, with the
// same event id, and waits for the bus to confirm it. On success the dead letter
// is closed: at once on a bus whose confirm means fsynced, else after
// [bus.Features].SafeDelay, until when it stays listed with ConfirmedAt. A crash or a
// stop before that lists it as it was; to send it again is harmless, as the bus
// knows its id. Otherwise it stays. When ctx ends first it may still be delivered,
// and is closed then. [DeadLetters.Redrive] finds the dispatcher.
//
// Codes: not_found; invalid for one that is no event or of another target;
// conflict while it is being sent or discarded already, or was delivered and is
// not closed yet; overloaded when too many
// are; unavailable when the bus does not take it (then it wraps the bus's error,
// [bus.ErrRejected] for one), is down, or the dispatcher does not run; timeout.
func (d *Dispatcher) Redrive(ctx context.Context, number uint64) error {
	m, err := d.redriveMessage(number)
	if err != nil {
		return err
	}
	if err := d.enqueue(m); err != nil {
		return err
	}
	d.nudge()
	select {
	case err := <-m.redriven.verdict:
		return err
	case <-ctx.Done():
		m.redriven.left.Store(true)
		return bloodbank.Errorf(bloodbank.CodeTimeout, "dead letter %d was not confirmed in time; it stays listed until it is: %w", number, context.Cause(ctx))
	case <-d.done:
		return notRunning()
	}
}

func (d *Dispatcher) redriveMessage(number uint64) (*message, error) {
	letter, err := d.o.Dead.Get(number)
	if err != nil {
		return nil, err
	}
	if letter.Event == nil {
		return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "dead letter %d is no event and cannot be sent: %s", number, letter.Reason)
	}
	if letter.Target != d.target {
		return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "dead letter %d belongs to target %s, not to %s", number, letter.Target, d.target)
	}
	m := newMessage(wal.Record{Data: letter.Event})
	if m.refused != "" {
		return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "dead letter %d cannot be sent: %s", number, m.refused)
	}
	new(packing{above: d.o.CompressAbove}).pack(m)
	m.key, m.redriven = "", &redrive{number: number, verdict: make(chan error, 1)}
	return m, nil
}

func (d *Dispatcher) enqueue(m *message) error {
	number := m.redriven.number
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stop == nil || d.stopped {
		return notRunning()
	}
	if err := d.o.Dead.claim(number, maxRedrives); err != nil {
		return err
	}
	d.redriving[number] = struct{}{}
	d.redrives = append(d.redrives, m)
	return nil
}

// claim keeps a dead letter from being sent or discarded twice at once, or after it
// was delivered.
func (d *DeadLetters) claim(number uint64, most int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	letter, open := d.open[number]
	if !open {
		return notOpen(number)
	}
	if letter.delivered() {
		return bloodbank.Errorf(bloodbank.CodeConflict, "dead letter %d was delivered at %s; it is closed when the bus can no longer lose it, so there is nothing to do", number, letter.ConfirmedAt.Format(time.RFC3339))
	}
	if _, busy := d.busy[number]; busy {
		return bloodbank.Errorf(bloodbank.CodeConflict, "dead letter %d is being sent already; wait for the outcome", number)
	}
	if len(d.busy) >= most {
		return bloodbank.Errorf(bloodbank.CodeOverloaded, "%d dead letters are being sent at this moment; try again when they are done", len(d.busy))
	}
	d.busy[number] = struct{}{}
	return nil
}

// unclaim gives it back, as it was before.
func (d *DeadLetters) unclaim(number uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.busy, number)
	d.setConfirmedLocked(number, time.Time{})
}

// serve makes a dispatcher the one that sends the dead letters of its target.
func (d *DeadLetters) serve(by *Dispatcher) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.served[by.target] = by
}

func (d *DeadLetters) unserve(by *Dispatcher) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.served[by.target] == by {
		delete(d.served, by.target)
	}
}

func (d *DeadLetters) dispatcherOf(target string) *Dispatcher {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.served[target]
}

// Redrive has the dispatcher of its target send a dead letter again; see
// [Dispatcher.Redrive]. A target that nobody serves is unavailable.
func (d *DeadLetters) Redrive(ctx context.Context, number uint64) error {
	d.mu.Lock()
	letter, ok := d.open[number]
	by := d.served[letter.Target]
	d.mu.Unlock()
	if !ok {
		return notOpen(number)
	}
	if by == nil {
		return notServed(letter)
	}
	return by.Redrive(ctx, number)
}

func notServed(l DeadLetter) error {
	return bloodbank.Errorf(bloodbank.CodeUnavailable,
		"dead letter %d belongs to target %s, to which nothing is sent at the moment; configure the target, or discard the dead letter", l.Number, l.Target)
}

func notRunning() error {
	return bloodbank.Errorf(bloodbank.CodeUnavailable, "the dispatcher does not run; the dead letter stays listed: %w", bus.ErrClosed)
}

// redrive makes the one attempt, in the loop.
func (l *loop) redrive(ctx context.Context, m *message) {
	if m.redriven.left.Load() {
		l.finish(m, nil)
		return
	}
	l.send(ctx, m)
}

// finish tells whoever waits, in the loop.
func (l *loop) finish(m *message, outcome error) {
	l.d.mu.Lock()
	delete(l.d.redriving, m.redriven.number)
	l.d.mu.Unlock()
	l.d.o.Dead.unclaim(m.redriven.number)
	m.redriven.verdict <- outcome
}
