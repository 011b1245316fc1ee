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
	"errors"
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
	// DefaultKeepBytes bounds the wire forms of those events.
	DefaultKeepBytes = 32 << 20
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
	// KeepBytes is how many bytes of wire forms stay in memory, whatever Keep
	// says; 0 means DefaultKeepBytes. Of both limits up to a quarter and one page
	// of events more are there for a moment.
	KeepBytes int
	// Poll is the interval of DefaultPoll; 0 means that.
	Poll   time.Duration
	Logger *slog.Logger
}

// Hub is a service. It lives once: a stopped hub stays stopped.
type Hub struct {
	o    Options
	wake chan struct{} // holds one token
	done chan struct{} // closed when following has ended

	mu       sync.Mutex
	stop     context.CancelFunc // nil until started
	tail     []store.Event      // the newest events in memory, all that the store has from the first to last
	bytes    int                // of the wire forms in tail
	last     int64              // the newest sequence seen
	begin    int64              // the newest one when the store was first read; -1 before
	changed  chan struct{}      // closed and replaced when last rises
	closed   bool
	watchers int

	failing bool // the last reading of the store failed; of the following goroutine
}

// New returns a hub.
func New(o Options) *Hub {
	if o.Keep <= 0 {
		o.Keep = DefaultKeep
	}
	if o.KeepBytes <= 0 {
		o.KeepBytes = DefaultKeepBytes
	}
	if o.Poll <= 0 {
		o.Poll = DefaultPoll
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Hub{o: o, begin: -1, wake: make(chan struct{}, 1), done: make(chan struct{}), changed: make(chan struct{})}
}

// Name is the name of the service.
func (h *Hub) Name() string { return "live" }

// Start begins to follow the store at its newest event. A store that is down is
// no failure: following begins where it stands once it can be read. It fails with
// [ErrClosed] after Stop. On a started hub it does nothing.
func (h *Hub) Start(ctx context.Context) error {
	last, err := h.o.Store.Last(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	if h.stop != nil {
		return nil
	}
	if h.report(err); err == nil {
		h.last, h.begin = last, last
	}
	ctx, h.stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(h.done)
		h.follow(ctx)
	}()
	return nil
}

// Stop ends following, within ctx. Watchers get [ErrClosed]. It is idempotent.
func (h *Hub) Stop(ctx context.Context) error {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		close(h.changed)
	}
	stop := h.stop
	h.mu.Unlock()
	if stop == nil {
		return nil
	}
	stop()
	select {
	case <-h.done:
		return nil
	case <-ctx.Done():
		return bloodbank.Errorf(bloodbank.CodeTimeout, "the live stream did not stop in time: %w", context.Cause(ctx))
	}
}

// Wake tells the hub that the store has grown. It never blocks. The argument is
// the newest sequence, which the hub reads for itself.
func (h *Hub) Wake(int64) {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *Hub) follow(ctx context.Context) {
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

// advance reads what is next and reports whether there may be more. With nobody
// watching it only notes how far the store is: who comes later begins there, or
// reads the store.
func (h *Hub) advance(ctx context.Context) bool {
	// Only this goroutine writes last and begin once it runs.
	last, events, err := h.read(ctx)
	if ctx.Err() != nil {
		return false
	}
	h.report(err)
	if err != nil || h.begin >= 0 && last <= h.last {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.last = last
	if h.begin < 0 {
		h.begin = last
	}
	if len(events) > 0 {
		h.keep(events)
	} else {
		h.tail, h.bytes = nil, 0 // it would have a hole
	}
	close(h.changed)
	h.changed = make(chan struct{})
	return len(events) > 0
}

func (h *Hub) read(ctx context.Context) (last int64, events []store.Event, err error) {
	h.mu.Lock()
	watched := h.watchers > 0 && h.begin >= 0
	h.mu.Unlock()
	if !watched {
		last, err = h.o.Store.Last(ctx)
		return last, nil, err
	}
	events, err = h.o.Store.After(ctx, h.last, pageSize)
	if len(events) > 0 {
		last = events[len(events)-1].Sequence
	}
	return last, events, err
}

// keep adds events to the tail and lets the oldest go. It copies what stays once
// a quarter has gone: watchers may still hold pieces of the old array.
func (h *Hub) keep(events []store.Event) {
	h.tail = append(h.tail, events...)
	for i := range events {
		h.bytes += len(events[i].Raw)
	}
	drop, bytes := 0, h.bytes
	for drop < len(h.tail) && (len(h.tail)-drop > h.o.Keep || bytes > h.o.KeepBytes) {
		bytes -= len(h.tail[drop].Raw)
		drop++
	}
	if h.bytes > h.o.KeepBytes+h.o.KeepBytes/4 || drop > h.o.Keep/4 {
		h.tail, h.bytes = append([]store.Event(nil), h.tail[drop:]...), bytes
	}
}

// report logs when reading the store begins to fail and when it works again,
// not each time.
func (h *Hub) report(err error) {
	if failing := err != nil; failing != h.failing {
		h.failing = failing
		if failing {
			h.o.Logger.Warn("the live stream cannot read the store; it tries again", "error", err)
		} else {
			h.o.Logger.Info("the live stream reads the store again")
		}
	}
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
	return Status{Position: h.last, Watchers: h.watchers}
}

// ErrClosed says that the hub has stopped.
var ErrClosed = errors.New("live: the server is stopping")
