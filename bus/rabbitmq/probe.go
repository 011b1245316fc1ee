package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Probe says whether a Bus with these options would work: it logs in, compares
// the exchange and the groups' queues that are there with what they must be, and
// asks for every right that is needed. It makes nothing and sends nothing: what
// is not there yet is made by Open.
//
// It returns all that is wrong, joined. What is ErrRefused must be mended by
// hand, and says where; anything else means that the broker is down, or blocks
// publishers, and may pass. Bad options are named without asking anybody.
func Probe(ctx context.Context, o Options) error {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return err
	}
	uri, err := amqp.ParseURI(o.URL)
	if err != nil {
		return errUnreadable
	}
	d := &dialer{opts: o, uri: uri, place: place(uri)}
	c, err := d.connect(ctx, "probing")
	if err != nil {
		return err
	}
	defer c.close()
	p := &probe{o: o, c: c}
	errs := []error{p.exchange(ctx)}
	for _, g := range o.Groups {
		errs = append(errs, p.queue(ctx, g))
	}
	// At the end, because a broker that blocks publishers answers nothing more.
	return errors.Join(append(errs, p.publish(ctx))...)
}

type probe struct {
	o       Options
	c       *connection
	missing bool // the exchange is not there yet
}

// nonsense is a value that no broker accepts in the arguments and properties
// below. RabbitMQ looks at the user's rights first, so the answer tells of them,
// and nothing is done.
const nonsense = "nonsense of bb doctor"

func (p *probe) exchange(ctx context.Context) error {
	name := p.o.Exchange
	err := p.c.setUp(ctx, func(ch *amqp.Channel) error {
		return ch.ExchangeDeclarePassive(name, amqp.ExchangeTopic, true, false, false, false, nil)
	})
	p.missing = code(err) == amqp.NotFound
	if err != nil && !p.missing {
		return fmt.Errorf("rabbitmq: cannot look at exchange %q: %w", name, err)
	}
	var args amqp.Table
	if p.missing {
		args = amqp.Table{"alternate-exchange": true}
	}
	// One that is there stays as it is: declaring compares the settings.
	err = p.c.setUp(ctx, func(ch *amqp.Channel) error {
		err := ch.ExchangeDeclare(name, amqp.ExchangeTopic, true, false, false, false, args)
		if err == nil && p.missing {
			err = ch.ExchangeDelete(name, true, false) // of a broker that takes nonsense
		}
		return err
	})
	switch {
	case code(err) == amqp.PreconditionFailed && p.missing:
		return nil
	case code(err) == amqp.AccessRefused && !p.missing:
		return nil // its owner is another one
	}
	return p.o.explainExchange(err)
}

func (p *probe) queue(ctx context.Context, group string) error {
	name := p.o.queue(group)
	err := p.c.setUp(ctx, func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
		return err
	})
	missing := code(err) == amqp.NotFound
	if err != nil && !missing {
		return fmt.Errorf("rabbitmq: cannot look at queue %q: %w", name, err)
	}
	args := queueArgs(p.o.QueueType, p.c.Properties)
	if missing {
		args = amqp.Table{"x-queue-type": nonsense}
	}
	declare := func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(name, true, false, false, false, args)
		if err == nil && missing {
			_, err = ch.QueueDelete(name, true, true, false)
		}
		return err
	}
	err = p.c.setUp(ctx, declare)
	if code(err) == amqp.PreconditionFailed && strings.Contains(reason(err), limitArg) {
		delete(args, limitArg)
		err = p.c.setUp(ctx, declare)
	}
	foreign := code(err) == amqp.AccessRefused && !missing
	if !foreign && (code(err) != amqp.PreconditionFailed || !missing) {
		if err := p.o.explainQueue(err, name); err != nil {
			return err
		}
	}
	if foreign {
		return p.read(ctx, name)
	}
	return errors.Join(p.bind(ctx, name), p.read(ctx, name))
}

// bind takes away a binding that is not there, which needs the rights to make
// one.
func (p *probe) bind(ctx context.Context, queue string) error {
	err := p.c.setUp(ctx, func(ch *amqp.Channel) error {
		return ch.QueueUnbind(queue, nonsense, p.o.Exchange, nil)
	})
	if code(err) == amqp.NotFound {
		return nil
	}
	return p.o.explainBind(err, queue)
}

func (p *probe) read(ctx context.Context, queue string) error {
	err := p.c.setUp(ctx, func(ch *amqp.Channel) error {
		if err := ch.Qos(1, 0, false); err != nil {
			return err
		}
		_, err := ch.Consume(queue, consumerTag, false, false, false, false, amqp.Table{"x-priority": nonsense})
		return err
	})
	switch code(err) {
	case amqp.PreconditionFailed, amqp.NotFound:
		return nil
	case amqp.AccessRefused:
		return refused(err, "the user may not read queue %q; grant read on it with: rabbitmqctl set_permissions", queue)
	}
	if err != nil {
		return fmt.Errorf("rabbitmq: cannot ask for the right to read queue %q: %w", queue, err)
	}
	return nil
}

// publish asks for the right to publish, with a message that the broker cannot
// take.
func (p *probe) publish(ctx context.Context) error {
	if p.missing {
		return nil // it cannot be asked
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	blocked := p.c.NotifyBlocked(make(chan amqp.Blocking, 1))
	watch.Go(func() {
		select {
		case b := <-blocked:
			cancel(fmt.Errorf("%w: it says: %s", ErrBlocked, blockReason(b)))
		case <-ctx.Done():
		}
	})
	err := p.c.setUp(ctx, func(ch *amqp.Channel) error {
		closes := ch.NotifyClose(make(chan *amqp.Error, 1))
		err := ch.PublishWithContext(ctx, p.o.Exchange, "bloodbank.doctor.asked", false, false, amqp.Publishing{Expiration: nonsense})
		if err == nil {
			err = ch.Qos(1, 0, false) // answered after the message
		}
		if err == nil {
			return nil
		}
		if said := <-closes; said != nil {
			return said
		}
		return err
	})
	switch {
	case code(err) == amqp.AccessRefused:
		return p.o.explainWrite(err)
	case err == nil, code(err) == amqp.PreconditionFailed:
		return nil
	}
	return fmt.Errorf("rabbitmq: cannot ask for the right to publish to exchange %q: %w", p.o.Exchange, err)
}
