package dispatch

import (
	"context"
	"sync/atomic"

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

// Redrive sends a dead letter again, once, with the same event id, and waits for
// the bus. On success the dead letter is closed; otherwise it stays. When ctx
// ends first it may still be delivered, and is closed then.
//
// Codes: not_found; invalid for one that is no event; conflict while it is being
// sent already; overloaded when too many are; unavailable when the bus does not
// take it, is down, or the dispatcher does not run; timeout.
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
	m := newMessage(wal.Record{Data: letter.Event})
	if m.refused != "" {
		return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "dead letter %d cannot be sent: %s", number, m.refused)
	}
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
	if _, busy := d.redriving[number]; busy {
		return bloodbank.Errorf(bloodbank.CodeConflict, "dead letter %d is being sent already; wait for the outcome", number)
	}
	if len(d.redriving) >= maxRedrives {
		return bloodbank.Errorf(bloodbank.CodeOverloaded, "%d dead letters are being sent at this moment; try again when they are done", maxRedrives)
	}
	d.redriving[number] = struct{}{}
	d.redrives = append(d.redrives, m)
	return nil
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
	m.redriven.verdict <- outcome
}
