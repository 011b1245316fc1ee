package dispatch

import (
	"cmp"
	"slices"
	"time"
)

// retryQueue holds messages that wait for another attempt, sorted by due time,
// then by sequence.
type retryQueue struct {
	waiting []*message
}

func (q *retryQueue) len() int { return len(q.waiting) }

func (q *retryQueue) push(m *message) {
	i, _ := slices.BinarySearchFunc(q.waiting, m, func(a, b *message) int {
		return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.seq, b.seq))
	})
	q.waiting = slices.Insert(q.waiting, i, m)
}

// take removes and returns one.
func (q *retryQueue) take(i int) *message {
	m := q.waiting[i]
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return m
}

// takeDue removes and returns the messages whose time has come.
func (q *retryQueue) takeDue(now time.Time) []*message {
	n := 0
	for n < len(q.waiting) && !q.waiting[n].due.After(now) {
		n++
	}
	if n == 0 {
		return nil
	}
	due := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	return due
}

func (q *retryQueue) nextDue() (time.Time, bool) {
	if len(q.waiting) == 0 {
		return time.Time{}, false
	}
	return q.waiting[0].due, true
}

// leastProbed returns the index of the message that has been a probe least
// often, the oldest of them; -1 where there is none.
func (q *retryQueue) leastProbed() int {
	best := -1
	for i, m := range q.waiting {
		if best < 0 || cmp.Or(cmp.Compare(m.probes, q.waiting[best].probes), cmp.Compare(m.seq, q.waiting[best].seq)) < 0 {
			best = i
		}
	}
	return best
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

// pass notes the position and returns the newest one that is safe, where that
// has moved.
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
