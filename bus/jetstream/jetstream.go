package jetstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/33god/bloodbank/bus"
)

// closeGrace is what Close takes beyond its context for what is nearly done.
const closeGrace = time.Second

// Bus is a connection to JetStream, and the server itself when embedded. It
// implements bus.Publisher, bus.Subscriber and bus.Recaller.
type Bus struct {
	opts   Options
	conn   *nats.Conn
	js     jetstream.JetStream
	pub    *publisher
	server *embedded // nil when the server is elsewhere
	far    *remote   // nil when it is embedded

	gone   chan struct{} // the connection is closed and its callbacks are over
	sick   chan struct{} // one token: the server no longer stores
	ctx    context.Context
	cancel context.CancelFunc
	own    sync.WaitGroup // janitor, and healer or tender

	mu      sync.Mutex
	lanes   map[string]*lane
	members int           // Consume calls under way
	idle    chan struct{} // closed when none is left after Close
	closed  bool

	closeOnce sync.Once
	closeErr  error
}

// Open starts the server inside this process, on the files of o.Dir, and
// connects to it. ctx bounds the start only; Close ends it. Errors say which
// option is wrong, or that the folder cannot be written, is in use, is full, or
// belongs to a newer version.
func Open(ctx context.Context, o Options) (*Bus, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	srv, err := startEmbedded(ctx, o)
	if err != nil {
		return nil, err
	}
	b := newBus(ctx, o)
	b.server = srv
	err = b.connect(
		nats.InProcessServer(srv),
		nats.ReconnectWait(20*time.Millisecond),
		nats.ReconnectJitter(20*time.Millisecond, time.Second))
	if err != nil {
		return nil, errors.Join(err, srv.stop())
	}
	start, cancel := context.WithTimeout(ctx, o.StartTimeout)
	defer cancel()
	if err := ensureStream(start, b.js, b.opts); err != nil {
		return nil, errors.Join(err, b.Close(ctx))
	}
	b.own.Go(b.heal)
	b.own.Go(b.janitor)
	return b, nil
}

func newBus(ctx context.Context, o Options) *Bus {
	b := &Bus{
		opts: o, lanes: map[string]*lane{}, idle: make(chan struct{}),
		gone: make(chan struct{}), sick: make(chan struct{}, 1),
	}
	// Its owner is Close, not the caller of Open, whose ctx may end earlier.
	b.ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return b
}

// connect is the same for every server; where says which one.
func (b *Bus) connect(where ...nats.Option) error {
	conn, err := nats.Connect("", append(where,
		nats.Name("bb"),
		nats.MaxReconnects(-1),
		// Nothing is kept to be sent after a reconnect: it would overtake what
		// the owner of the log sends again.
		nats.ReconnectBufSize(-1),
		nats.FlusherTimeout(b.opts.ConfirmTimeout),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { b.disconnected(err) }),
		nats.ClosedHandler(func(*nats.Conn) { close(b.gone) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { b.complained(err) }),
	)...)
	if err != nil {
		b.cancel()
		return fmt.Errorf("jetstream: cannot connect: %w", err)
	}
	b.conn = conn
	b.js, err = jetstream.New(conn)
	if err == nil {
		var pub *publisher
		pub, err = newPublisher(conn, b.opts, b.reportSick)
		b.mu.Lock()
		b.pub = pub
		b.mu.Unlock()
	}
	if err != nil {
		b.cancel()
		conn.Close()
		<-b.gone
		return fmt.Errorf("jetstream: cannot use the connection: %w", err)
	}
	return nil
}

// Publish sends m; see bus.Publisher. Messages over MaxMessage, without an id or
// with a type that cannot be a subject are refused with bus.ErrRejected. Without
// a connection to servers elsewhere, or while their stream is not fit, it fails
// at once and says why.
func (b *Bus) Publish(ctx context.Context, m bus.Message, done func(error)) error {
	if b.far != nil {
		if err := b.far.now(); err != nil && !b.isClosed() {
			return err
		}
	}
	return b.pub.publish(ctx, m, done)
}

