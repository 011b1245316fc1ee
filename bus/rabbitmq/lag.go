package rabbitmq

import (
	"context"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/33god/bloodbank/bus"
)

const (
	// settling is how long the broker may take to put back what a member gave
	// back.
	settling = time.Second
	// glance is the pause between two looks.
	glance = 3 * time.Millisecond
)

// group is what this process knows of a group.
type group struct {
	members  map[*member]bool
	returned int       // messages given back
	until    time.Time // by when the broker has put them back
}

// track adds a member to its group, or takes it out.
func (b *Bus) track(m *member, in bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.groups[m.c.Group]
	if g == nil {
		g = &group{members: map[*member]bool{}}
		b.groups[m.c.Group] = g
	}
	if in {
		g.members[m] = true
		return
	}
	delete(g.members, m)
	if time.Now().After(g.until) {
		g.returned = 0
	}
	g.returned += m.holding()
	g.until = time.Now().Add(settling)
}

func (m *member) holding() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held
}

// barrier returns when all that was on its way to the member has arrived at
// the library.
func (m *member) barrier(prefetch int) {
	m.calls.Lock()
	defer m.calls.Unlock()
	_ = m.ch.Qos(prefetch, 0, false) // changes nothing; a dead channel holds nothing
}

// Lag is how many messages the group has not acknowledged: those in its queue
// and those in the hands of this process. AMQP does not tell what other
// processes hold; at most Options.Prefetch for each of their members. A group
// that has no queue has no lag.
func (b *Bus) Lag(ctx context.Context, name string) (uint64, error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return 0, bus.ErrClosed
	}
	b.connectForConsuming()
	b.mu.Unlock()
	last := -1
	for {
		n, sure, err := b.count(ctx, name)
		if err != nil {
			return 0, fmt.Errorf("rabbitmq: lag of group %q: %w", name, err)
		}
		if sure && n == last {
			return uint64(n), nil
		}
		last = n
		if !pause(ctx, glance) {
			return 0, fmt.Errorf("rabbitmq: lag of group %q: %w", name, context.Cause(ctx))
		}
	}
}

// count looks once. It is not sure while messages are on their way between the
// queue and this process.
func (b *Bus) count(ctx context.Context, name string) (n int, sure bool, err error) {
	b.mu.Lock()
	members, returned := b.expect(name)
	b.mu.Unlock()
	var q amqp.Queue
	err = b.ask(ctx, b.consuming, nil, func(ch *amqp.Channel) (err error) {
		q, err = ch.QueueDeclarePassive(b.opts.queue(name), true, false, false, false, nil)
		if err != nil {
			return err
		}
		for _, m := range members {
			m.barrier(b.opts.Prefetch)
		}
		return nil
	})
	if code(err) == amqp.NotFound {
		return 0, true, nil
	}
	if err != nil {
		return 0, false, err
	}
	n = q.Messages
	for _, m := range members {
		n += m.holding()
	}
	return n, n >= returned || len(members) > 0, nil
}

// expect needs mu.
func (b *Bus) expect(name string) (members []*member, returned int) {
	g := b.groups[name]
	if g == nil {
		return nil, 0
	}
	for m := range g.members {
		members = append(members, m)
	}
	if time.Now().Before(g.until) {
		returned = g.returned
	}
	return members, returned
}
