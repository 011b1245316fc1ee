// Package service is the one lifecycle of the program: how its parts are
// started in order, watched, and stopped in reverse. It knows none of the
// parts, prints nothing and handles no signal; app lists the parts, main the
// signals.
package service

import (
	"context"
	"errors"
)

// Sentinels of a lifecycle.
var (
	// ErrStop is the cause of a context that ends because the service was
	// stopped; see [context.Cause]. Any other cause is a failure.
	ErrStop = errors.New("service: stopped")
	// ErrEnded says that a service ended though nobody stopped it.
	ErrEnded = errors.New("service: ended by itself")
)

// Service is a part of the program with a life of its own. All methods are safe
// for concurrent use, and both Start and Stop are idempotent. A stopped service
// can be started again.
type Service interface {
	// Name is what people call it in logs and errors.
	Name() string
	// Start returns once the service answers its health probe, or with an error,
	// and then leaves nothing behind. ctx bounds the start, not the life. On a
	// running service it waits until that is ready and returns nil.
	Start(ctx context.Context) error
	// Stop tells the service to end and blocks until everything that it started
	// is gone. When ctx ends first it returns an error and the service goes on
	// ending. Also with a ctx that has ended it does tell the service. On a
	// stopped service it returns nil.
	Stop(ctx context.Context) error
}

// Mortal is implemented by services that can end by themselves.
type Mortal interface {
	// Done is closed when the life that was started last is over.
	Done() <-chan struct{}
	// Err is why that life ended by itself: nil while it lasts and where Stop
	// ended it.
	Err() error
}

// Checker is implemented by services with a health probe that can be asked
// again. A [Group] asks it after Start until it returns nil.
type Checker interface {
	Check(ctx context.Context) error
}
