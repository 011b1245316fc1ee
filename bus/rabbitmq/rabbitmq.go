package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/33god/bloodbank/bus"
)

// Bus is a pair of connections to RabbitMQ. It implements bus.Publisher and
// bus.Subscriber.
type Bus struct {
	opts       Options
	pub        *publisher
	publishing *link
	consuming  *link
	unverified atomic.Bool // a queue is used whose type is not known
	made       atomic.Bool // a queue was made by us

	ctx        context.Context // ends with Close: consumers
	cancel     context.CancelFunc
	linkCtx    context.Context // ends after the consumers
	cancelLink context.CancelFunc
	disconnect context.CancelFunc // ends the publishing link
	links      sync.WaitGroup

	mu      sync.Mutex
	members int           // Consume calls under way
	started bool          // the consuming link runs
	idle    chan struct{} // closed when no member is left after Close
	closed  bool
	groups  map[string]*group

	closeOnce sync.Once
	closeErr  error
}

// Open checks o and connects, within ctx and Options.DialTimeout.
//
// What only people can mend is an error: bad options, and ErrRefused, whose
// message names the setting. That is wrong credentials, no such virtual host,
// rights that are missing, an exchange or a queue with other settings, TLS that
// does not fit, or a server that is no RabbitMQ.
//
// What may pass is none: no such host, nobody listens, silence, an end in the
// middle of the login, a broker that is short of memory. The driver tries on,
// and Publish and Check say why there is no connection. ErrRefused after a good
// start is treated alike, for an administrator may be at work.
func Open(ctx context.Context, o Options) (*Bus, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	uri, err := amqp.ParseURI(o.URL)
	if err != nil {
		return nil, errUnreadable
	}
	b := &Bus{
		opts: o, pub: newPublisher(o), groups: map[string]*group{},
		idle: make(chan struct{}),
	}
	d := &dialer{opts: o, uri: uri, place: place(uri)}
	// Their owner is Close, not the caller of Open, whose ctx may end earlier.
	root := context.WithoutCancel(ctx)
	b.ctx, b.cancel = context.WithCancel(root)
	b.linkCtx, b.cancelLink = context.WithCancel(root)
	publish, disconnect := context.WithCancel(root)
	b.disconnect = disconnect
	b.publishing = newLink("publishing", d, b.servePublishing)
	b.publishing.told = b.pub.setDown
	b.consuming = newLink("consuming", d, serveConsuming)
	b.links.Go(func() { b.publishing.run(publish) })
	select {
	case <-b.publishing.tried:
	case <-ctx.Done():
	}
	if _, err = b.publishing.now(); ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if ctx.Err() == nil && !errors.Is(err, ErrRefused) {
		return b, nil
	}
	return nil, errors.Join(err, b.Close(ctx))
}

func (b *Bus) servePublishing(ctx context.Context, c *connection, ready func()) error {
	return b.pub.serve(ctx, c, ready, func(ctx context.Context, c *connection) error {
		return b.declare(ctx, c, b.opts.Groups...)
	})
}

// serveConsuming holds the connection for the members until it breaks.
func serveConsuming(ctx context.Context, c *connection, ready func()) error {
	closes := c.NotifyClose(make(chan *amqp.Error, 1))
	ready()
	select {
	case <-ctx.Done():
		return bus.ErrClosed
	case err := <-closes:
		if err == nil {
			return errChannelGone
		}
		return fmt.Errorf("rabbitmq: connection lost: %w", err)
	}
}

// Publish sends m; see bus.Publisher. Messages over MaxMessage, without an id or
// with a type that cannot be a routing key are refused with bus.ErrRejected.
// Without a connection it fails at once and says why; while the broker blocks
// publishers it waits. done may get ErrUnroutable or ErrBlocked.
func (b *Bus) Publish(ctx context.Context, m bus.Message, done func(error)) error {
	return b.pub.publish(ctx, m, done)
}

// Features says what a confirm is worth; see the package's doc comment about
// SafeDelay.
func (b *Bus) Features() bus.Features {
	f := bus.Features{
		Name:       "RabbitMQ",
		Window:     b.opts.Window,
		MaxMessage: int(b.pub.limit.Load()),
		Ordered:    true,
		Persistent: true,
	}
	if b.made.Load() {
		f.SafeDelay = newQueueDelay
	}
	if b.opts.QueueType != Quorum || len(b.opts.Groups) == 0 || b.unverified.Load() {
		f.SafeDelay = classicDelay
	}
	return f
}

// Check says whether messages get through now: connected, not blocked, the last
// message neither returned nor refused, and the exchange there.
func (b *Bus) Check(ctx context.Context) error {
	if b.isClosed() {
		return bus.ErrClosed
	}
	shut := b.pub.shutting()
	if err := b.pub.trouble(); err != nil {
		return err
	}
	err := b.ask(ctx, b.publishing, shut, func(ch *amqp.Channel) error {
		return ch.ExchangeDeclarePassive(b.opts.Exchange, amqp.ExchangeTopic, true, false, false, false, nil)
	})
	if now := b.pub.trouble(); err != nil && now != nil {
		return now
	}
	if err != nil {
		return fmt.Errorf("rabbitmq: the broker does not answer for exchange %q: %w", b.opts.Exchange, err)
	}
	return nil
}

// ask has f done on a channel of l's connection, within ctx and DialTimeout.
func (b *Bus) ask(ctx context.Context, l *link, stop <-chan struct{}, f func(*amqp.Channel) error) error {
	ctx, cancel := context.WithTimeout(ctx, b.opts.DialTimeout)
	defer cancel()
	c, err := l.await(ctx)
	if err != nil {
		return err
	}
	return c.call(ctx, stop, f)
}

// Close refuses new work, waits for open confirms until ctx ends, ends every
// Consume (a batch in the handler's hands is waited for), and disconnects. The
// first call does it; the others wait for it.
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
	b.pub.close(ctx, b.disconnect)
	b.cancel()
	var err error
	if !b.allLeft(ctx) {
		err = fmt.Errorf("rabbitmq: closed while a handler was still at work: %w", context.Cause(ctx))
	}
	b.cancelLink()
	b.links.Wait()
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
	grace := time.NewTimer(2 * closeGrace)
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

// join counts a member in, and starts the connection for consuming with the
// first.
func (b *Bus) join() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.members++
	b.connectForConsuming()
	return true
}

// connectForConsuming needs mu.
func (b *Bus) connectForConsuming() {
	if !b.started {
		b.started = true
		b.links.Go(func() { b.consuming.run(b.linkCtx) })
	}
}

func (b *Bus) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.members--; b.closed && b.members == 0 {
		close(b.idle)
	}
}
