package rabbitmq

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank/bus"
)

// What a broker that misbehaves does to publishers.

func TestNacksAreReported(t *testing.T) {
	t.Parallel()
	s := (&stub{publish: func(c *stubConn, m stubMessage) {
		switch m.tag {
		case 2:
			c.nack(m.channel, 2, true) // 1 and 2
		case 3:
			c.confirm(m.channel, 3, false)
		}
	}}).serve(t, nil)
	b := open(t, Options{URL: s.url()})
	first, second, third := send(t, b, newMessage(t)), send(t, b, newMessage(t)), send(t, b, newMessage(t))
	for _, r := range []<-chan error{first, second} {
		if err := receive(t, r); !errors.Is(err, errNacked) || errors.Is(err, bus.ErrRejected) {
			t.Errorf("a refused message: %v, want errNacked", err)
		}
	}
	if err := receive(t, third); err != nil {
		t.Errorf("a confirmed message: %v", err)
	}
	if n := s.connections(); n != 1 {
		t.Errorf("%d connections; a nack is no reason to reconnect", n)
	}
}

// A confirm that never comes ends the channel; what is behind it in the window
// is reported with it, but a message that was confirmed meanwhile is not failed.
func TestTrapConfirmNeverComes(t *testing.T) {
	t.Parallel()
	s := (&stub{publish: func(c *stubConn, m stubMessage) {
		if c.n > 0 || m.tag == 2 {
			c.confirm(m.channel, m.tag, false)
		}
	}}).serve(t, nil)
	b := open(t, Options{URL: s.url(), ConfirmTimeout: 200 * time.Millisecond})
	began := time.Now()
	results := []<-chan error{send(t, b, newMessage(t)), send(t, b, newMessage(t)), send(t, b, newMessage(t))}
	for i, want := range []error{errUnconfirmed, nil, errUnconfirmed} {
		if err := receive(t, results[i]); !errors.Is(err, want) {
			t.Errorf("message %d: %v, want %v", i, err, want)
		}
	}
	if took := time.Since(began); took < 200*time.Millisecond || took > 5*time.Second {
		t.Errorf("reported after %v with a deadline of 200ms", took)
	}
	until(t, "a new connection that works", func() bool { return result(t, b, newMessage(t)) == nil })
}

// Delivery tags begin at 1 on every channel: the confirms of a new one must not
// be taken for those of the old.
func TestTrapTagsRestartWithTheChannel(t *testing.T) {
	t.Parallel()
	s := (&stub{publish: func(c *stubConn, m stubMessage) {
		switch {
		case c.n == 0 && m.tag == 3:
			c.confirm(m.channel, 1, false)
			c.closeChannel(m.channel, 541, "INTERNAL_ERROR")
		case c.n == 1 && m.tag == 2:
			c.nack(m.channel, 2, false)
			c.confirm(m.channel, 1, false)
		}
	}}).serve(t, nil)
	b := open(t, Options{URL: s.url()})
	old := []<-chan error{send(t, b, newMessage(t)), send(t, b, newMessage(t)), send(t, b, newMessage(t))}
	if err := receive(t, old[0]); err != nil {
		t.Errorf("confirmed before the end of the channel: %v", err)
	}
	for _, r := range old[1:] {
		if err := receive(t, r); err == nil || errors.Is(err, errNacked) || !strings.Contains(err.Error(), "may be stored") {
			t.Errorf("lost with the channel: %v; want an error that says it may be stored", err)
		}
	}
	until(t, "the second connection", func() bool { return b.pub.trouble() == nil })
	first, second := send(t, b, newMessage(t)), send(t, b, newMessage(t))
	if err := receive(t, first); err != nil {
		t.Errorf("tag 1 of the new channel: %v", err)
	}
	if err := receive(t, second); !errors.Is(err, errNacked) {
		t.Errorf("tag 2 of the new channel: %v, want errNacked", err)
	}
}

// A return is told by the message's id, whatever the order and the grouping of
// confirms; and no return is lost, with a whole window of them.
func TestTrapReturnsAreMatchedById(t *testing.T) {
	t.Parallel()
	const window = 64
	var held []stubMessage
	s := (&stub{publish: func(c *stubConn, m stubMessage) {
		held = append(held, m)
		if m.tag < window {
			return
		}
		for i := len(held) - 1; i >= 0; i-- { // in reverse, all but each fourth
			if i%4 != 0 {
				c.giveBack(held[i])
			}
		}
		c.confirm(m.channel, m.tag, true)
	}}).serve(t, nil)
	b := open(t, Options{URL: s.url(), Window: window})
	var results []<-chan error
	for range window {
		results = append(results, send(t, b, newMessage(t)))
	}
	for i, r := range results {
		err := receive(t, r)
		if i%4 == 0 && err != nil {
			t.Errorf("message %d was routed: %v", i, err)
		}
		if i%4 != 0 && (!errors.Is(err, ErrUnroutable) || errors.Is(err, bus.ErrRejected)) {
			t.Errorf("message %d was returned: %v, want ErrUnroutable and not ErrRejected", i, err)
		}
	}
}