// Features says what a confirm is worth; see the package's doc comment about
// SafeDelay.
func (b *Bus) Features() bus.Features {
	f := bus.Features{
		Name:            "embedded JetStream",
		Window:          b.opts.Window,
		MaxMessage:      int(b.pub.maxData.Load()),
		SafeDelay:       2*b.opts.SyncInterval + 500*time.Millisecond,
		Deduplicates:    true,
		DuplicateWindow: b.opts.DuplicateWindow,
		Ordered:         true,
		Persistent:      true,
	}
	if b.opts.SyncAlways {
		f.SafeDelay = 0
	}
	if b.far != nil {
		f.Name = "NATS JetStream"
		f.SafeDelay = b.far.opts.safeDelay()
		if found := b.far.found(); found.Name != "" {
			f.DuplicateWindow = found.Duplicates
		}
	}
	return f
}

// Check asks the server for its stream. For servers elsewhere it also says why
// there is no connection, what is wrong with the stream, or which permission was
// missed of late.
func (b *Bus) Check(ctx context.Context) error {
	if b.isClosed() {
		return bus.ErrClosed
	}
	if b.far != nil {
		return b.checkFar(ctx)
	}
	if _, err := b.js.Stream(ctx, Stream); err != nil {
		return fmt.Errorf("jetstream: the server does not answer for its stream: %w", err)
	}
	return nil
}

// Addr is the URL for other NATS clients; "" unless Options.Listen was given.
func (b *Bus) Addr() string {
	if b.server == nil {
		return ""
	}
	return b.server.addr()
}

// Close refuses new work, waits for open confirms until ctx ends, ends every
// Consume (a batch in the handler's hands is waited for), and stops the server,
// which syncs its files. The first call does it; the others wait for it.
func (b *Bus) Close(ctx context.Context) error {
	b.closeOnce.Do(func() { b.closeErr = b.close(ctx) })
	return b.closeErr
}

func (b *Bus) close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	if b.members == 0 {
		close(b.idle)
	}
	b.mu.Unlock()
	b.pub.close(ctx)
	b.cancel()
	var err error
	if !b.allLeft(ctx) {
		err = fmt.Errorf("jetstream: closed while a handler was still at work: %w", context.Cause(ctx))
	}
	b.own.Wait()
	// Acknowledgements may still be on their way to the server.
	if b.conn.IsConnected() {
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
		defer cancel()
		_ = b.conn.FlushWithContext(flush) // a lost one costs a second delivery, no more
	}
	b.conn.Close()
	<-b.gone
	if b.server != nil {
		err = errors.Join(err, b.server.stop())
	}
	return err
}

// allLeft waits for the Consume calls until ctx ends, and then a moment more
// for those that only have to notice.
func (b *Bus) allLeft(ctx context.Context) bool {
	select {
	case <-b.idle:
		return true
	case <-ctx.Done():
	}
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-b.idle:
		return true
	case <-grace.C:
		return false
	}
}

func (b *Bus) isClosed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

// disconnected runs on the connection's callback goroutine.
func (b *Bus) disconnected(why error) {
	if b.far != nil {
		b.far.lost(why)
	}
	b.mu.Lock()
	pub := b.pub
	var lanes []*lane
	for _, l := range b.lanes {
		lanes = append(lanes, l)
	}
	b.mu.Unlock()
	if pub != nil {
		pub.disconnected()
	}
	for _, l := range lanes {
		l.fail(errDisconnected)
	}
}

// complained runs on the connection's callback goroutine.
func (b *Bus) complained(err error) {
	b.opts.Logger.Warn("bus connection", "err", err)
	if b.far != nil {
		b.farComplained(err)
	}
}

// reportSick wakes the healer.
func (b *Bus) reportSick() {
	select {
	case b.sick <- struct{}{}:
	default:
	}
}

// heal restarts an embedded server that no longer confirms. After a write error
// (a full disk, for example) it answers nothing until it is started anew.
func (b *Bus) heal() {
	for n := 1; ; {
		select {
		case <-b.ctx.Done():
			return
		case <-b.sick:
		}
		b.opts.Logger.Warn("the embedded bus no longer confirms; it is started anew")
		if err := b.server.restart(b.ctx); err != nil {
			b.opts.Logger.Error("the embedded bus does not start; trying again", "err", err)
			b.reportSick()
			n++
		} else {
			n = 1
		}
		if !pause(b.ctx, backoff(n, time.Second, 30*time.Second)) {
			return
		}
	}
}

// pause waits for d; false means that ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}
