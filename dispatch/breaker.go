package dispatch

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
)

// checkTimeout bounds the question whether the bus works.
const checkTimeout = 5 * time.Second

// fault is the state of the breaker: err is nil while it is closed.
type fault struct {
	err   error
	retry time.Time
	count int
}

// open reports whether the breaker is open: the bus is not taking messages. Only
// the loop writes the fault, so it may read it without the lock.
func (l *loop) open() bool { return l.d.fault.err != nil }

// mayProbe reports whether the time of the next probe has come.
func (l *loop) mayProbe() bool { return l.probe == nil && !time.Now().Before(l.d.fault.retry) }

// claimProbe makes m the probe where it is time for one. Else m waits with the
// other failed ones, or is given back if it is a redriven dead letter.
func (l *loop) claimProbe(m *message) bool {
	switch {
	case m.redriven != nil:
		l.finish(m, bloodbank.Errorf(bloodbank.CodeUnavailable, "the bus does not take messages at the moment, so it stays listed: %w", l.d.fault.err))
		return false
	case !l.mayProbe():
		l.postpone(m)
		return false
	}
	l.probe = m
	m.probes++
	return true
}

// sendProbe tries whether the bus works again. One message alone must not stand
// for the bus, or one that the bus never takes would stop all others; so each
// probe is a message that has been one less often than the others, and a new
// one where all have been.
func (l *loop) sendProbe(ctx context.Context) {
	if !l.mayProbe() {
		return
	}
	i := l.retries.leastProbed()
	if (i < 0 || l.retries.waiting[i].probes > 0) && !l.cornered(0) {
		select {
		case batch := <-l.in:
			l.admit(ctx, batch)
			i = l.retries.leastProbed()
		default:
		}
	}
	if i >= 0 && l.mayProbe() {
		l.send(ctx, l.retries.take(i))
	}
}

// fail decides what becomes of a failed attempt: nothing when we are stopping, a
// dead letter when the bus refuses this message or has failed it too often, else
// another attempt later.
func (l *loop) fail(ctx context.Context, m *message, err error) {
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, bus.ErrRejected):
		l.closeBreaker() // it has an answer, so it works
		if m.redriven != nil {
			l.finish(m, bloodbank.Errorf(bloodbank.CodeUnavailable, "the bus refused it again, so it stays listed: %w", err))
			return
		}
		m.attempts++
		l.bury(ctx, m, err.Error())
	case m.redriven != nil:
		l.finish(m, bloodbank.Errorf(bloodbank.CodeUnavailable, "the bus did not confirm it, so it stays listed: %w", err))
	case l.open() && m != l.probe: // was under way when the breaker opened
		l.postpone(m)
	case l.busAtFault(ctx, m):
		l.trip(err)
		l.postpone(m)
	default:
		if l.open() {
			l.trip(err)
		}
		m.attempts++
		if m.attempts >= l.d.o.MaxAttempts<<min(l.sunk, 16) {
			if l.open() {
				l.sunk++
			}
			l.bury(ctx, m, err.Error())
			return
		}
		m.due = time.Now().Add(l.delay(m.attempts))
		l.remember(m)
		l.postpone(m)
	}
}

// busAtFault tells the failure of a bus from that of a message. A bus that says
// it does not work is at fault, and so is one that fails different messages and
// takes none between them, whatever it says: it may be full, for example. Once
// the breaker is open only a success closes it, so nothing is counted against a
// message while the bus is down, unless there is no other way out.
func (l *loop) busAtFault(ctx context.Context, m *message) bool {
	others := l.open() || l.lone != nil && l.lone != m
	if others && !l.cornered(1) && !l.alone(m) {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if l.d.o.Publisher.Check(ctx) != nil {
		return true
	}
	l.lone = m
	return false
}

// cornered reports whether there is no room left for new messages to try the bus
// with, beyond what is kept for that. Then, if everything that could be sent is
// poison and all else waits behind it, it must become dead letters. A message that
// has just failed is one more: it was there when the room for its probe was judged,
// and both must judge alike, or nothing is read and nothing is counted for ever.
func (l *loop) cornered(more int) bool { return l.waiting()+more >= 2*l.d.o.MaxParked }

// alone reports whether m is all there is to try the bus with, because everything
// else in the log waits behind it. Then, too, it must become a dead letter, or its
// key would wait for ever. Should the bus be at fault all the same, not much is
// lost to the dead letters: the next one is tried twice as often, and so on.
func (l *loop) alone(m *message) bool {
	q := l.lines[m.key]
	return l.open() && q != nil && q.flying == 1 && len(l.lines) == 1 &&
		l.waiting() == len(q.failed)+len(q.waiting) && len(l.ready) == 0 && l.next > l.d.o.Log.Last()
}

func (l *loop) closeBreaker() {
	l.probe = nil
	if l.open() {
		l.d.o.Logger.Info("the bus takes messages again")
		l.setFault(fault{})
	}
}

// trip opens the breaker, or keeps it open for longer after a failed probe.
func (l *loop) trip(err error) {
	l.probe = nil
	f := l.d.fault
	f.count++
	f.err, f.retry = err, time.Now().Add(l.delay(f.count))
	if f.count == 1 {
		l.d.o.Logger.Warn("the bus does not take messages; they stay in the log", "error", err)
	}
	l.setFault(f)
}

func (l *loop) setFault(f fault) {
	l.d.mu.Lock()
	l.d.fault = f
	l.d.mu.Unlock()
}

// delay is exponential with full jitter, but never less than a tenth of its
// length, so that a probe does not spin.
func (l *loop) delay(attempt int) time.Duration {
	full := l.d.o.MaxBackoff
	if shift := attempt - 1; shift < 20 && l.d.o.Backoff<<shift < full {
		full = l.d.o.Backoff << shift
	}
	return full/10 + rand.N(full-full/10)
}

// recall asks the bus for what it took of the tail that is about to be sent
// again. It tries until it knows or ctx ends: without the bus nothing can be
// sent anyway.
func (l *loop) recall(ctx context.Context) {
	recaller, ok := l.d.o.Publisher.(bus.Recaller)
	if !ok || l.old <= l.d.progress.position {
		return
	}
	since := time.Unix(0, 0) // the position was never saved: whatever it holds
	if saved := l.d.cur.SavedAt(); !saved.IsZero() {
		// What follows the position was sent, if at all, after the position was
		// saved, give or take the delay for which a confirm is held back. An event
		// sent long before, behind two stuck ones, may be missed: it is sent twice.
		since = saved.Add(-2*l.safe.delay - time.Minute)
	}
	for {
		held, err := recaller.Recall(ctx, since)
		if err == nil {
			l.held = held
			l.closeBreaker()
			return
		}
		if ctx.Err() != nil {
			return
		}
		l.trip(err)
		select {
		case <-time.After(time.Until(l.d.fault.retry)):
		case <-ctx.Done():
			return
		}
	}
}