// A broker that returns a message after its confirm: nothing can be done for that
// one, but Check says so, the topology is declared again, and the return is not
// taken for that of a later message with the same id.
func TestTrapReturnAfterTheConfirm(t *testing.T) {
	t.Parallel()
	late := make(chan func(), 1)
	s := (&stub{publish: func(c *stubConn, m stubMessage) {
		c.confirm(m.channel, m.tag, false)
		if m.tag == 1 {
			late <- func() { c.giveBack(m) }
		}
	}}).serve(t, nil)
	b := open(t, Options{URL: s.url()})
	m := newMessage(t)
	if err := result(t, b, m); err != nil {
		t.Fatal(err)
	}
	before := len(s.declared(DefaultExchange))
	receive(t, late)()
	until(t, "Check to say so", func() bool { return errors.Is(b.Check(t.Context()), ErrUnroutable) })
	until(t, "the exchange to be declared again", func() bool { return len(s.declared(DefaultExchange)) > before })
	if err := result(t, b, m); err != nil {
		t.Errorf("the same id again: %v", err)
	}
	if err := b.Check(t.Context()); err != nil {
		t.Errorf("Check after a confirm: %v", err)
	}
}

// The same id twice in one window, of which one is returned.
func TestReturnOfATwin(t *testing.T) {
	t.Parallel()
	s := (&stub{publish: func(c *stubConn, m stubMessage) {
		if m.tag == 1 {
			c.giveBack(m)
		}
		c.confirm(m.channel, m.tag, false)
	}}).serve(t, nil)
	b := open(t, Options{URL: s.url()})
	m := newMessage(t)
	if err := result(t, b, m); !errors.Is(err, ErrUnroutable) {
		t.Errorf("first: %v", err)
	}
	if err := b.Check(t.Context()); !errors.Is(err, ErrUnroutable) {
		t.Errorf("Check after a return: %v", err)
	}
	if err := result(t, b, m); err != nil {
		t.Errorf("sent again: %v", err)
	}
	if err := b.Check(t.Context()); err != nil {
		t.Errorf("Check after a confirm: %v", err)
	}
}

