package dispatch

import (
	"slices"
	"time"
)

// retryQueue holds messages that wait for another attempt, oldest first. It is
// bounded by the bus's window plus the number of parked keys.
type retryQueue struct {
	waiting []*message // sorted by seq
}

func (q *retryQueue) len() int { return len(q.waiting) }

func (q *retryQueue) push(m *message) {
	i, _ := slices.BinarySearchFunc(q.waiting, m.seq, func(w *message, seq uint64) int {
		if w.seq < seq {
			return -1
		}
		return 1
	})
	q.waiting = slices.Insert(q.waiting, i, m)
}

func (q *retryQueue) popOldest() *message {
	m := q.waiting[0]
	q.waiting = q.waiting[1:]
	return m
}

// takeDue removes and returns the messages whose time has come.
func (q *retryQueue) takeDue(now time.Time) []*message {
	var due []*message
	q.waiting = slices.DeleteFunc(q.waiting, func(m *message) bool {
		if m.due.After(now) {
			return false
		}
		due = append(due, m)
		return true
	})
	return due
}

func (q *retryQueue) nextDue() (time.Time, bool) {
	if len(q.waiting) == 0 {
		return time.Time{}, false
	}
	next := q.waiting[0].due
	for _, m := range q.waiting[1:] {
		if m.due.Before(next) {
			next = m.due
		}
	}
	return next, true
}

// safeMarks remembers when the position stood where, to tell which sequences
// have been confirmed for longer than delay.
type safeMarks struct {
	delay time.Duration
	marks []safeMark
	last  uint64
}

type safeMark struct {
	position uint64
	due      time.Time
}

// pass notes the position and returns the newest one that is safe.
func (s *safeMarks) pass(position uint64, now time.Time) (safe uint64, moved bool) {
	if position > s.last {
		due := now.Add(s.delay)
		// A mark each eighth of the delay is fine enough and bounds their number.
		if n := len(s.marks); n >= 2 && due.Sub(s.marks[n-2].due) < s.delay/8 {
			s.marks[n-1] = safeMark{position, due}
		} else {
			s.marks = append(s.marks, safeMark{position, due})
		}
		s.last = position
	}
	for len(s.marks) > 0 && !s.marks[0].due.After(now) {
		safe, moved = s.marks[0].position, true
		s.marks = s.marks[1:]
	}
	return safe, moved
}

func (s *safeMarks) nextDue() (time.Time, bool) {
	if len(s.marks) == 0 {
		return time.Time{}, false
	}
	return s.marks[0].due, true
}
