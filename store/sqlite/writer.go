package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"sync/atomic"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// writer owns the one writing connection. Callers take turns; the line has an
// end, beyond which they are refused.
type writer struct {
	opts    Options
	dsn     string
	turn    chan struct{} // holds one token: who has it may use what is below
	waiting atomic.Int64

	c     *conn // nil after a fault that broke it; reopened at the next turn
	names *names
	// last is the newest sequence given away, link the newest of the ledger, and
	// version the state of the file in which these and names were read: another
	// writer changes it.
	last    int64
	link    store.Hash
	version int64
	args    []driver.NamedValue
}

func openWriter(ctx context.Context, opts Options) (*writer, error) {
	w := &writer{opts: opts, dsn: dsn(opts, "rw"), turn: make(chan struct{}, 1), names: newNames()}
	if err := w.connect(ctx); err != nil {
		return nil, err
	}
	w.turn <- struct{}{}
	return w, nil
}

func (w *writer) connect(ctx context.Context) error {
	c, err := connect(ctx, w.dsn)
	if err != nil {
		return err
	}
	if err := prepareFile(c, w.opts.Path); err != nil {
		return errors.Join(err, c.close())
	}
	w.c, w.version = c, -1
	return nil
}

// close must follow the last use; it takes no turn.
func (w *writer) close() error {
	if w.c == nil {
		return nil
	}
	return w.c.close()
}

// do runs one transaction when the caller's turn comes. Where it fails, the file
// and what is remembered of it are as before.
func (w *writer) do(ctx context.Context, change func() error) error {
	if w.waiting.Add(1) > int64(w.opts.MaxWaiting)+1 {
		w.waiting.Add(-1)
		return bloodbank.Errorf(bloodbank.CodeOverloaded, "%d writes are waiting for the store %s already; try again, with larger batches", w.opts.MaxWaiting, w.opts.Path)
	}
	defer w.waiting.Add(-1)
	select {
	case <-w.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { w.turn <- struct{}{} }()
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.c == nil {
		if err := w.connect(ctx); err != nil {
			return err
		}
	}
	err := w.c.transaction(func() error {
		if err := w.refresh(); err != nil {
			return err
		}
		return change()
	})
	if err != nil {
		w.version = -1 // forget what the transaction made up
	}
	if errors.Is(err, errBroken) {
		err = errors.Join(err, w.c.close())
		w.c = nil
	}
	return err
}

// refresh reads the counters again if any other connection has written since.
func (w *writer) refresh() error {
	version, err := w.c.int("PRAGMA data_version")
	if err != nil || version == w.version {
		return err
	}
	w.names.forget()
	if w.last, err = w.c.int("SELECT last FROM counters"); err != nil {
		return err
	}
	w.link, err = w.readLink()
	w.version = version
	return err
}
