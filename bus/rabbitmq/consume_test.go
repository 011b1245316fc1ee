package rabbitmq

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/internal/testenv"
)

// A broker's channel keeps acknowledgements to itself while a quorum queue has 32
// commands under way, and forgets them when it is closed. A consumer that leaves
// in order must not leave such behind.
func TestTrapAcknowledgementsSurviveTheClose(t *testing.T) {
	r := testenv.RabbitMQ(t)
	for round := range 8 {
		b := open(t, Options{URL: r.URL(), Groups: []string{"g"}, Exchange: "round-" + string(rune('a'+round))})
		confirm(t, b, 256)
		ctx, cancel := context.WithCancel(t.Context())
		first := 0
		err := b.Consume(ctx, bus.Consumer{Group: "g", MaxBatch: 5}, func(_ context.Context, batch []bus.Delivery) error {
			if first += len(batch); first > 200 {
				cancel()
			}
			return nil
		})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if n, err := b.Lag(t.Context(), "g"); err != nil || int(n) != 256-first {
			t.Errorf("lag is %d, %v after %d of 256 were acknowledged", n, err, first)
		}
		drain(t, b, "g", 256-first)
		closeBus(t, b)
	}
}

// The connection is lost again and again under a batch that its handler cannot
// take. Nothing is dropped for it, and the handler is not called for what the
// broker has taken back.
func TestTrapRedeliveryNeverDrops(t *testing.T) {
	r := testenv.RabbitMQ(t)
	for _, queueType := range []string{Quorum, Classic} {
		way := testenv.NewProxy(t, r.Addr())
		b := open(t, Options{
			URL: r.URLAt(way.Addr()), Groups: []string{"g"}, QueueType: queueType, Exchange: queueType, ReconnectMax: 5 * time.Millisecond,
		})
		sent := confirm(t, b, 3)
		ctx, cancel := context.WithCancel(t.Context())
		losses, most := 0, 0
		err := b.Consume(ctx, bus.Consumer{Group: "g", MaxBatch: 1}, func(_ context.Context, batch []bus.Delivery) error {
			if batch[0].ID != sent[0].ID {
				t.Errorf("delivered %s before %s was taken", batch[0].ID, sent[0].ID)
			}
			most = max(most, batch[0].Attempt)
			if losses++; losses > 25 {
				cancel()
				return nil
			}
			way.ResetAll()
			return errors.New("not now")
		})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if queueType == Quorum && most < 20 {
			t.Errorf("attempts counted up to %d", most)
		}
		got := drain(t, b, "g", 2)
		if got[0].ID != sent[1].ID || got[1].ID != sent[2].ID {
			t.Errorf("%s: then came %v", queueType, got)
		}
	}
}

