package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/33god/bloodbank/bus"
)

// entry is a message on its way.
type entry struct {
	msg      bus.Message
	done     func(error)
	places   int
	deadline time.Time
	confirm  *amqp.DeferredConfirmation // nil before it is sent
}

// session is a channel in confirm mode, from its opening to its end. Two
// goroutines work on it: one sends, so that a socket that takes nothing stops
// nobody else; one waits for the confirms, in the order of sending.
//
// The confirms come by DeferredConfirmation and not by NotifyPublish, which
// drops a confirm whose reader is late, and costs a timer for each.
//
// Law: an entry that is in out or unconfirmed is settled exactly once, by the
// confirming goroutine, or by close after both goroutines have ended.
type session struct {
	p  *publisher
	ch *amqp.Channel

	out         chan entry // admitted
	unconfirmed chan entry // sent
	closes      chan *amqp.Error
	// returns has room for a window: a return is written before the confirm of
	// its message, and read when that is seen.
	returns  chan amqp.Return
	returned map[string]uint16 // reply code by message id

	gone chan struct{} // closed by end
	once sync.Once
	err  error // why it ended; set before gone is closed
	both sync.WaitGroup
}

// open makes a session on c and starts it.
func (p *publisher) open(ctx context.Context, c *connection) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.DialTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, c.wire.expire)()
	ch, err := c.Channel()
	if err != nil {
		return nil, err
	}
	if err := ch.Confirm(false); err != nil {
		return nil, err
	}
	s := &session{
		p: p, ch: ch, out: make(chan entry, p.opts.Window), unconfirmed: make(chan entry, p.opts.Window),
		closes:   ch.NotifyClose(make(chan *amqp.Error, 1)),
		returns:  ch.NotifyReturn(make(chan amqp.Return, 2*p.opts.Window)),
		returned: map[string]uint16{}, gone: make(chan struct{}),
	}
	s.both.Go(s.send)
	s.both.Go(s.confirm)
	return s, nil
}

func (s *session) end(why error) {
	s.once.Do(func() {
		s.err = why
		close(s.gone)
	})
}

func (s *session) send() {
	for {
		select {
		case e := <-s.out:
			var err error
			e.confirm, err = s.ch.PublishWithDeferredConfirm(s.p.opts.Exchange, string(e.msg.Type), true, false, publishing(e.msg))
			s.unconfirmed <- e // has room for a whole window
			if err != nil {
				return // the channel is closed, and its watcher knows why
			}
		case <-s.gone:
			return
		}
	}
}

func (s *session) confirm() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	returns := s.returns
	for {
		select {
		case e := <-s.unconfirmed:
			if !s.await(&e, timer) {
				return
			}
		case r, open := <-returns:
			if !open {
				returns = nil
				continue
			}
			s.returned[r.MessageId] = r.ReplyCode
		case <-s.gone:
			return
		}
		s.sweep()
	}
}

// sweep reports returns of messages that were settled before, which a sound
// broker never sends: it writes them before the confirm. Their events are
// confirmed already; that the bus does not work must show all the same. With no
// place of the window taken nothing is under way, for only this goroutine frees
// them.
func (s *session) sweep() {
	if len(s.returned) == 0 || !s.p.window.Idle() {
		return
	}
	s.p.opts.Logger.Error("the broker returned messages after it had confirmed them: no queue has them",
		"messages", len(s.returned), "exchange", s.p.opts.Exchange)
	clear(s.returned)
	s.p.unroutable(fmt.Errorf("%w (exchange %q), and said so after the confirm", ErrUnroutable, s.p.opts.Exchange))
}

// await settles e, and returns false when the session is over.
func (s *session) await(e *entry, timer *time.Timer) bool {
	if e.confirm == nil {
		<-s.gone
		s.abandon(e)
		return false
	}
	select {
	case <-e.confirm.Done():
		return s.confirmed(e)
	default:
	}
	timer.Reset(time.Until(e.deadline))
	select {
	case <-e.confirm.Done():
		return s.confirmed(e)
	case <-s.gone:
	case <-timer.C:
		if s.p.isBlocked() {
			// The connection stays: a new one would be blocked as well, and what is
			// in the socket would only be sent twice.
			s.p.settle(e, fmt.Errorf("%w; the message may be stored later, send it again with the same id", ErrBlocked))
			return true
		}
		s.end(errUnconfirmed)
	}
	s.abandon(e)
	return false
}

// confirmed settles an entry whose confirm is there.
func (s *session) confirmed(e *entry) bool {
	if e.confirm.Acked() {
		s.p.settle(e, s.verdict(e))
		return true
	}
	if s.ch.IsClosed() {
		// Not a word of the broker: the library resolves all so at the end.
		<-s.gone
		s.abandon(e)
		return false
	}
	s.p.settle(e, errNacked)
	return true
}

// verdict is nil, unless the confirmed message was returned. Whoever calls is
// the only one who reads the returns.
func (s *session) verdict(e *entry) error {
	for len(s.returns) > 0 {
		r, ok := <-s.returns
		if !ok {
			break
		}
		s.returned[r.MessageId] = r.ReplyCode
	}
	if len(s.returned) == 0 {
		return nil
	}
	id := e.msg.ID.String()
	code, found := s.returned[id]
	if !found {
		return nil
	}
	delete(s.returned, id)
	return fmt.Errorf("%w (exchange %q, routing key %q, reply %d); bind a queue or name a group whose queue is to be made",
		ErrUnroutable, s.p.opts.Exchange, e.msg.Type, code)
}

// abandon settles e at the end of the session.
func (s *session) abandon(e *entry) {
	var size *sizeError
	switch {
	case e.confirm != nil && e.confirm.Acked():
		s.p.settle(e, s.verdict(e)) // it only waited for one before it
	case errors.As(s.err, &size) && len(e.msg.Data) > size.limit:
		s.p.settle(e, bus.RejectSize(len(e.msg.Data), size.limit))
	default:
		s.p.settle(e, s.err)
	}
}

// close ends the session and settles all that it has.
func (s *session) close(c *connection, why error) {
	s.p.detach(why)
	s.end(why)
	var size *sizeError
	if errors.As(why, &size) {
		s.p.limit.Store(int64(min(size.limit, s.p.opts.MaxMessage)))
	}
	// The sender may hang in a socket that takes nothing.
	unhang := c.guard(closeGrace / 2)
	s.both.Wait()
	unhang()
	for {
		select {
		case e := <-s.unconfirmed:
			s.abandon(&e)
		case e := <-s.out:
			s.abandon(&e)
		default:
			return
		}
	}
}
