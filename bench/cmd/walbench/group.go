package main

import (
	"context"
	"runtime"
	"sync"
)

// group puts leader/follower group commit in front of a library's batch call, the way our log does it: the first
// appender commits for all who came meanwhile, in its own goroutine, after one yield.
type group struct {
	commit func(records [][]byte) error

	mu         sync.Mutex
	committing bool
	pending    *pack
}

type pack struct {
	records [][]byte
	done    chan struct{}
	lead    chan struct{}
	err     error
}

func (g *group) append(_ context.Context, record []byte) error {
	g.mu.Lock()
	p := g.pending
	opened := p == nil
	if opened {
		p = &pack{done: make(chan struct{}), lead: make(chan struct{}, 1)}
		g.pending = p
	}
	p.records = append(p.records, record)
	leads := opened && !g.committing
	if leads {
		g.committing = true
	}
	g.mu.Unlock()
	switch {
	case leads:
	case opened:
		<-p.lead
	default:
		<-p.done
		return p.err
	}
	return g.run(p)
}

func (g *group) run(p *pack) error {
	runtime.Gosched()
	g.mu.Lock()
	g.pending = nil
	g.mu.Unlock()
	p.err = g.commit(p.records)
	g.mu.Lock()
	if g.pending != nil {
		g.pending.lead <- struct{}{}
	} else {
		g.committing = false
	}
	g.mu.Unlock()
	close(p.done)
	return p.err
}
