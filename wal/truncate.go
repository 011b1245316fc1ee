package wal

import (
	"context"
)

// Truncate says that the records up to upTo are needed no more. Whole segments of such records are taken from readers
// at once and archived, used again or removed in the background; the newest segment always stays, since it carries the
// sequence. A segment is given away for good only when its file is gone, so after a crash it may be back until the next
// Truncate.
func (l *Log) Truncate(ctx context.Context, upTo uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	n := 0
	for n < len(l.segments)-1 && l.segments[n].last <= upTo {
		n++
	}
	drained := l.segments[:n:n]
	if n > 0 {
		l.dropped = l.segments[n-1].last
		l.segments = l.segments[n:]
	}
	l.mu.Unlock()
	for _, ref := range drained {
		l.keep.add(job{drop: ref})
	}
	return nil
}
