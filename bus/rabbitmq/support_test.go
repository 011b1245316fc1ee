package rabbitmq

import (
	"context"
	"log/slog"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
)

const patience = 30 * time.Second

// open opens a bus that says everything to t and is closed with it.
func open(t testing.TB, o Options) *Bus {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	if o.settle == 0 {
		o.settle = 1
	}
	b, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBus(t, b) })
	return b
}

func closeBus(t testing.TB, b *Bus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

func newMessage(t testing.TB) bus.Message {
	t.Helper()
	id, err := bloodbank.NewEventID()
	if err != nil {
		t.Fatal(err)
	}
	return bus.Message{ID: id, Type: "test.message.sent", Data: []byte(`{"n":1}`)}
}

// send publishes m; its result comes on the channel.
func send(t testing.TB, b *Bus, m bus.Message) <-chan error {
	t.Helper()
	result := make(chan error, 1)
	if err := b.Publish(t.Context(), m, func(err error) { result <- err }); err != nil {
		t.Fatalf("publish: %v", err)
	}
	return result
}

// result publishes m and returns what became of it, wherever it is said.
func result(t testing.TB, b *Bus, m bus.Message) error {
	t.Helper()
	result := make(chan error, 1)
	if err := b.Publish(t.Context(), m, func(err error) { result <- err }); err != nil {
		return err
	}
	return receive(t, result)
}

// confirm publishes n new messages.
func confirm(t testing.TB, b *Bus, n int) []bus.Message {
	t.Helper()
	var sent []bus.Message
	var results []<-chan error
	for range n {
		m := newMessage(t)
		sent = append(sent, m)
		results = append(results, send(t, b, m))
	}
	for _, r := range results {
		if err := receive(t, r); err != nil {
			t.Fatalf("confirm: %v", err)
		}
	}
	return sent
}

// drain consumes until n messages have come.
func drain(t testing.TB, b *Bus, group string, n int) []bus.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var got []bus.Delivery
	err := b.Consume(ctx, bus.Consumer{Group: group}, func(_ context.Context, batch []bus.Delivery) error {
		if got = append(got, batch...); len(got) >= n {
			cancel()
		}
		return nil
	})
	if err != nil || len(got) != n {
		t.Fatalf("%d messages consumed, %v; want %d", len(got), err, n)
	}
	return got
}

func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing happened in time")
		panic("unreachable")
	}
}

// until asks again and again, with deadline.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// raw is what a producer or consumer writes without us.
func raw(t testing.TB, url string) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // a test may have ended it
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}
