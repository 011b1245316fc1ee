package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Group starts services in order and stops them in reverse. It implements
// [Service] and [Mortal].
type Group struct {
	name     string
	grace    time.Duration
	services []Service
	// turn has one slot, held by the Start or Stop in progress. Only its holder
	// begins and ends a term.
	turn chan struct{}

	mu        sync.Mutex
	term      *term                   // the last one; nil before the first Start
	interrupt context.CancelCauseFunc // of the Start in progress, else nil
}

// term is the time from a complete start to the end of the stop.
type term struct {
	watchers sync.WaitGroup
	quit     chan struct{} // closed when the stop begins

	once sync.Once
	done chan struct{} // closed by the first death, or at the end of the stop
	err  error         // set before done is closed
}

// NewGroup returns a group that gives each service the time grace to stop; 0
// means 10 s. A service that is stuck costs that time, and those before it in
// the list still get theirs.
func NewGroup(name string, grace time.Duration, services ...Service) *Group {
	if grace <= 0 {
		grace = 10 * time.Second
	}
	return &Group{name: name, grace: grace, services: services, turn: make(chan struct{}, 1)}
}

// Name implements [Service].
func (g *Group) Name() string { return g.name }

// Start starts the services in the order of the list, each after the one before
// it was ready. When one fails, those that run are stopped in reverse and the
// error names the one that failed. A Stop meanwhile ends the start, with
// [ErrStop] in the error.
func (g *Group) Start(ctx context.Context) error {
	if err := take(ctx, g.turn); err != nil {
		return fmt.Errorf("%s was not started: %w", g.name, err)
	}
	defer func() { <-g.turn }()
	if g.running() {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g.setInterrupt(cancel)
	defer g.setInterrupt(nil)
	for i, s := range g.services {
		if err := start(ctx, s, g.grace); err != nil {
			if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
				err = fmt.Errorf("%w: %w", cause, err)
			}
			err = fmt.Errorf("start %s: %w", s.Name(), err)
			return errors.Join(err, stopAll(context.WithoutCancel(ctx), g.services[:i], g.grace))
		}
	}
	g.begin()
	return nil
}

// start starts one service and waits for its probe.
func start(ctx context.Context, s Service, grace time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	c, ok := s.(Checker)
	if !ok {
		return nil
	}
	err := probe(ctx, s, c)
	if err != nil {
		return errors.Join(err, stopAll(context.WithoutCancel(ctx), []Service{s}, grace))
	}
	return nil
}

// probe asks until the answer is good, the service dies or ctx ends.
func probe(ctx context.Context, s Service, c Checker) error {
	var dead <-chan struct{}
	m, mortal := s.(Mortal)
	if mortal {
		dead = m.Done()
	}
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		err := c.Check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-dead:
			return errors.Join(m.Err(), err)
		case <-ctx.Done():
			return fmt.Errorf("not healthy in time: %w: %w", context.Cause(ctx), err)
		}
	}
}

// begin opens a term, with a watcher for each service that can die.
func (g *Group) begin() {
	t := &term{quit: make(chan struct{}), done: make(chan struct{})}
	g.mu.Lock()
	g.term = t
	g.mu.Unlock()
	for _, s := range g.services {
		m, ok := s.(Mortal)
		if !ok {
			continue
		}
		dead := m.Done()
		t.watchers.Go(func() {
			select {
			case <-t.quit:
			case <-dead:
				err := m.Err()
				if err == nil { // somebody stopped it behind the group's back
					err = fmt.Errorf("%s: %w", s.Name(), ErrEnded)
				}
				t.end(err)
			}
		})
	}
}

func (t *term) end(err error) {
	t.once.Do(func() {
		t.err = err
		close(t.done)
	})
}

// Stop stops the services in reverse order, each within the grace period, all
// of them within ctx. The errors of all are joined; whatever they are, the
// group counts as stopped.
func (g *Group) Stop(ctx context.Context) error {
	g.mu.Lock()
	if g.interrupt != nil {
		g.interrupt(ErrStop)
	}
	g.mu.Unlock()
	select {
	case g.turn <- struct{}{}: // also with a ctx that has ended, when nobody is in the way
	default:
		if err := take(ctx, g.turn); err != nil {
			return fmt.Errorf("%s did not stop in time: %w", g.name, err)
		}
	}
	defer func() { <-g.turn }()
	if !g.running() {
		return nil
	}
	t := g.current()
	close(t.quit)
	t.watchers.Wait()
	err := stopAll(ctx, g.services, g.grace)
	t.end(nil)
	return err
}

func stopAll(ctx context.Context, services []Service, grace time.Duration) error {
	var errs []error
	for _, s := range slices.Backward(services) {
		limited, cancel := context.WithTimeoutCause(ctx, grace, fmt.Errorf("the grace period of %s is over", grace))
		errs = append(errs, s.Stop(limited))
		cancel()
	}
	return errors.Join(errs...)
}

// Done implements [Mortal]: it is closed when a service dies by itself, or when
// the group was stopped. The other services then still run until Stop. Before
// the first Start it returns nil.
func (g *Group) Done() <-chan struct{} {
	if t := g.current(); t != nil {
		return t.done
	}
	return nil
}

// Err implements [Mortal]: the first death of a service, also after Stop.
func (g *Group) Err() error {
	t := g.current()
	if t == nil || !closed(t.done) {
		return nil
	}
	return t.err
}

// Wait blocks until a service dies, and returns why, until the group was
// stopped, or until ctx ends, and returns nil. It does not stop anything.
func (g *Group) Wait(ctx context.Context) error {
	select {
	case <-g.Done():
		return g.Err()
	case <-ctx.Done():
		return nil
	}
}

func (g *Group) current() *term {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.term
}

// running reports whether a term is open; only the holder of the turn may ask.
func (g *Group) running() bool {
	t := g.current()
	return t != nil && !closed(t.quit)
}

func (g *Group) setInterrupt(f context.CancelCauseFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.interrupt = f
}