// connection.blocked: publishing waits and heeds its context, what was under way
// is reported at its deadline, and the connection is kept: a new one would be
// blocked, too.
func TestTrapBlockedConnection(t *testing.T) {
	t.Parallel()
	blocked := make(chan *stubConn, 1)
	var channel uint16
	s := (&stub{publish: func(c *stubConn, m stubMessage) {
		channel = m.channel
		switch m.tag {
		case 1:
			c.block("low on memory")
			blocked <- c
		case 2:
			c.confirm(m.channel, 2, false)
		}
	}}).serve(t, nil)
	b := open(t, Options{URL: s.url(), ConfirmTimeout: 300 * time.Millisecond})
	under := send(t, b, newMessage(t))
	c := receive(t, blocked)
	until(t, "Check to say blocked", func() bool { return errors.Is(b.Check(t.Context()), ErrBlocked) })
	if err := b.Check(t.Context()); !strings.Contains(err.Error(), "low on memory") {
		t.Errorf("Check: %v; want the broker's reason", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := b.Publish(ctx, newMessage(t), func(error) { t.Error("done called") }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Publish while blocked: %v, want its context's error", err)
	}
	if err := receive(t, under); !errors.Is(err, ErrBlocked) {
		t.Errorf("the message under way: %v, want ErrBlocked", err)
	}
	after := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { after <- <-send(t, b, newMessage(t)) })
	c.confirm(channel, 1, false) // late; nobody waits for it
	c.unblock()
	if err := receive(t, after); err != nil {
		t.Errorf("after the block: %v", err)
	}
	wg.Wait()
	if n := s.connections(); n != 1 {
		t.Errorf("%d connections, want the first to be kept", n)
	}
}

func TestBlockedAndClosed(t *testing.T) {
	t.Parallel()
	s := (&stub{publish: func(c *stubConn, _ stubMessage) { c.block("") }}).serve(t, nil)
	b := open(t, Options{URL: s.url()})
	under := send(t, b, newMessage(t))
	until(t, "blocked", func() bool { return errors.Is(b.Check(t.Context()), ErrBlocked) })
	waiting := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		waiting <- b.Publish(t.Context(), newMessage(t), func(error) { t.Error("done called") })
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Close(ctx); err != nil {
		t.Error(err)
	}
	wg.Wait()
	for _, r := range []<-chan error{under, waiting} {
		if err := receive(t, r); !errors.Is(err, bus.ErrClosed) {
			t.Errorf("%v, want bus.ErrClosed", err)
		}
	}
}

// A missing exchange does not fail Publish; it closes the channel, 404, and with
// it all that is unconfirmed.
func TestTrapMissingExchangeClosesTheChannel(t *testing.T) {
	t.Parallel()
	s := (&stub{publish: func(c *stubConn, m stubMessage) {
		switch {
		case c.n == 0 && m.tag == 2:
			c.closeChannel(m.channel, 404, "NOT_FOUND - no exchange 'bloodbank.events.v1' in vhost '/'")
		case c.n > 0:
			c.confirm(m.channel, m.tag, false)
		}
	}}).serve(t, nil)
	b := open(t, Options{URL: s.url()})
	for _, r := range []<-chan error{send(t, b, newMessage(t)), send(t, b, newMessage(t))} {
		if err := receive(t, r); err == nil || !strings.Contains(err.Error(), "is gone") {
			t.Errorf("%v; want an error that names the exchange", err)
		}
	}
	until(t, "publishing to work again", func() bool { return result(t, b, newMessage(t)) == nil })
	if n := len(s.declared(DefaultExchange)); n < 2 {
		t.Errorf("the exchange was declared %d times, want again on the new connection", n)
	}
}

// The broker closes the channel over one message that is too large: only that
// one is refused for good, and the next like it does not get that far.
func TestTrapTooLargeForTheBroker(t *testing.T) {
	t.Parallel()
	s := (&stub{publish: func(c *stubConn, m stubMessage) {
		if len(m.body) > 1000 {
			c.closeChannel(m.channel, 406, "PRECONDITION_FAILED - message size 2000 is larger than configured max size 1000")
			return
		}
		if c.n > 0 {
			c.confirm(m.channel, m.tag, false)
		}
	}}).serve(t, nil)
	b := open(t, Options{URL: s.url()})
	large := newMessage(t)
	large.Data = make([]byte, 2000)
	small, refused := send(t, b, newMessage(t)), send(t, b, large)
	if err := receive(t, refused); !errors.Is(err, bus.ErrRejected) {
		t.Errorf("too large: %v, want bus.ErrRejected", err)
	}
	if err := receive(t, small); err == nil || errors.Is(err, bus.ErrRejected) {
		t.Errorf("its neighbour: %v, want an error that is not ErrRejected", err)
	}
	if n := b.Features().MaxMessage; n != 1000 {
		t.Errorf("MaxMessage is %d after the lesson, want 1000", n)
	}
	until(t, "publishing to work again", func() bool { return result(t, b, newMessage(t)) == nil })
	if err := b.Publish(t.Context(), large, nil); !errors.Is(err, bus.ErrRejected) {
		t.Errorf("the next one: %v", err)
	}
}

// An error on one channel is the end of that channel only: questions and
// declarations never share one with confirms.
func TestTrapChannelErrorSparesConfirms(t *testing.T) {
	t.Parallel()
	got := make(chan func(), 1)
	var mu sync.Mutex
	refusing := false
	s := &stub{
		publish: func(c *stubConn, m stubMessage) { got <- func() { c.confirm(m.channel, m.tag, false) } },
		refuse: func(stubMethod) (uint16, string) {
			mu.Lock()
			defer mu.Unlock()
			if refusing {
				return 404, "NOT_FOUND"
			}
			return 0, ""
		},
	}
	s.serve(t, nil)
	b := open(t, Options{URL: s.url()})
	under := send(t, b, newMessage(t))
	confirm := receive(t, got)
	mu.Lock()
	refusing = true
	mu.Unlock()
	if err := b.Check(t.Context()); err == nil {
		t.Error("Check found the exchange that is gone")
	}
	if _, err := b.Lag(t.Context(), "nobody"); err != nil {
		t.Errorf("lag of a group without a queue: %v", err)
	}
	confirm()
	if err := receive(t, under); err != nil {
		t.Errorf("the confirm after two channel errors: %v", err)
	}
}
