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

// publisher admits messages into the window and hands them to the session that
// the connection of the hour has.
type publisher struct {
	opts    Options
	timeout time.Duration
	limit   atomic.Int64 // largest data that the broker takes

	window *bus.Window
	repair chan struct{} // one token: a message found no queue

	mu      sync.Mutex
	session *session      // nil while there is none
	down    error         // why
	blocked string        // the broker's reason; "" while it is not blocked
	gate    chan struct{} // closed when blocked ends
	shut    chan struct{} // closed when blocked begins
	fault   error         // what stands in the way of publishing although connected
	faulty  atomic.Bool   // fault != nil
	dead    bool          // nothing is admitted any more

	closeOnce sync.Once
}

func newPublisher(o Options) *publisher {
	p := &publisher{
		opts: o, timeout: o.ConfirmTimeout, down: errConnecting,
		window: bus.NewWindow(o.Window), repair: make(chan struct{}, 1), gate: make(chan struct{}), shut: make(chan struct{}),
	}
	close(p.gate)
	p.limit.Store(int64(o.MaxMessage))
	return p
}

func (p *publisher) publish(ctx context.Context, m bus.Message, done func(error)) error {
	if err := p.check(m); err != nil {
		return err
	}
	places, err := p.window.Enter(ctx, len(m.Data))
	if err != nil {
		return err
	}
	defer p.window.Next()
	if err := p.admit(ctx, entry{msg: m, done: done, places: places}); err != nil {
		p.window.Give(places)
		return err
	}
	return nil
}

// check refuses what no broker would ever take.
func (p *publisher) check(m bus.Message) error {
	if coding(m.Encoding) != m.Encoding {
		return fmt.Errorf("%w: its encoding %q is not known, so no consumer could read it", bus.ErrRejected, m.Encoding)
	}
	return m.Check(int(p.limit.Load()))
}

// admit hands e to the session. While the broker blocks publishers it waits.
func (p *publisher) admit(ctx context.Context, e entry) error {
	for {
		p.mu.Lock()
		switch {
		case p.dead:
			p.mu.Unlock()
			return bus.ErrClosed
		case p.blocked != "":
			gate := p.gate
			p.mu.Unlock()
			select {
			case <-gate:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-p.window.Closing():
				return bus.ErrClosed
			}
		case p.session == nil:
			err := p.down
			p.mu.Unlock()
			return err
		}
		e.deadline = time.Now().Add(p.timeout)
		p.session.out <- e // has room for a whole window
		p.mu.Unlock()
		return nil
	}
}

// settle ends e: it calls done and frees its places.
func (p *publisher) settle(e *entry, err error) {
	if err == nil && p.faulty.Load() {
		p.setFault(nil)
	}
	if errors.Is(err, ErrUnroutable) {
		p.unroutable(err)
	}
	e.done(err)
	p.window.Give(e.places)
}

// unroutable has the topology declared again, and Check say why.
func (p *publisher) unroutable(why error) {
	p.setFault(why)
	select {
	case p.repair <- struct{}{}:
	default:
	}
}

func (p *publisher) setFault(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = err
	p.faulty.Store(err != nil)
}

// trouble is why messages would not get through now.
func (p *publisher) trouble() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.blocked != "":
		return fmt.Errorf("%w: it says: %s", ErrBlocked, p.blocked)
	case p.session == nil:
		return p.down
	}
	return p.fault
}

func (p *publisher) isBlocked() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blocked != ""
}

// shutting is closed once the broker blocks publishers.
func (p *publisher) shutting() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shut
}

// block shuts the gate while why is not "".
func (p *publisher) block(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if why != "" && p.blocked == "" {
		p.gate = make(chan struct{})
		close(p.shut)
	}
	if why == "" && p.blocked != "" {
		p.shut = make(chan struct{})
		close(p.gate)
	}
	p.blocked = why
}

func (p *publisher) attach(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.session, p.down = s, nil
}

func (p *publisher) detach(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.session, p.down = nil, why
	if errors.Is(why, ErrRefused) {
		p.fault = why
		p.faulty.Store(true)
	}
}

func (p *publisher) setDown(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session == nil {
		p.down = why
	}
}

// serve publishes over c until it breaks or ctx ends. repair declares the
// topology again.
func (p *publisher) serve(ctx context.Context, c *connection, ready func(), declare func(context.Context, *connection) error) error {
	var blocks sync.WaitGroup
	defer blocks.Wait()
	defer c.cut() // ends the next loop
	listen := c.NotifyBlocked(make(chan amqp.Blocking, 1))
	blocks.Go(func() {
		for b := range listen {
			p.opts.Logger.Warn("the bus blocks publishers, or no longer does", "blocked", b.Active, "reason", b.Reason)
			p.block(blockReason(b))
		}
		p.block("")
	})
	if err := declare(ctx, c); err != nil {
		return err
	}
	s, err := p.open(ctx, c)
	if err != nil {
		return fmt.Errorf("rabbitmq: cannot open a channel for publishing: %w", err)
	}
	p.attach(s)
	ready()
	for {
		var why error
		select {
		case <-ctx.Done():
			why = bus.ErrClosed
		case e := <-s.closes:
			why = p.opts.explainClose(e)
		case <-s.gone:
			why = s.err
		case <-p.repair:
			if why = declare(ctx, c); why == nil {
				continue
			}
		}
		s.close(c, why)
		if errors.Is(why, bus.ErrClosed) {
			c.close()
		}
		return why
	}
}

func blockReason(b amqp.Blocking) string {
	if b.Active && b.Reason == "" {
		return "no reason given"
	}
	if !b.Active {
		return ""
	}
	return b.Reason
}

// close refuses new messages, waits for open confirms until ctx ends, and fails
// the rest with bus.ErrClosed. disconnect must end serve. When it returns every
// done has been called.
func (p *publisher) close(ctx context.Context, disconnect func()) {
	p.closeOnce.Do(func() {
		p.window.Shut(ctx)
		p.mu.Lock()
		p.dead = true
		p.mu.Unlock()
		disconnect()
		p.window.Await()
	})
}
