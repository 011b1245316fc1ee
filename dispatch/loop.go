package dispatch

import (
	"context"
	"time"

	"github.com/33god/bloodbank"
)

// loop is the state of the dispatching goroutine, which alone touches it.
type loop struct {
	d  *Dispatcher
	in <-chan []*message

	next  uint64 // the sequence that is to come from the log
	old   uint64 // the newest sequence at start; up to here it may have been sent before
	held  map[bloodbank.EventID]struct{}
	lines map[string]*line // busy keys
	width int              // of a line
	ready []*message       // whose turn has come
	safe  safeMarks

	parked   int        // messages that wait in lines
	retries  retryQueue // failed ones
	unburied retryQueue // dead ones that could not be written down yet
	resent   []resent   // redriven ones that the bus can still lose, sorted by due time

	probe *message // with the breaker open: the one attempt under way
	lone  *message // the only one that failed since the last success
	sunk  int      // how many became dead letters since then with the breaker open
}

func newLoop(d *Dispatcher, in <-chan []*message) *loop {
	f := d.o.Publisher.Features()
	l := &loop{
		d: d, in: in, next: d.progress.position + 1, old: d.o.Log.Last(), lines: make(map[string]*line), width: 1,
		safe: safeMarks{delay: f.SafeDelay},
	}
	if f.Ordered {
		l.width = lineWidth
	}
	return l
}

