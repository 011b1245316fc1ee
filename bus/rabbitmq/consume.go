package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/33god/bloodbank/bus"
)

const (
	defaultBatch = 500
	consumerTag  = "bloodbank" // unique per channel, which has one consumer
	// bufferBytes is how much a member may hold undelivered.
	bufferBytes = 64 << 20
	// The pauses after a failed call of a handler, and after a broken channel.
	retryBase  = 50 * time.Millisecond
	retryLimit = 5 * time.Second
)

var (
	errChannelGone = errors.New("rabbitmq: the channel of the consumer is closed")
	errForgotten   = errors.New("rabbitmq: the queue no longer knows its consumer")
	errHeavy       = errors.New("rabbitmq: the messages are so large that fewer are prefetched")
)

// Consume hands the group's messages to handle; see bus.Subscriber.
//
// After an error of handle the same batch is handed out again, here, and not
// given back to the broker: it would deliver later messages meanwhile, and count
// a delivery against the limit of the queue. A handler that works on one batch
// for longer than the broker's consumer timeout (30 minutes by default) gets
// that batch again. Consumer.AckWait plays no part: the broker knows by the
// connection who is alive.
func (b *Bus) Consume(ctx context.Context, c bus.Consumer, handle func(context.Context, []bus.Delivery) error) error {
	if !bus.ValidGroup(c.Group) {
		return fmt.Errorf("rabbitmq: invalid group %q: use letters, digits, _ and -", c.Group)
	}
	if c.MaxBatch <= 0 {
		c.MaxBatch = defaultBatch
	}
	if !b.join() {
		return bus.ErrClosed
	}
	defer b.leave()
	// Both the caller and Close end it.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	prefetch := b.opts.Prefetch
	for n, started := 1, false; ; n++ {
		conn, err := b.consuming.await(ctx)
		if err != nil {
			return nil // only the end of ctx ends waiting
		}
		m := &member{b: b, c: c, conn: conn, ready: make(chan struct{}, 1)}
		err = m.run(ctx, prefetch, handle)
		if ctx.Err() != nil {
			return nil
		}
		if !started && !m.started && errors.Is(err, ErrRefused) {
			return err
		}
		started = started || m.started
		if errors.Is(err, errHeavy) {
			prefetch = max(1, prefetch/4)
		}
		if m.started {
			n = 1 // reconnecting has a pause of its own
		}
		b.opts.Logger.Warn("bus consumer starts anew from its last acknowledgement", "group", c.Group, "err", err)
		if !pause(ctx, backoff(n, retryBase, retryLimit)) {
			return nil
		}
	}
}

// member is one Consume call on one channel, from its opening to its end.
type member struct {
	b    *Bus
	c    bus.Consumer
	conn *connection

	started bool
	ch      *amqp.Channel
	calls   sync.Mutex // one call at a time that waits for an answer, on ch

	ready chan struct{} // one token: something happened to what follows

	mu     sync.Mutex
	buffer []entryIn
	bytes  int
	held   int // received and not acknowledged
	ended  error
}

// entryIn is a message that waits for its turn.
type entryIn struct {
	delivery bus.Delivery
	tag      uint64
}

