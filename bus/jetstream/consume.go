package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/33god/bloodbank/bus"
)

const defaultBatch = 500

// The pauses after a failed call of a handler, and after a broken lane.
const (
	retryBase  = 50 * time.Millisecond
	retryLimit = 5 * time.Second
)

// Consume hands the group's messages to handle; see bus.Subscriber.
//
// After an error of handle the same batch is handed out again, here, and not
// given back to the broker: a broker would deliver later messages meanwhile,
// and the order would be lost. Only this group waits. A handler may take as
// long as it likes; Consumer.AckWait plays no part in an embedded bus, because
// nobody else could take the batch over. With servers elsewhere the driver gives
// signs of life for it, and loses the batch to another process only when it is
// cut off from the servers for that long.
func (b *Bus) Consume(ctx context.Context, c bus.Consumer, handle func(context.Context, []bus.Delivery) error) error {
	if !bus.ValidGroup(c.Group) {
		return fmt.Errorf("jetstream: invalid group %q: use 1 to 128 letters, digits, _ and -", c.Group)
	}
	if c.MaxBatch <= 0 {
		c.MaxBatch = defaultBatch
	}
	l, err := b.join(c)
	if err != nil {
		return err
	}
	// Both the caller and Close end it.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	defer b.leave(ctx, l)
	for first := true; ; first = false {
		if !l.acquire(ctx) {
			return nil
		}
		err := l.turnOnce(ctx, c.MaxBatch, handle, first)
		<-l.turn
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (b *Bus) join(c bus.Consumer) (*lane, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, bus.ErrClosed
	}
	l := b.lanes[c.Group]
	if l == nil || l.users == 0 {
		after := make(chan struct{})
		if l == nil {
			close(after)
		} else {
			after = l.over
		}
		l = newLane(b, c, after)
		b.lanes[c.Group] = l
	}
	l.users++
	b.members++
	return l, nil
}

// leave ends the lane with its last member; whoever joins from then on gets a
// lane of its own, which starts when this one is over.
func (b *Bus) leave(ctx context.Context, l *lane) {
	b.mu.Lock()
	l.users--
	last := l.users == 0
	b.mu.Unlock()
	if last {
		l.stop(context.WithoutCancel(ctx))
		close(l.over)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if last && b.lanes[l.group] == l {
		delete(b.lanes, l.group)
	}
	if b.members--; b.closed && b.members == 0 {
		close(b.idle)
	}
}

// acquire waits for the turn. Those who wait get it in the order they came.
func (l *lane) acquire(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case l.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// turnOnce handles one batch. Its error means that Consume cannot work at all;
// it can only come from the first start.
func (l *lane) turnOnce(ctx context.Context, limit int, handle func(context.Context, []bus.Delivery) error, first bool) error {
	for n := 1; !l.started(); n++ {
		err := l.start(ctx)
		if err == nil {
			break
		}
		l.stop(ctx)
		var refused *jetstream.APIError
		if first && (errors.As(err, &refused) && refused.Code < 500 || errors.Is(err, ErrRefused)) {
			return err
		}
		l.b.opts.Logger.Warn("bus consumer cannot start; trying again", "group", l.group, "err", err)
		if !pause(ctx, backoff(n, retryBase, retryLimit)) {
			return nil
		}
	}
	batch, err := l.next(ctx, limit)
	if err == nil && batch != nil {
		err = l.deliver(ctx, batch, handle)
	}
	if err != nil {
		l.b.opts.Logger.Warn("bus consumer starts anew from its last acknowledgement", "group", l.group, "err", err)
		l.stop(ctx)
		pause(ctx, backoff(1, retryBase, retryLimit))
	}
	return nil
}

func (l *lane) started() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sub != nil
}

// deliver hands the batch out until the handler takes it or ctx ends. In the
// latter case it goes back, for another member or the next start.
func (l *lane) deliver(ctx context.Context, batch []entry, handle func(context.Context, []bus.Delivery) error) error {
	for n := 1; ; n++ {
		// Made anew each time: the handler may reorder its slice.
		out := make([]bus.Delivery, len(batch))
		for i := range batch {
			out[i] = batch[i].delivery
			batch[i].delivery.Attempt++
		}
		err := handle(ctx, out)
		if err == nil {
			return l.ack(batch)
		}
		if l.outlived() {
			return errOutlived
		}
		wait := backoff(n, retryBase, retryLimit)
		if ctx.Err() == nil {
			l.b.opts.Logger.Warn("bus handler failed; the batch is handed out again",
				"group", l.group, "messages", len(batch), "attempt", n, "wait", wait, "err", err)
		}
		if !pause(ctx, wait) {
			l.putBack(batch)
			return nil
		}
	}
}

// Lag is how many messages the group has not acknowledged; for a group that was
// never seen it is all of them.
func (b *Bus) Lag(ctx context.Context, group string) (uint64, error) {
	if b.isClosed() {
		return 0, bus.ErrClosed
	}
	c, err := b.js.Consumer(ctx, Stream, group)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		s, err := b.js.Stream(ctx, Stream)
		if err != nil {
			return 0, fmt.Errorf("jetstream: lag of group %q: %w", group, err)
		}
		return s.CachedInfo().State.Msgs, nil
	}
	if err != nil {
		return 0, fmt.Errorf("jetstream: lag of group %q: %w", group, err)
	}
	info := c.CachedInfo()
	return info.NumPending + uint64(info.NumAckPending), nil
}
