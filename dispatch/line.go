package dispatch

import (
	"cmp"
	"slices"
)

// lineWidth is how many messages of a key are under way at once on a bus that
// keeps the order of publishing. On any other bus it is one.
const lineWidth = 64

// line is a busy key: its messages go in the order in which they were accepted.
//
// Law: after a failure nothing new of the key is sent until what is under way
// has its answer; then the failed ones go again, the oldest first and one by
// one; then the rest. A bus that keeps the order and fails a run of messages to
// its end, as a lost connection does, so gets each key in order.
type line struct {
	flying  int        // under way, or one that waits among the retries or the unburied
	halted  bool       // by that one: nothing new goes until none flies
	failed  []*message // sorted by sequence
	waiting []*message // not sent yet
}

// enter puts a message at the end of its line and reports whether it may go at
// once. A key that is stuck parks itself, not the world.
func (l *loop) enter(m *message) bool {
	q := l.lines[m.key]
	if q == nil {
		q = &line{}
		l.lines[m.key] = q
	}
	if !m.remembered && q.flying < l.width && !q.halted && len(q.failed)+len(q.waiting) == 0 {
		q.flying++
		return true
	}
	q.waiting = append(q.waiting, m)
	l.parked++
	if m.remembered {
		l.advance(m.key)
	}
	return false
}

// leave takes a settled message out of its line.
func (l *loop) leave(m *message) {
	if m.key != "" {
		l.land(m.key)
		l.advance(m.key)
	}
}

// postpone keeps a failed message for another attempt.
func (l *loop) postpone(m *message) {
	if m.key == "" {
		l.retries.push(m)
		return
	}
	q := l.land(m.key)
	i, _ := slices.BinarySearchFunc(q.failed, m.seq, func(a *message, seq uint64) int { return cmp.Compare(a.seq, seq) })
	q.failed = slices.Insert(q.failed, i, m)
	l.parked++
	l.advance(m.key)
}

// halt keeps the line of a dead message waiting that cannot be written down.
func (l *loop) halt(m *message) {
	if q := l.lines[m.key]; q != nil {
		q.halted = true
	}
}

func (l *loop) land(key string) *line {
	q := l.lines[key]
	q.flying--
	q.halted = q.halted && q.flying > 0
	return q
}

// advance lets go whoever may go now.
func (l *loop) advance(key string) {
	q := l.lines[key]
	if len(q.failed) > 0 {
		if q.flying == 0 {
			q.flying, q.halted = 1, true
			l.retries.push(q.failed[0])
			q.failed = q.failed[1:]
			l.parked--
		}
		return
	}
	for !q.halted && q.flying < l.width && len(q.waiting) > 0 {
		if q.waiting[0].remembered { // failed in an earlier life: it goes alone, in its time
			if q.flying == 0 {
				q.flying, q.halted = 1, true
				l.retries.push(q.waiting[0])
				q.waiting = q.waiting[1:]
				l.parked--
			}
			break
		}
		q.flying++
		l.ready = append(l.ready, q.waiting[0])
		q.waiting = q.waiting[1:]
		l.parked--
	}
	if q.flying == 0 {
		delete(l.lines, key)
	}
}