// run consumes until the channel breaks or ctx ends.
func (m *member) run(ctx context.Context, prefetch int, handle func(context.Context, []bus.Delivery) error) error {
	if err := m.b.declare(ctx, m.conn, m.c.Group); err != nil {
		return err
	}
	var pump sync.WaitGroup
	defer pump.Wait()
	from, err := m.open(prefetch)
	if err != nil {
		return fmt.Errorf("rabbitmq: cannot consume for group %q: %w", m.c.Group, err)
	}
	m.started = true
	pump.Go(func() { m.pump(from) })
	m.b.track(m, true)
	defer m.close()
	for {
		batch, err := m.next(ctx)
		if batch == nil || err != nil {
			return err
		}
		if err := m.deliver(ctx, batch, handle); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

func (m *member) open(prefetch int) (<-chan amqp.Delivery, error) {
	defer m.conn.guard(m.conn.patience)()
	ch, err := m.conn.Channel()
	if err != nil {
		return nil, err
	}
	m.ch = ch
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return nil, err
	}
	return ch.Consume(m.b.opts.queue(m.c.Group), consumerTag, false, false, false, false, nil)
}

// close gives back what is not acknowledged. A broker that does not answer loses
// the connection: it is of no use to the other members either.
//
// The consumer is not cancelled: it would keep what it has until the channel is
// closed, and the next one would get later messages meanwhile. A channel that is
// closed gives all of it back before the next consumer has its turn.
func (m *member) close() {
	defer m.conn.guard(closeGrace)()
	m.calls.Lock()
	// Errors: the channel may be closed already.
	_ = m.flush()
	_ = m.ch.Close()
	m.calls.Unlock()
	m.b.track(m, false)
}

// flush waits until the queue has the acknowledgements. With more than 32 commands
// under way to a quorum queue the broker's channel keeps later ones to itself, and
// forgets them when it is closed. A consumer that comes and goes waits for those
// under way; it gets nothing, since it is not its turn. The call after it comes
// when the rest is on its way.
func (m *member) flush() error {
	const passer = consumerTag + "-passer"
	from, err := m.ch.Consume(m.b.opts.queue(m.c.Group), passer, false, false, false, false, nil)
	if err != nil {
		return err
	}
	if err := m.ch.Cancel(passer, false); err != nil {
		return err
	}
	for range from { // closed by the cancellation
	}
	return m.ch.Qos(1, 0, false)
}

// pump takes deliveries from the library, which would keep them one by one.
func (m *member) pump(from <-chan amqp.Delivery) {
	for d := range from {
		e := entryIn{delivery: delivery(&d), tag: d.DeliveryTag}
		m.mu.Lock()
		m.buffer = append(m.buffer, e)
		m.held++
		m.bytes += len(d.Body)
		first := len(m.buffer) == 1
		if m.bytes > bufferBytes && len(m.buffer) > 1 && m.ended == nil {
			m.ended = errHeavy
			first = true
		}
		m.mu.Unlock()
		if first {
			m.wake()
		}
	}
	m.fail(errChannelGone)
}

func (m *member) fail(err error) {
	m.mu.Lock()
	if m.ended == nil {
		m.ended = err
	}
	m.mu.Unlock()
	m.wake()
}

func (m *member) wake() {
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

// next waits for messages. Nothing and no error means that ctx ended.
func (m *member) next(ctx context.Context) ([]entryIn, error) {
	look := time.NewTicker(m.b.opts.look)
	defer look.Stop()
	for ctx.Err() == nil {
		m.mu.Lock()
		n, ended := min(len(m.buffer), m.c.MaxBatch), m.ended
		if ended != nil && !errors.Is(ended, errHeavy) {
			n = 0 // the broker gives them to somebody else
		}
		var batch []entryIn
		if n > 0 {
			batch = slices.Clone(m.buffer[:n])
			m.buffer = slices.Delete(m.buffer, 0, n)
			for i := range batch {
				m.bytes -= len(batch[i].delivery.Data)
			}
		}
		m.mu.Unlock()
		if batch != nil {
			return batch, nil
		}
		if ended != nil {
			return nil, ended
		}
		select {
		case <-m.ready:
		case <-look.C:
			if err := m.lookAfter(ctx); err != nil {
				return nil, err
			}
		case <-ctx.Done():
		}
	}
	return nil, nil
}

// lookAfter asks whether the queue still knows its consumer: the broker does not
// always say when a queue is deleted.
func (m *member) lookAfter(ctx context.Context) error {
	var q amqp.Queue
	err := m.b.ask(ctx, m.b.consuming, nil, func(ch *amqp.Channel) (err error) {
		q, err = ch.QueueDeclarePassive(m.b.opts.queue(m.c.Group), true, false, false, false, nil)
		return err
	})
	if code(err) == amqp.NotFound || err == nil && q.Consumers == 0 {
		return errForgotten
	}
	return nil // a broken connection shows by itself
}

// deliver hands the batch out until the handler takes it, ctx ends or the broker
// has taken it back.
func (m *member) deliver(ctx context.Context, batch []entryIn, handle func(context.Context, []bus.Delivery) error) error {
	for n := 1; ; n++ {
		// Made anew each time: the handler may reorder its slice.
		out := make([]bus.Delivery, len(batch))
		for i := range batch {
			out[i] = batch[i].delivery
			batch[i].delivery.Attempt++
		}
		err := handle(ctx, out)
		if err == nil {
			return m.ack(batch)
		}
		wait := backoff(n, retryBase, retryLimit)
		if ctx.Err() == nil {
			m.b.opts.Logger.Warn("bus handler failed; the batch is handed out again",
				"group", m.c.Group, "messages", len(batch), "attempt", n, "wait", wait, "err", err)
		}
		if !pause(ctx, wait) {
			return nil
		}
		if m.ch.IsClosed() {
			return errChannelGone
		}
	}
}

// ack acknowledges the batch and with it all before: this channel handles its
// messages in order.
func (m *member) ack(batch []entryIn) error {
	if err := m.ch.Ack(batch[len(batch)-1].tag, true); err != nil {
		return fmt.Errorf("rabbitmq: cannot acknowledge; the batch comes again: %w", err)
	}
	m.mu.Lock()
	m.held -= len(batch)
	m.mu.Unlock()
	return nil
}
