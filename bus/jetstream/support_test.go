package jetstream

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
)

func newMessage(t testing.TB) bus.Message {
	t.Helper()
	id, err := bloodbank.NewEventID()
	if err != nil {
		t.Fatal(err)
	}
	return bus.Message{ID: id, Type: "test.message.sent", Data: []byte(`{"n":1}`)}
}

// publishTo publishes a new message whose result goes to results.
func publishTo(t testing.TB, b *Bus, results chan error) bus.Message {
	t.Helper()
	m := newMessage(t)
	if err := b.Publish(t.Context(), m, func(err error) { results <- err }); err != nil {
		t.Fatal(err)
	}
	return m
}

// confirm publishes n new messages.
func confirm(t testing.TB, b *Bus, n int) []bus.Message {
	t.Helper()
	results := make(chan error, n)
	var sent []bus.Message
	for range n {
		sent = append(sent, publishTo(t, b, results))
	}
	for range n {
		if err := receive(t, results); err != nil {
			t.Fatal(err)
		}
	}
	return sent
}

// retry publishes m once and returns what became of it.
func retry(t testing.TB, b *Bus, m bus.Message) error {
	t.Helper()
	result := make(chan error, 1)
	if err := b.Publish(t.Context(), m, func(err error) { result <- err }); err != nil {
		return err
	}
	return receive(t, result)
}

// drain consumes exactly n messages.
func drain(t testing.TB, b *Bus, group string, n int) []bus.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var got []bus.Delivery
	err := b.Consume(ctx, bus.Consumer{Group: group, MaxBatch: 7}, func(_ context.Context, batch []bus.Delivery) error {
		if got = append(got, batch...); len(got) >= n {
			cancel()
		}
		return nil
	})
	if err != nil || len(got) != n {
		t.Fatalf("%d messages consumed, %v; want %d", len(got), err, n)
	}
	return slices.Clone(got)
}

func stored(t testing.TB, b *Bus) int {
	t.Helper()
	s, err := b.js.Stream(t.Context(), Stream)
	if err != nil {
		t.Fatal(err)
	}
	return int(s.CachedInfo().State.Msgs)
}

// waitStored asks the server itself, past the connection.
func waitStored(t testing.TB, b *Bus, n uint64) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		info, err := b.server.srv.Jsz(nil)
		if err != nil {
			t.Fatal(err)
		}
		if info.Messages >= n {
			return
		}
		<-time.After(time.Millisecond)
	}
	t.Fatalf("the server never stored %d messages", n)
}

func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatal("nothing happened in time")
		panic("unreachable")
	}
}
