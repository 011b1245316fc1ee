package dispatch

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// memoRetry is how long to wait after the journal could not be written.
const memoRetry = time.Second

// memo carries what the loop of one target wants remembered to the journal, some
// steps at a time, on a goroutine of its own: the loop never waits for the disk.
type memo struct {
	target  string
	journal *Journal // nil: nothing is remembered
	logger  *slog.Logger
	wake    chan struct{}

	mu      sync.Mutex
	pending map[uint64]attempt
}

func newMemo(target string, journal *Journal, logger *slog.Logger) *memo {
	return &memo{target: target, journal: journal, logger: logger, wake: make(chan struct{}, 1), pending: make(map[uint64]attempt)}
}

// put notes an attempt; one that is not written yet is replaced. While the
// journal cannot be written no more is kept than it could take.
func (n *memo) put(seq uint64, a attempt) {
	if n.journal == nil {
		return
	}
	n.mu.Lock()
	if _, known := n.pending[seq]; known || len(n.pending) < maxRemembered {
		n.pending[seq] = a
	}
	n.mu.Unlock()
	n.nudge()
}

// run writes until ctx ends, and then what is left, once.
func (n *memo) run(ctx context.Context) {
	if n.journal == nil {
		return
	}
	failing := false
	for ctx.Err() == nil {
		select {
		case <-n.wake:
		case <-ctx.Done():
			continue
		}
		err := n.flush(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			n.logger.Error("attempts cannot be written down; a restart now would count them anew", "target", n.target, "error", err)
		}
		if failing = err != nil; failing {
			select {
			case <-time.After(memoRetry):
				n.nudge()
			case <-ctx.Done():
			}
		}
	}
	_ = n.flush(context.WithoutCancel(ctx)) // at worst some attempts count anew
}

func (n *memo) nudge() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// flush writes what is pending. On failure it stays so, unless there is something
// newer.
func (n *memo) flush(ctx context.Context) error {
	n.mu.Lock()
	changes := n.pending
	n.pending = make(map[uint64]attempt)
	n.mu.Unlock()
	err := n.journal.note(ctx, n.target, changes)
	if err != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		maps.Copy(changes, n.pending)
		n.pending = changes
	}
	return err
}
