// Package live follows the store by sequence and serves everybody who watches:
// the web UI, `bb watch`, SSE clients.
//
// Law: the store is the truth and a watcher is only a position in it. The newest
// events are kept in memory; a watcher that falls behind them reads the store
// instead. So a slow reader costs nobody else anything, and misses nothing. It
// knows no bus and no log.
package live

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// Limits of the hub.
const (
	// DefaultKeep is how many of the newest events stay in memory.
	DefaultKeep = 4096
	// DefaultPoll is how often the store is looked at without being told to,
	// for events that another process has written.
	DefaultPoll = time.Second
	pageSize    = 500
)

// Options configure a [Hub]. Store is required.
type Options struct {
	Store store.Store
	// Keep is how many events stay in memory; 0 means DefaultKeep.
	Keep int
	// Poll is the interval of DefaultPoll; 0 means that.
	Poll   time.Duration
	Logger *slog.Logger
}

// Hub is a service. Start it once.
type Hub struct {
	o    Options
	wake chan struct{}
	stop context.CancelCauseFunc
	done chan struct{}

	mu      sync.Mutex
	tail    []store.Event // the newest events, sequences rising without holes among what was stored
	last    int64         // the newest sequence seen
	changed chan struct{} // closed and replaced when tail grows
	closed  bool
	watch   int
}

// New returns a hub.
func New(o Options) *Hub {
	if o.Keep <= 0 {
		o.Keep = DefaultKeep
	}
	if o.Poll <= 0 {
		o.Poll = DefaultPoll
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Hub{o: o, wake: make(chan struct{}, 1), done: make(chan struct{}), changed: make(chan struct{})}
}

// Name is the name of the service.
func (h *Hub) Name() string { return "live" }

// Start begins to follow the store at its newest event.
func (h *Hub) Start(ctx context.Context) error {
	last, err := h.o.Store.Last(ctx)
	if err != nil {
		return err
	}
	h.last = last
	ctx, h.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	go func() {
		defer close(h.done)
		h.follow(ctx)
	}()
	return nil
}

// Stop ends following; watchers get [ErrClosed]. It is idempotent.
func (h *Hub) Stop(ctx context.Context) error {
	if h.stop == nil {
		return nil
	}
	h.stop(ErrClosed)
	select {
	case <-h.done:
		return nil
	case <-ctx.Done():
		return bloodbank.Errorf(bloodbank.CodeTimeout, "the live stream did not stop in time: %w", context.Cause(ctx))
	}
}

// Wake tells the hub that the store has grown. It never blocks.
func (h *Hub) Wake(int64) {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *Hub) follow(ctx context.Context) {
	defer h.close()
	tick := time.NewTicker(h.o.Poll)
	defer tick.Stop()
	for {
		select {
		case <-h.wake:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for h.advance(ctx) {
		}
	}
}

// advance reads one page and reports whether there may be more.
func (h *Hub) advance(ctx context.Context) bool {
	events, err := h.o.Store.After(ctx, h.last, pageSize)
	if err != nil {
		if ctx.Err() == nil {
			h.o.Logger.Warn("the live stream cannot read the store; it tries again", "error", err)
		}
		return false
	}
	if len(events) == 0 {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = events[len(events)-1].Sequence
	h.tail = append(h.tail, events...)
	if over := len(h.tail) - h.o.Keep; over > h.o.Keep/4 {
		h.tail = append(h.tail[:0:0], h.tail[over:]...)
	}
	close(h.changed)
	h.changed = make(chan struct{})
	return len(events) == pageSize
}

func (h *Hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	close(h.changed)
}

// Status describes the hub.
type Status struct {
	// Position is the newest sequence that watchers can see.
	Position int64 `json:"position"`
	Watchers int   `json:"watchers"`
}

// Status returns a snapshot.
func (h *Hub) Status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Status{Position: h.last, Watchers: h.watch}
}