func (l *loop) run(ctx context.Context) {
	l.recall(ctx)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		l.collect(ctx)
		l.sendDue(ctx)
		l.sendReady(ctx)
		l.moveCursor(ctx)
		timer.Reset(l.untilNext())
		select {
		case batch := <-l.source():
			l.admit(ctx, batch)
		case <-l.d.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// source is where new messages come from: nowhere while too many wait already,
// or while the breaker is open, unless it has nothing else to try the bus with.
// Then the log waits for us, at no cost.
func (l *loop) source() <-chan []*message {
	if l.waiting() >= l.d.o.MaxParked || l.open() && (l.retries.len() > 0 || !l.mayProbe()) {
		return nil
	}
	return l.in
}

// waiting counts the messages in memory that are not on their way.
func (l *loop) waiting() int { return l.parked + l.retries.len() + l.unburied.len() }

func (l *loop) admit(ctx context.Context, batch []*message) {
	for _, m := range batch {
		l.admitOne(ctx, m)
	}
}

// admitOne takes a message from the log. A key that is busy keeps it waiting;
// the other keys go on.
func (l *loop) admitOne(ctx context.Context, m *message) {
	if m.seq > l.next {
		l.skip(l.next, m.seq-1)
	}
	if m.through > 0 {
		l.passOver(m.seq, m.through)
		return
	}
	l.next = m.seq + 1
	if m.seq > l.old {
		l.held = nil // of no more use
	} else if l.knownBefore(m) {
		l.forget(m)
		return
	}
	l.resume(m)
	switch {
	case m.key != "":
		if l.enter(m) {
			l.send(ctx, m)
		}
	case m.remembered:
		l.retries.push(m)
	default:
		l.send(ctx, m)
	}
}

// passOver settles sequences that the target does not take.
func (l *loop) passOver(from, to uint64) {
	l.next = to + 1
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	for ; from <= min(to, l.old); from++ { // one of them may be a dead letter from a time of other rules
		if !l.d.progress.settled(from) {
			l.d.progress.settle(from, from, nil)
		}
	}
	if from <= to {
		l.d.progress.settle(from, to, nil)
	}
}

// skip settles sequences that the log does not hold any more: their bytes were
// damaged and lie in the quarantine. Waiting for them would keep everything
// behind them in the log for ever.
func (l *loop) skip(from, to uint64) {
	l.d.o.Logger.Error("the log does not hold these events; look into its quarantine with bb wal status", "from", from, "to", to)
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	l.d.progress.settle(from, to, bloodbank.Errorf(bloodbank.CodeUnavailable, "the event's record was damaged; see bb wal status"))
}

// knownBefore reports whether an earlier life of the dispatcher had done with m:
// it is a dead letter, settled since New, or else the bus holds it.
func (l *loop) knownBefore(m *message) bool {
	if l.d.progress.settled(m.seq) {
		return true
	}
	if _, held := l.held[m.bus.ID]; !held {
		return false
	}
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	l.d.progress.settle(m.seq, m.seq, nil)
	return true
}

// resume gives a message the attempts of an earlier life, and the time at which
// it is due.
func (l *loop) resume(m *message) {
	a, ok := l.d.resumed[m.seq]
	if !ok {
		return
	}
	delete(l.d.resumed, m.seq)
	m.attempts, m.remembered = a.count, true
	// The clock may have been set back since.
	if m.due = a.due; time.Until(m.due) > l.d.o.MaxBackoff {
		m.due = time.Now().Add(l.d.o.MaxBackoff)
	}
}

// remember has the attempts of a message written down.
func (l *loop) remember(m *message) {
	m.remembered = true
	l.d.memo.put(m.seq, attempt{m.attempts, m.due})
}

// forget is the end of that, once the message is settled.
func (l *loop) forget(m *message) {
	if _, before := l.d.resumed[m.seq]; before || m.remembered {
		delete(l.d.resumed, m.seq)
		l.d.memo.put(m.seq, attempt{})
	}
}

// send makes one attempt. Its outcome comes through deliver, or at once. Once ctx is
// over nothing is sent: the bus may have given up one of the same key because of it.
func (l *loop) send(ctx context.Context, m *message) {
	if ctx.Err() != nil {
		return
	}
	if m.refused != "" {
		l.bury(ctx, m, m.refused)
		return
	}
	if l.overtakes(ctx, m) || l.open() && !l.claimProbe(m) {
		return
	}
	m.sent++
	m.awaited = m.sent
	attempt := m.sent
	err := l.d.o.Publisher.Publish(ctx, m.bus, func(err error) { l.d.deliver(result{m, attempt, err}) })
	if err != nil {
		m.awaited = 0
		l.fail(ctx, m, err)
	}
}

// overtakes reports whether m may not be sent now, because an earlier message of its
// key has failed meanwhile; m then waits behind it. A driver that lost its connection
// tells all failures before it sends over the next one: whoever was sent without a
// look at them would arrive before those that are to be sent again.
func (l *loop) overtakes(ctx context.Context, m *message) bool {
	if !l.d.troubled.Load() {
		return false
	}
	l.collect(ctx)
	q := l.lines[m.key]
	if m.redriven != nil || q == nil || len(q.failed) == 0 || q.failed[0].seq > m.seq {
		return false
	}
	l.postpone(m)
	return true
}

// collect works off what the bus has answered and what people asked for.
func (l *loop) collect(ctx context.Context) {
	l.d.mu.Lock()
	results, redrives := l.d.results, l.d.redrives
	l.d.results, l.d.redrives = nil, nil
	l.d.troubled.Store(false)
	l.d.mu.Unlock()
	for _, r := range results {
		if r.m.awaited != r.attempt {
			continue // a second answer to an attempt
		}
		r.m.awaited = 0
		if r.err == nil {
			l.succeed(ctx, r.m)
		} else {
			l.fail(ctx, r.m, r.err)
		}
	}
	for _, m := range redrives {
		l.redrive(ctx, m)
	}
}

func (l *loop) succeed(ctx context.Context, m *message) {
	l.lone, l.sunk = nil, 0
	l.closeBreaker()
	if m.redriven != nil {
		l.delivered(ctx, m)
		return
	}
	l.settle(m, nil)
}

// bury writes a dead letter. Until that is on disk the message stays pending,
// and its key waits.
func (l *loop) bury(ctx context.Context, m *message, reason string) {
	m.refused = reason
	err := l.d.o.Dead.add(ctx, l.d.target, m, reason)
	if err == nil {
		l.d.o.Logger.Warn("an event became a dead letter", "target", l.d.target, "event_id", m.bus.ID, "sequence", m.seq, "reason", reason)
		l.settle(m, verdict(true))
		return
	}
	if ctx.Err() != nil {
		return
	}
	m.due = time.Now().Add(l.d.o.MaxBackoff)
	l.d.o.Logger.Error("cannot write a dead letter; it is tried again", "sequence", m.seq, "at", m.due, "error", err)
	l.unburied.push(m)
	l.halt(m)
}

// settle ends a message's way and lets the next ones of its key go.
func (l *loop) settle(m *message, outcome error) {
	l.d.mu.Lock()
	l.d.progress.settle(m.seq, m.seq, outcome)
	l.d.mu.Unlock()
	l.forget(m)
	l.leave(m)
}

// sendReady lets those go whose turn has come. It is a loop, not a recursion:
// one that is refused at once makes the next one ready.
func (l *loop) sendReady(ctx context.Context) {
	for len(l.ready) > 0 && ctx.Err() == nil {
		m := l.ready[0]
		l.ready = l.ready[1:]
		l.send(ctx, m)
	}
}

// sendDue makes the attempts whose time has come, the oldest first. With the
// breaker open that is one at the most.
func (l *loop) sendDue(ctx context.Context) {
	now := time.Now()
	l.closeResent(ctx, now)
	for _, m := range l.unburied.takeDue(now) {
		l.bury(ctx, m, m.refused)
	}
	if l.open() {
		l.sendProbe(ctx)
		return
	}
	for _, m := range l.retries.takeDue(now) {
		l.send(ctx, m)
	}
}

// moveCursor lets the log forget what the bus can no longer lose.
func (l *loop) moveCursor(ctx context.Context) {
	safe, moved := l.safe.pass(l.d.progress.position, time.Now())
	if !moved {
		return
	}
	l.d.cur.Advance(safe)
	if err := l.d.o.Retention.release(ctx); err != nil && ctx.Err() == nil {
		l.d.o.Logger.Error("cannot drop delivered events from the log; it grows until this is mended", "error", err)
	}
}

// untilNext is how long the loop may sleep when nothing happens.
func (l *loop) untilNext() time.Duration {
	next := time.Hour
	consider := func(due time.Time, ok bool) {
		if ok {
			next = max(min(next, time.Until(due)), 0)
		}
	}
	if l.open() {
		consider(l.d.fault.retry, l.probe == nil && !l.mayProbe())
	} else {
		consider(l.retries.nextDue())
	}
	consider(l.unburied.nextDue())
	consider(l.safe.nextDue())
	consider(l.nextClose())
	return next
}
