package dispatch

import (
	"github.com/33god/bloodbank"
)

// progress knows for every sequence from position+1 on whether it is settled,
// and who waits for it. Its owner holds the lock.
type progress struct {
	position uint64 // all up to here are settled
	// ahead holds the settled sequences beyond position.
	ahead   map[uint64]struct{}
	waiters map[uint64][]chan error
}

func (p *progress) start(position uint64) {
	p.position = position
	p.ahead = make(map[uint64]struct{})
	p.waiters = make(map[uint64][]chan error)
}

// settle notes the end of a sequence's way and reports whether the position
// moved.
func (p *progress) settle(seq uint64, dead bool) bool {
	if seq <= p.position {
		return false
	}
	p.ahead[seq] = struct{}{}
	for _, ch := range p.waiters[seq] {
		ch <- verdict(dead)
	}
	delete(p.waiters, seq)
	moved := false
	for {
		if _, settled := p.ahead[p.position+1]; !settled {
			return moved
		}
		p.position++
		delete(p.ahead, p.position)
		moved = true
	}
}

// wait returns a channel on which the verdict on seq will come, or nil where it
// is settled.
func (p *progress) wait(seq uint64) chan error {
	if _, settled := p.ahead[seq]; settled || seq <= p.position {
		return nil
	}
	ch := make(chan error, 1)
	p.waiters[seq] = append(p.waiters[seq], ch)
	return ch
}

func (p *progress) forget(seq uint64, ch chan error) {
	rest := p.waiters[seq][:0]
	for _, c := range p.waiters[seq] {
		if c != ch {
			rest = append(rest, c)
		}
	}
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
