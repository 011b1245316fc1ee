package service

import (
	"context"
	"fmt"
)

// Resource is a service without a loop of its own: something that is opened and
// closed, such as a database.
type Resource struct {
	name        string
	open, close func(context.Context) error
	// turn has one slot, held while opening or closing; isOpen belongs to its
	// holder.
	turn   chan struct{}
	isOpen bool
}

// NewResource returns a service that calls open, which returns when the thing
// can be used, and close, which returns when it is gone. They are never called
// at the same time, and each only after the other. After an error of close the
// resource counts as closed.
func NewResource(name string, open, close func(context.Context) error) *Resource {
	return &Resource{name: name, open: open, close: close, turn: make(chan struct{}, 1)}
}

// Name implements [Service].
func (r *Resource) Name() string { return r.name }

// Start implements [Service].
func (r *Resource) Start(ctx context.Context) error {
	if err := take(ctx, r.turn); err != nil {
		return fmt.Errorf("%s was not started: %w", r.name, err)
	}
	defer func() { <-r.turn }()
	if r.isOpen {
		return nil
	}
	if err := r.open(ctx); err != nil {
		return err
	}
	r.isOpen = true
	return nil
}

// Stop implements [Service]. It waits for a Start in progress.
func (r *Resource) Stop(ctx context.Context) error {
	select {
	case r.turn <- struct{}{}: // also with a ctx that has ended, when nobody is in the way
	default:
		if err := take(ctx, r.turn); err != nil {
			return fmt.Errorf("%s did not stop in time: %w", r.name, err)
		}
	}
	defer func() { <-r.turn }()
	if !r.isOpen {
		return nil
	}
	r.isOpen = false
	return r.close(ctx)
}

// take waits for the one slot of turn.
func take(ctx context.Context, turn chan struct{}) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
