package rabbitmq

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
)

var _ bus.Sandbox = (*Bus)(nil)

// AsideExchange gets what is sent aside. Queues that are bound to the exchange of
// the events, the recorder's among them, do not see it.
const AsideExchange = "bloodbank.replay.v1"

var errNotTaken = errors.New("rabbitmq: the broker did not take the message")

// Aside implements [bus.Sandbox].
func (b *Bus) Aside() string {
	return "RabbitMQ topic exchange " + AsideExchange + ", routing key <event_type>, or all by #"
}

// PublishAside implements [bus.Sandbox]. The exchange is made when it is missing.
// Where no queue is bound for the type the error has CodeNotFound.
func (b *Bus) PublishAside(ctx context.Context, m bus.Message) error {
	if b.isClosed() {
		return bus.ErrClosed
	}
	if err := b.pub.check(m); err != nil {
		return err
	}
	return b.ask(ctx, b.publishing, nil, func(ch *amqp.Channel) error {
		if err := ch.ExchangeDeclare(AsideExchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
			return fmt.Errorf("rabbitmq: cannot make the exchange %s: %w", AsideExchange, err)
		}
		returned := ch.NotifyReturn(make(chan amqp.Return, 1))
		if err := ch.Confirm(false); err != nil {
			return err
		}
		confirm, err := ch.PublishWithDeferredConfirmWithContext(ctx, AsideExchange, string(m.Type), true, false, publishing(m))
		if err != nil {
			return err
		}
		taken, err := confirm.WaitContext(ctx)
		switch {
		case err != nil:
			return err
		case !taken:
			return errNotTaken
		}
		select {
		case <-returned: // always before the confirm
			return bloodbank.Errorf(bloodbank.CodeNotFound, "no queue is bound to the exchange %s for %s; bind one first", AsideExchange, m.Type)
		default:
			return nil
		}
	})
}