// One acknowledgement stands for a batch, and for a failed one there is none.
func TestOneAcknowledgementPerBatch(t *testing.T) {
	t.Parallel()
	const count = 7
	id := newMessage(t).ID.String()
	acks := make(chan uint64, count)
	s := (&stub{
		consume: func(c *stubConn, channel uint16) {
			for tag := range uint64(count) {
				c.deliver(channel, tag+1, header(1, 1<<7, short(id)), []byte("x"))
			}
		},
		ack: func(_ *stubConn, tag uint64, multiple bool) {
			if !multiple {
				t.Errorf("tag %d acknowledged alone", tag)
			}
			acks <- tag
		},
	}).serve(t, nil)
	b := open(t, Options{URL: s.url()})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var want []uint64
	handled, calls := 0, 0
	err := b.Consume(ctx, bus.Consumer{Group: "g", MaxBatch: 3}, func(_ context.Context, batch []bus.Delivery) error {
		if calls++; calls == 1 {
			return errors.New("not the first time")
		}
		handled += len(batch)
		want = append(want, uint64(handled))
		if handled == count {
			cancel()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range want {
		if got := receive(t, acks); got != w {
			t.Errorf("acknowledged up to %d, want %d", got, w)
		}
	}
	select {
	case tag := <-acks:
		t.Errorf("acknowledged %d as well", tag)
	default:
	}
}

// The broker ends the channel over a handler that is too slow (its consumer
// timeout), while the handler is at work: the batch comes again.
func TestTrapConsumerTimeout(t *testing.T) {
	t.Parallel()
	id := newMessage(t).ID.String()
	channels := make(chan func(), 2)
	acked := make(chan struct{}, 1)
	s := (&stub{
		consume: func(c *stubConn, channel uint16) {
			c.deliver(channel, 1, header(1, 1<<7, short(id)), []byte("x"))
			channels <- func() {
				c.closeChannel(channel, 406, "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out")
			}
		},
		ack: func(*stubConn, uint64, bool) { acked <- struct{}{} },
	}).serve(t, nil)
	b := open(t, Options{URL: s.url()})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	calls := 0
	err := b.Consume(ctx, bus.Consumer{Group: "g"}, func(context.Context, []bus.Delivery) error {
		if calls++; calls == 1 {
			receive(t, channels)()
			until(t, "a second consumer", func() bool { return s.connections() > 0 && closedOnce(b, "g") })
			return nil
		}
		cancel()
		return nil
	})
	if err != nil || calls != 2 {
		t.Errorf("%d calls, %v", calls, err)
	}
	receive(t, acked)
}

// closedOnce says whether the member's channel has ended.
func closedOnce(b *Bus, name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for m := range b.groups[name].members {
		return m.ch.IsClosed()
	}
	return false
}

// Somebody deletes the queue: a publisher alone makes it again once a message
// finds no way, and the consumer starts anew, although the broker does not tell it.
func TestTrapDeletedQueue(t *testing.T) {
	r := testenv.RabbitMQ(t)
	b := open(t, Options{URL: r.URL(), Groups: []string{"g"}, look: 50 * time.Millisecond})
	other := raw(t, r.URL())
	remove := func() {
		if _, err := other.QueueDelete("bloodbank.g", false, false, false); err != nil {
			t.Fatal(err)
		}
	}
	confirm(t, b, 1)
	remove()
	m := newMessage(t)
	if err := result(t, b, m); !errors.Is(err, ErrUnroutable) || errors.Is(err, bus.ErrRejected) {
		t.Errorf("without a queue: %v, want ErrUnroutable and not ErrRejected", err)
	}
	until(t, "the queue to be there again", func() bool { return result(t, b, m) == nil })
	got := make(chan bloodbank.EventID, 10)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	over := make(chan error, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		over <- b.Consume(ctx, bus.Consumer{Group: "g"}, func(_ context.Context, batch []bus.Delivery) error {
			for _, d := range batch {
				got <- d.ID
			}
			return nil
		})
	})
	if id := receive(t, got); id != m.ID {
		t.Errorf("delivered %s", id)
	}
	remove()
	m = newMessage(t)
	until(t, "the queue to be there again", func() bool { return result(t, b, m) == nil })
	if id := receive(t, got); id != m.ID {
		t.Errorf("delivered %s", id)
	}
	cancel()
	if err := receive(t, over); err != nil {
		t.Error(err)
	}
}

// A topic exchange without a binding for a message drops it, and confirms it.
func TestTrapUnroutableIsNotSuccess(t *testing.T) {
	r := testenv.RabbitMQ(t)
	b := open(t, Options{URL: r.URL()})
	ch := raw(t, r.URL())
	if _, err := ch.QueueDeclare("some", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind("some", "some.#", DefaultExchange, false, nil); err != nil {
		t.Fatal(err)
	}
	var results []<-chan error
	for i := range 200 {
		m := newMessage(t)
		if i%3 == 0 {
			m.Type = "some.thing.happened"
		}
		results = append(results, send(t, b, m))
	}
	for i, c := range results {
		err := receive(t, c)
		if routed := i%3 == 0; routed && err != nil || !routed && !errors.Is(err, ErrUnroutable) {
			t.Errorf("message %d: %v", i, err)
		}
	}
}

// Prefetching must not fill the memory with huge messages.
func TestHugeMessages(t *testing.T) {
	r := testenv.RabbitMQ(t)
	b := open(t, Options{URL: r.URL(), Groups: []string{"g"}})
	var sent []bus.Message
	for i := range 6 {
		m := newMessage(t)
		m.Data = make([]byte, 14<<20)
		m.Data[0] = byte(i)
		if err := result(t, b, m); err != nil {
			t.Fatal(err)
		}
		sent = append(sent, m)
	}
	// The first call waits until more has come than the buffer may hold.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	err := b.Consume(ctx, bus.Consumer{Group: "g", MaxBatch: 1}, func(_ context.Context, batch []bus.Delivery) error {
		if n == 0 {
			until(t, "a full buffer", func() bool { return heavy(b, "g") })
		}
		if batch[0].ID != sent[n].ID || batch[0].Data[0] != byte(n) {
			t.Errorf("message %d is another one", n)
		}
		if n++; n == len(sent) {
			cancel()
		}
		return nil
	})
	if err != nil || n != len(sent) {
		t.Errorf("%d messages, %v", n, err)
	}
}

func heavy(b *Bus, name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for m := range b.groups[name].members {
		m.mu.Lock()
		defer m.mu.Unlock()
		return errors.Is(m.ended, errHeavy)
	}
	return false
}

// A handler that does not end is told, and named by Close.
func TestCloseWithAStuckHandler(t *testing.T) {
	t.Parallel()
	id := newMessage(t).ID.String()
	s := (&stub{consume: func(c *stubConn, channel uint16) {
		c.deliver(channel, 1, header(1, 1<<7, short(id)), []byte("x"))
	}}).serve(t, nil)
	b, err := Open(t.Context(), Options{URL: s.url(), settle: 1})
	if err != nil {
		t.Fatal(err)
	}
	entered, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = b.Consume(t.Context(), bus.Consumer{Group: "g"}, func(context.Context, []bus.Delivery) error {
			close(entered)
			<-leave
			return nil
		})
	})
	receive(t, entered)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Close(ctx); err == nil || !strings.Contains(err.Error(), "handler") {
		t.Errorf("close: %v", err)
	}
	close(leave)
	wg.Wait()
	if _, err := b.Lag(t.Context(), "g"); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("lag after close: %v", err)
	}
}

// The broker stops answering: Check says so within its context, and again.
func TestCheckOfASilentBroker(t *testing.T) {
	r := testenv.RabbitMQ(t)
	way := testenv.NewProxy(t, r.Addr())
	b := open(t, Options{URL: r.URLAt(way.Addr())})
	way.Stall(testenv.ToClient)
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := b.Check(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("check: %v", err)
		}
		cancel()
	}
	way.Heal()
	if err := b.Check(t.Context()); err != nil {
		t.Errorf("after the silence: %v", err)
	}
}
