package rabbitmq

import (
	"context"
	"errors"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// declare makes the exchange and the groups' queues, or finds them there as they
// must be. A user who may not configure anything can still use what is there.
func (b *Bus) declare(ctx context.Context, c *connection, groups ...string) error {
	err := b.declareExchange(ctx, c)
	made := false
	for i := 0; i < len(groups) && err == nil; i++ {
		var fresh bool
		fresh, err = b.declareQueue(ctx, c, groups[i])
		made = made || fresh
	}
	if err == nil && made {
		// RabbitMQ writes down which log belongs to a new quorum queue up to half a
		// second later. Killed before, it comes back with an empty queue that never
		// confirms again, whatever it had confirmed.
		b.made.Store(true)
		pause(ctx, b.opts.settle)
	}
	return err
}

func (b *Bus) declareExchange(ctx context.Context, c *connection) error {
	name := b.opts.Exchange
	err := c.setUp(ctx, func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare(name, amqp.ExchangeTopic, true, false, false, false, nil)
	})
	if code(err) == amqp.AccessRefused {
		passive := c.setUp(ctx, func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(name, amqp.ExchangeTopic, true, false, false, false, nil)
		})
		if passive == nil {
			return nil
		}
	}
	return b.opts.explainExchange(err)
}

// declareQueue reports whether it made the queue.
func (b *Bus) declareQueue(ctx context.Context, c *connection, group string) (made bool, err error) {
	name := b.opts.queue(group)
	passive := c.setUp(ctx, func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
		return err
	})
	args := queueArgs(b.opts.QueueType, c.Properties)
	declare := func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(name, true, false, false, false, args)
		return err
	}
	err = c.setUp(ctx, declare)
	if code(err) == amqp.PreconditionFailed && strings.Contains(reason(err), limitArg) {
		// Made by an older version of the broker, whose queues had no limit.
		b.opts.Logger.Warn("the queue was declared without x-delivery-limit = -1: this broker drops a message after 20 lost consumers, "+
			"unless a policy sets delivery-limit", "queue", name)
		delete(args, limitArg)
		err = c.setUp(ctx, declare)
	}
	if code(err) == amqp.AccessRefused && passive == nil {
		// Its type is not known, so a confirm may be that of a classic queue.
		b.unverified.Store(true)
	} else if err != nil {
		return false, b.opts.explainQueue(err, name)
	}
	made = code(passive) == amqp.NotFound
	if made {
		b.renew(group)
	}
	return made, b.bind(ctx, c, name)
}

// renew has the members of a group start anew whose queue was deleted and is
// made again. RabbitMQ takes the old consumer of a quorum queue over to the new
// one, and then believes that it has seen the first messages already.
func (b *Bus) renew(group string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g := b.groups[group]; g != nil {
		for m := range g.members {
			m.fail(errForgotten)
		}
	}
}

func (b *Bus) bind(ctx context.Context, c *connection, queue string) error {
	err := c.setUp(ctx, func(ch *amqp.Channel) error {
		return ch.QueueBind(queue, "#", b.opts.Exchange, false, nil)
	})
	if code(err) == amqp.AccessRefused && b.unverified.Load() {
		// Whoever made the queue for us has bound it; else messages come back as
		// unroutable.
		return nil
	}
	return b.opts.explainBind(err, queue)
}

// limitArg ends redelivery after so many times; since 4.0 quorum queues have a
// limit of 20 by default, after which the broker drops a message.
const limitArg = "x-delivery-limit"

// queueArgs has nothing that could make a queue forget messages: no limit of
// length, age or deliveries, and no dead letter exchange, whose transfer may
// lose them.
//
// Law: one consumer of a queue is active at a time. A connection that is dead, but
// that the broker takes for alive, still has messages in its hands; a second active
// consumer would get the later ones meanwhile, and the order of a key would be lost.
// So members of a group stand by for each other here; they do not share the work.
func queueArgs(queueType string, server amqp.Table) amqp.Table {
	args := amqp.Table{"x-queue-type": queueType, "x-single-active-consumer": true}
	version, _ := server["version"].(string)
	first, _, _ := strings.Cut(version, ".")
	if major, err := strconv.Atoi(first); err == nil && major >= 4 && queueType == Quorum {
		args[limitArg] = int64(-1) // older ones refuse it, and have no limit
	}
	return args
}

// code is the reply code of the broker's error, 0 for none.
func code(err error) int {
	var said *amqp.Error
	if errors.As(err, &said) {
		return said.Code
	}
	return 0
}
