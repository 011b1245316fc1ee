package service

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Loop is a service made of one function that runs until its context ends. It
// implements [Mortal].
type Loop struct {
	name string
	run  func(ctx context.Context, ready func()) error

	mu   sync.Mutex
	last *life // nil before the first Start
}

// life is one run of the function. err is set before done is closed.
type life struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	ready  chan struct{}
	done   chan struct{}
	err    error
}

// NewLoop returns a service that calls run. Run must call ready once it does
// its work (later calls do nothing), and return soon after its context ends;
// until it returns the service counts as running. What it returns then is the
// result of Stop, where neither nil nor the context's error or cause is a
// failure. A return before that is the death of the service.
//
// The context keeps the values of Start's context, not its end.
func NewLoop(name string, run func(ctx context.Context, ready func()) error) *Loop {
	return &Loop{name: name, run: run}
}

// Name implements [Service].
func (s *Loop) Name() string { return s.name }

// Start implements [Service].
func (s *Loop) Start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s was not started: %w", s.name, context.Cause(ctx))
	}
	for {
		l, ours := s.enter(ctx)
		if !ours && l.ctx.Err() != nil { // it is ending: wait, then begin a new life
			select {
			case <-l.done:
				continue
			case <-ctx.Done():
				return fmt.Errorf("%s is still stopping: %w", s.name, context.Cause(ctx))
			}
		}
		return s.awaitReady(ctx, l, ours)
	}
}

// enter returns the present life, or begins one where there is none.
func (s *Loop) enter(ctx context.Context) (l *life, ours bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil && !closed(s.last.done) {
		return s.last, false
	}
	l = &life{ready: make(chan struct{}), done: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	s.last = l
	go s.live(l)
	return l, true
}

// live runs one life. Its owner is whoever calls Stop, or the death itself.
func (s *Loop) live(l *life) {
	defer close(l.done)
	err := s.run(l.ctx, sync.OnceFunc(func() { close(l.ready) }))
	switch cause := context.Cause(l.ctx); {
	case cause == nil && err == nil:
		l.err = fmt.Errorf("%s: %w", s.name, ErrEnded)
	case cause == nil:
		l.err = fmt.Errorf("%s: %w: %w", s.name, ErrEnded, err)
	case err != nil && !errors.Is(err, cause) && !errors.Is(err, context.Canceled):
		l.err = fmt.Errorf("stop %s: %w", s.name, err)
	}
	l.cancel(ErrEnded)
}

func (s *Loop) awaitReady(ctx context.Context, l *life, ours bool) error {
	select {
	case <-l.ready:
		return nil
	case <-l.done:
		if closed(l.ready) {
			return nil
		}
		if l.err != nil {
			return l.err
		}
		return fmt.Errorf("%s was stopped before it was ready: %w", s.name, ErrStop)
	case <-ctx.Done():
	}
	err := fmt.Errorf("%s did not get ready: %w", s.name, context.Cause(ctx))
	if ours {
		l.cancel(ErrStop)
		<-l.done
	}
	return err
}

// Stop implements [Service].
func (s *Loop) Stop(ctx context.Context) error {
	s.mu.Lock()
	l := s.last
	s.mu.Unlock()
	if l == nil {
		return nil
	}
	l.cancel(ErrStop)
	select {
	case <-l.done:
	case <-ctx.Done():
		if !closed(l.done) {
			return fmt.Errorf("%s did not stop in time: %w", s.name, context.Cause(ctx))
		}
	}
	if errors.Is(l.err, ErrEnded) { // its death was reported by Err
		return nil
	}
	return l.err
}

// Done implements [Mortal]. Before the first Start it returns nil.
func (s *Loop) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		return nil
	}
	return s.last.done
}

// Err implements [Mortal].
func (s *Loop) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil || !closed(s.last.done) || !errors.Is(s.last.err, ErrEnded) {
		return nil
	}
	return s.last.err
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
