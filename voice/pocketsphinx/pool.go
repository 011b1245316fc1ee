package pocketsphinx

import (
	"context"
	"sync"
	"time"

	"github.com/33god/bloodbank/voice"
)

// startPause is how long a failed start is remembered: many callers at once must not
// each load a broken model.
const startPause = time.Second

// slot is the place of one worker process, whichever it is now.
type slot struct {
	process  *process
	starting chan struct{} // closed when the start under way has its outcome
	failed   error
	failedAt time.Time
	final    bool // its decoder for finals is leased
	interim  bool // its decoder for interim text is leased
}

// pool leases the decoders of at most len(slots) workers.
type pool struct {
	config Config
	model  *modelCheck
	turns  chan struct{} // one token for each decoder for finals
	starts sync.WaitGroup

	mu     sync.Mutex
	slots  []*slot
	closed bool
	over   chan struct{} // closed with the pool
}

func newPool(c Config) *pool {
	p := &pool{
		config: c, turns: make(chan struct{}, c.Workers), over: make(chan struct{}),
		model: &modelCheck{dir: c.ModelDir, sums: debianSums},
	}
	for range c.Workers {
		p.slots = append(p.slots, &slot{})
	}
	return p
}

// final leases a decoder for finals, waiting for its turn until ctx ends.
func (p *pool) final(ctx context.Context) (*process, func(), error) {
	select {
	case p.turns <- struct{}{}:
	case <-p.over:
		return nil, nil, voice.ErrClosed
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	return p.lease(ctx)
}

// spare is final for what may turn out to be of no use: it never waits, and leaves at
// least half of the decoders to others where there are several.
func (p *pool) spare(ctx context.Context) (*process, func(), error) {
	if len(p.turns) > 0 && len(p.turns) >= cap(p.turns)/2 {
		return nil, nil, voice.ErrBusy
	}
	select {
	case p.turns <- struct{}{}:
		return p.lease(ctx)
	default:
		return nil, nil, voice.ErrBusy
	}
}

// lease picks a decoder for finals for whoever has a turn, and gives the turn back with it.
func (p *pool) lease(ctx context.Context) (*process, func(), error) {
	s := p.pick(func(s *slot) *bool { return &s.final })
	release := func() {
		p.mu.Lock()
		s.final = false
		p.mu.Unlock()
		<-p.turns
	}
	process, err := p.running(ctx, s)
	if err != nil {
		release()
		return nil, nil, err
	}
	return process, release, nil
}

// interim leases a decoder for interim text, or answers [voice.ErrBusy].
func (p *pool) interim(ctx context.Context) (*process, func(), error) {
	s := p.pick(func(s *slot) *bool { return &s.interim })
	if s == nil {
		return nil, nil, voice.ErrBusy
	}
	release := func() {
		p.mu.Lock()
		s.interim = false
		p.mu.Unlock()
	}
	process, err := p.running(ctx, s)
	if err != nil {
		release()
		return nil, nil, err
	}
	return process, release, nil
}

// pick takes the first slot whose lease is free, preferring one that runs: a second
// worker starts only when the first has its hands full.
func (p *pool) pick(lease func(*slot) *bool) *slot {
	p.mu.Lock()
	defer p.mu.Unlock()
	var free *slot
	for _, s := range p.slots {
		if *lease(s) {
			continue
		}
		if free == nil || s.runs() && !free.runs() {
			free = s
		}
	}
	if free != nil {
		*lease(free) = true
	}
	return free
}

func (s *slot) runs() bool { return s.process != nil && s.process.alive() }

// running returns the slot's process, starting it if there is none. The start goes on
// when ctx ends, for the next who needs it.
func (p *pool) running(ctx context.Context, s *slot) (*process, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, voice.ErrClosed
	}
	if s.runs() && s.starting == nil {
		defer p.mu.Unlock()
		return s.process, nil
	}
	if s.failed != nil && time.Since(s.failedAt) < startPause {
		defer p.mu.Unlock()
		return nil, s.failed
	}
	if s.starting == nil {
		s.starting = make(chan struct{})
		p.starts.Go(func() { p.start(s) })
	}
	wait := s.starting
	p.mu.Unlock()
	select {
	case <-wait:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.failed != nil {
		return nil, s.failed
	}
	return s.process, nil
}

func (p *pool) start(s *slot) {
	err := p.model.check()
	var fresh *process
	if err == nil {
		fresh, err = startProcess(p.config, p.over)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.process, s.failed, s.failedAt = fresh, err, time.Now()
	close(s.starting)
	s.starting = nil
}

// check makes sure that one worker runs.
func (p *pool) check(ctx context.Context) error {
	p.mu.Lock()
	first := p.slots[0]
	for _, s := range p.slots {
		if s.runs() && !first.runs() {
			first = s
		}
	}
	p.mu.Unlock()
	_, err := p.running(ctx, first)
	return err
}

// pids lists the processes that run.
func (p *pool) pids() (all []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.slots {
		if s.runs() {
			all = append(all, s.process.cmd.Process.Pid)
		}
	}
	return all
}

func (p *pool) close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.over)
	}
	p.mu.Unlock()
	p.starts.Wait()
	p.mu.Lock()
	var all []*process
	for _, s := range p.slots {
		if s.process != nil {
			all = append(all, s.process)
		}
	}
	p.mu.Unlock()
	// Without the lock: dying workers give their leases back.
	for _, process := range all {
		process.kill()
	}
}
