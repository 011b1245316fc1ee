package dispatch

import (
	"cmp"
	"slices"

	"github.com/33god/bloodbank"
)

// progress knows for every sequence from position+1 on whether it is settled,
// and who waits for it. Its owner holds the lock.
type progress struct {
	position uint64 // all up to here are settled
	// ahead holds the settled sequences beyond position as stretches, sorted and with
	// holes between them: as many runs as there are stuck events, however far the
	// others get.
	ahead   []stretch
	waiters map[uint64][]chan error
}

// stretch is the sequences from..to, both included.
type stretch struct{ from, to uint64 }

func newProgress(position uint64) progress {
	return progress{position: position, waiters: make(map[uint64][]chan error)}
}

// settle notes the end of the way of the sequences from..to, none of which is
// settled yet, and tells those who wait.
func (p *progress) settle(from, to uint64, outcome error) {
	if len(p.waiters) > 0 {
		p.tell(from, to, outcome)
	}
	if from == p.position+1 {
		p.position = to
	} else {
		p.insert(stretch{from, to})
	}
	if len(p.ahead) > 0 && p.ahead[0].from == p.position+1 {
		p.position = p.ahead[0].to
		p.ahead = slices.Delete(p.ahead, 0, 1)
	}
}

func (p *progress) insert(r stretch) {
	i, _ := slices.BinarySearchFunc(p.ahead, r.from, func(a stretch, from uint64) int { return cmp.Compare(a.from, from) })
	joinsBefore := i > 0 && p.ahead[i-1].to+1 == r.from
	joinsAfter := i < len(p.ahead) && r.to+1 == p.ahead[i].from
	switch {
	case joinsBefore && joinsAfter:
		p.ahead[i-1].to = p.ahead[i].to
		p.ahead = slices.Delete(p.ahead, i, i+1)
	case joinsBefore:
		p.ahead[i-1].to = r.to
	case joinsAfter:
		p.ahead[i].from = r.from
	default:
		p.ahead = slices.Insert(p.ahead, i, r)
	}
}

func (p *progress) settled(seq uint64) bool {
	if seq <= p.position {
		return true
	}
	i, found := slices.BinarySearchFunc(p.ahead, seq, func(a stretch, seq uint64) int { return cmp.Compare(a.from, seq) })
	return found || i > 0 && seq <= p.ahead[i-1].to
}

func (p *progress) countAhead() (n uint64) {
	for _, r := range p.ahead {
		n += r.to - r.from + 1
	}
	return n
}

func (p *progress) tell(from, to uint64, outcome error) {
	if to-from < uint64(len(p.waiters)) {
		for seq := from; seq <= to; seq++ {
			p.tellOne(seq, outcome)
		}
		return
	}
	for seq := range p.waiters {
		if from <= seq && seq <= to {
			p.tellOne(seq, outcome)
		}
	}
}

func (p *progress) tellOne(seq uint64, outcome error) {
	for _, ch := range p.waiters[seq] {
		ch <- outcome
	}
	delete(p.waiters, seq)
}

// wait returns a channel on which the verdict on seq will come, or nil where it
// is settled.
func (p *progress) wait(seq uint64) chan error {
	if p.settled(seq) {
		return nil
	}
	ch := make(chan error, 1)
	p.waiters[seq] = append(p.waiters[seq], ch)
	return ch
}

func (p *progress) forget(seq uint64, ch chan error) {
	rest := slices.DeleteFunc(p.waiters[seq], func(c chan error) bool { return c == ch })
	if len(rest) == 0 {
		delete(p.waiters, seq)
		return
	}
	p.waiters[seq] = rest
}

func verdict(dead bool) error {
	if dead {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "the bus refused the event for good; see bb dlq list")
	}
	return nil
}
