package sqlite

import (
	"context"
	"errors"
	"time"
)

// checkpointPause is the least time between two checkpoints.
const checkpointPause = 250 * time.Millisecond

// checkpointer folds the write-ahead file back into the main file, beside the
// writer and without holding it up: SQLite's own checkpoint runs within a commit,
// which then waits for two more syncs. It cannot keep up with an endless stream
// of commits; then the writer's own, at 64 MiB, begins the file anew.
type checkpointer struct {
	dsn   string
	dirty chan struct{} // holds a token: something was committed
	done  chan struct{}
	// failed gets each error once; the data are safe in the write-ahead file.
	failed func(error)
}

func startCheckpointer(ctx context.Context, opts Options) *checkpointer {
	c := &checkpointer{
		dsn: dsn(opts, "rw"), dirty: make(chan struct{}, 1), done: make(chan struct{}),
		failed: func(err error) {
			opts.Logger.Warn("cannot fold the write-ahead file into the store; it grows until this is mended", "path", opts.Path, "error", err)
		},
	}
	go func() {
		defer close(c.done)
		c.run(ctx)
	}()
	return c
}

// committed says that there is something to fold. It never blocks.
func (c *checkpointer) committed() {
	select {
	case c.dirty <- struct{}{}:
	default:
	}
}

// wait returns when the goroutine is gone, after the end of its context.
func (c *checkpointer) wait() { <-c.done }

func (c *checkpointer) run(ctx context.Context) {
	var file *conn
	var last error
	for {
		select {
		case <-c.dirty:
		case <-ctx.Done():
			c.report(&last, closeIfOpen(file))
			return
		}
		var err error
		file, err = c.fold(ctx, file)
		c.report(&last, err)
		pause(ctx, checkpointPause)
	}
}

// fold makes one checkpoint, with a connection that is opened when it is needed
// and dropped after an error.
func (c *checkpointer) fold(ctx context.Context, file *conn) (*conn, error) {
	if file == nil {
		opened, err := connect(ctx, c.dsn)
		if err != nil {
			return nil, err
		}
		file = opened
	}
	if _, err := file.int("PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
		return nil, errors.Join(err, file.close())
	}
	return file, nil
}

func closeIfOpen(file *conn) error {
	if file == nil {
		return nil
	}
	return file.close()
}

// report passes on an error that is not the one before.
func (c *checkpointer) report(last *error, err error) {
	if err != nil && (*last == nil || (*last).Error() != err.Error()) {
		c.failed(err)
	}
	*last = err
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
