package dispatch

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/wal"
)

// feedBatch is how many messages the feeder hands over at once.
const feedBatch = 64

// message is an event between the log and the bus.
type message struct {
	seq      uint64 // place in the log; 0 for a redriven dead letter
	bus      bus.Message
	key      string
	attempts int
	due      time.Time // not to be sent before
	// refused is why it cannot be sent at all; "" for a proper event.
	refused string
	// redriven is set for a dead letter that is sent again.
	redriven *redrive
}

// loop is the state of the dispatching goroutine, which alone touches it.
type loop struct {
	d       *Dispatcher
	in      chan []*message
	held    map[bloodbank.EventID]struct{}
	lines   map[string][]*message // busy keys, with who waits behind them
	parked  int
	retries retryQueue
	probe   *message // with the breaker open: the one attempt under way
	safe    safeMarks
}

func newLoop(d *Dispatcher, held map[bloodbank.EventID]struct{}) *loop {
	return &loop{
		d: d, in: make(chan []*message), held: held, lines: make(map[string][]*message),
		safe: safeMarks{delay: d.o.Publisher.Features().SafeDelay},
	}
}

// run is the dispatching goroutine. It owns the feeder and waits for it.
func (l *loop) run(ctx context.Context, r *wal.Reader) {
	fed := make(chan struct{})
	go func() { defer close(fed); l.d.feed(ctx, r, l.in) }()
	defer func() { <-fed }()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		l.collect(ctx)
		l.sendDue(ctx)
		timer.Reset(l.untilNext())
		in := l.in
		if l.open() || l.parked >= l.d.o.MaxParked {
			in = nil // the log waits for us, at no cost
		}
		select {
		case batch := <-in:
			for _, m := range batch {
				l.admit(ctx, m)
			}
		case <-l.d.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// open reports whether the breaker is open: the bus is not taking messages.
func (l *loop) open() bool { return l.d.fault.err != nil }

// admit takes a message from the log. A key that is busy keeps it waiting; the
// other keys go on.
func (l *loop) admit(ctx context.Context, m *message) {
	if _, held := l.held[m.bus.ID]; held {
		l.settle(ctx, m, nil)
		return
	}
	if m.key != "" {
		if line, busy := l.lines[m.key]; busy {
			l.lines[m.key] = append(line, m)
			l.parked++
			return
		}
		l.lines[m.key] = nil
	}
	l.send(ctx, m)
}

// send makes one attempt. Its outcome comes through deliver, or at once.
func (l *loop) send(ctx context.Context, m *message) {
	if m.refused != "" {
		l.bury(ctx, m, m.refused)
		return
	}
	if l.open() {
		if l.probe != nil || time.Now().Before(l.d.fault.retry) {
			l.retries.push(m)
			return
		}
		l.probe = m
	}
	err := l.d.o.Publisher.Publish(ctx, m.bus, func(err error) { l.d.deliver(m, err) })
	if err != nil {
		l.fail(ctx, m, err)
	}
}

// collect works off what the bus has answered and what people asked for.
func (l *loop) collect(ctx context.Context) {
	l.d.mu.Lock()
	results, redrives := l.d.results, l.d.redrives
	l.d.results, l.d.redrives = nil, nil
	l.d.mu.Unlock()
	for _, r := range results {
		if r.err == nil {
			l.succeed(ctx, r.m)
		} else {
			l.fail(ctx, r.m, r.err)
		}
	}
	for _, m := range redrives {
		l.send(ctx, m)
	}
	l.moveCursor(ctx)
}

func (l *loop) succeed(ctx context.Context, m *message) {
	l.closeBreaker()
	l.settle(ctx, m, nil)
}

// fail decides what becomes of a failed attempt: nothing when we are stopping, a
// dead letter when the bus refuses this message or has failed it too often, else
// another attempt later.
func (l *loop) fail(ctx context.Context, m *message, err error) {
	switch {
	case ctx.Err() != nil || errors.Is(err, bus.ErrClosed):
	case errors.Is(err, bus.ErrRejected):
		l.closeBreaker()
		l.bury(ctx, m, err.Error())
	case l.open() && m != l.probe:
		l.retries.push(m) // was under way when the breaker opened
	case l.d.o.Publisher.Check(ctx) != nil:
		l.trip(err)
		l.retries.push(m)
	default: // the bus works, so the failure is this message's own
		l.closeBreaker()
		m.attempts++
		if m.attempts >= l.d.o.MaxAttempts {
			l.bury(ctx, m, err.Error())
			return
		}
		m.due = time.Now().Add(l.delay(m.attempts))
		l.retries.push(m)
	}
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

// sendDue makes the attempts whose time has come, the oldest first. With the
// breaker open that is one at the most.
func (l *loop) sendDue(ctx context.Context) {
	now := time.Now()
	if l.open() {
		if l.probe == nil && !now.Before(l.d.fault.retry) && l.retries.len() > 0 {
			l.send(ctx, l.retries.popOldest())
		}
		return
	}
	for _, m := range l.retries.takeDue(now) {
		l.send(ctx, m)
	}
}

// bury writes a dead letter. Until that is on disk the message stays pending.
func (l *loop) bury(ctx context.Context, m *message, reason string) {
	if m.redriven != nil {
		l.settle(ctx, m, bloodbank.Errorf(bloodbank.CodeUnavailable, "the bus refused it again: %s", reason))
		return
	}
	err := l.d.o.Dead.add(ctx, m, reason)
	if err == nil {
		l.d.o.Logger.Warn("an event became a dead letter", "event_id", m.bus.ID, "sequence", m.seq, "reason", reason)
		l.settle(ctx, m, verdict(true))
		return
	}
	if ctx.Err() != nil {
		return
	}
	l.d.o.Logger.Error("cannot write a dead letter; will try again", "sequence", m.seq, "error", err)
	m.refused = reason
	m.due = time.Now().Add(l.d.o.MaxBackoff)
	l.retries.push(m)
}

// settle ends a message's way and lets the next one of its key go.
func (l *loop) settle(ctx context.Context, m *message, outcome error) {
	if m.redriven != nil {
		m.redriven.verdict <- outcome
		return
	}
	l.d.mu.Lock()
	l.d.progress.settle(m.seq, outcome != nil)
	l.d.mu.Unlock()
	line, busy := l.lines[m.key]
	switch {
	case m.key == "" || !busy:
	case len(line) == 0:
		delete(l.lines, m.key)
	default:
		l.lines[m.key] = line[1:]
		l.parked--
		l.send(ctx, line[0])
	}
}

// moveCursor lets the log forget what the bus can no longer lose.
func (l *loop) moveCursor(ctx context.Context) {
	safe, moved := l.safe.pass(l.d.progress.position, time.Now())
	if !moved {
		return
	}
	l.d.cur.Advance(safe)
	if err := l.d.o.Log.Truncate(ctx, safe); err != nil && ctx.Err() == nil {
		l.d.o.Logger.Error("cannot drop delivered events from the log; it grows until this is mended", "error", err)
	}
}

// untilNext is how long the loop may sleep when nothing happens.
func (l *loop) untilNext() time.Duration {
	next := time.Hour
	if l.open() {
		if l.probe == nil {
			next = time.Until(l.d.fault.retry)
		}
	} else if due, ok := l.retries.nextDue(); ok {
		next = time.Until(due)
	}
	if due, ok := l.safe.nextDue(); ok {
		next = min(next, time.Until(due))
	}
	return max(next, 0)
}
