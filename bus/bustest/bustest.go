// Package bustest is the suite that every bus passes. It reads the driver's
// bus.Features and prints a skip for what the driver does not promise.
//
// It knows no driver. It asks its harness for a fresh broker per test.
package bustest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
)

// patience is how long a test waits for something that should happen at once.
const patience = 30 * time.Second

// Driver is what a driver's connection must be.
type Driver interface {
	bus.Publisher
	bus.Subscriber
}

// Broker is one private broker with a driver connected to it.
type Broker struct {
	Driver
	// Restart stops the broker in order, starts it again on the same data, and
	// returns a driver that is connected. nil: the broker cannot be restarted.
	Restart func(t *testing.T) Driver
	// Freeze stops the broker from confirming until thaw is called. nil: it
	// cannot be frozen.
	Freeze func(t *testing.T) (thaw func())
}

// Harness opens brokers.
type Harness struct {
	// Open returns a broker of its own for t, empty, and closes what it opened
	// when t ends.
	Open func(t *testing.T) Broker
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	rows := []struct {
		name string
		test func(*testing.T, Broker)
	}{
		{"round trip keeps every byte", roundTrip},
		{"order of publishing", order},
		{"large and too large", sizes},
		{"refuses what cannot be sent", rejects},
		{"window blocks and unblocks", window},
		{"publish heeds its context", publishContext},
		{"duplicates are dropped", duplicates},
		{"done is called exactly once", doneOnce},
		{"close with publishers at work", closePublishing},
		{"close with blocked publishers", closeBlocked},
		{"close ends consumers", closeConsuming},
		{"close is idempotent", closeTwice},
		{"ten thousand messages", many},
		{"group resumes from its acknowledgement", resume},
		{"failed batch comes again in order", redelivery},
		{"two groups are independent", twoGroups},
		{"two members share", twoMembers},
		{"poison stops its own group only", poison},
		{"batch is never held back", noLinger},
		{"lag", lag},
		{"restart keeps messages", restart},
		{"recall after restart", recall},
		{"consume refuses a bad group", badGroup},
	}
	for _, row := range rows {
		t.Run(strings.ReplaceAll(row.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			row.test(t, h.Open(t))
		})
	}
}

// message makes a distinct message; n is in its data.
func message(t testing.TB, n int) bus.Message {
	t.Helper()
	id, err := bloodbank.NewEventID()
	if err != nil {
		t.Fatal(err)
	}
	return bus.Message{
		ID: id, Type: "suite.message.sent", Data: fmt.Appendf(nil, `{"event_id":%q,"payload":{"n":%d}}`, id, n),
	}
}

func messages(t testing.TB, n int) []bus.Message {
	t.Helper()
	out := make([]bus.Message, n)
	for i := range out {
		out[i] = message(t, i)
	}
	return out
}

// number reads n back.
func number(t testing.TB, m bus.Message) int {
	t.Helper()
	var body struct {
		Payload struct{ N int }
	}
	if err := json.Unmarshal(m.Data, &body); err != nil {
		t.Fatalf("delivered data %q: %v", m.Data, err)
	}
	return body.Payload.N
}

// within is t's context with a deadline.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// publish sends all and waits for the confirms.
func publish(t testing.TB, d Driver, all ...bus.Message) {
	t.Helper()
	results := make(chan error, len(all))
	for _, m := range all {
		if err := d.Publish(within(t), m, func(err error) { results <- err }); err != nil {
			t.Fatalf("publish: %v", err)
		}
	}
	for range all {
		if err := receive(t, results); err != nil {
			t.Fatalf("confirm: %v", err)
		}
	}
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

// consuming is a Consume call under way.
type consuming struct {
	stop context.CancelFunc
	over chan error
}

func consume(t testing.TB, d Driver, c bus.Consumer, handle func(context.Context, []bus.Delivery) error) *consuming {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	run := &consuming{stop: cancel, over: make(chan error, 1)}
	var wg sync.WaitGroup
	wg.Go(func() { run.over <- d.Consume(ctx, c, handle) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return run
}

// end stops it and demands that it ends well.
func (c *consuming) end(t testing.TB) {
	t.Helper()
	c.stop()
	if err := receive(t, c.over); err != nil {
		t.Fatalf("Consume returned %v after its context ended; want nil", err)
	}
}

// collect consumes until n messages have come and returns them.
func collect(t testing.TB, d Driver, c bus.Consumer, n int) []bus.Delivery {
	t.Helper()
	var got []bus.Delivery
	enough := make(chan struct{})
	run := consume(t, d, c, func(_ context.Context, batch []bus.Delivery) error {
		before := len(got)
		got = append(got, batch...)
		if before < n && len(got) >= n {
			close(enough)
		}
		return nil
	})
	receive(t, enough)
	run.end(t)
	return got
}

// inOrder demands the numbers from..from+len(got)-1, each once, in order.
func inOrder(t testing.TB, got []bus.Delivery, from, count int) {
	t.Helper()
	if len(got) != count {
		t.Fatalf("%d messages delivered, want %d", len(got), count)
	}
	for i, d := range got {
		if n := number(t, d.Message); n != from+i {
			t.Fatalf("message %d delivered at place %d", n, from+i)
		}
	}
}

func skipUnless(t *testing.T, has bool, what string) {
	t.Helper()
	if !has {
		t.Skipf("SKIPPED: this bus %s", what)
	}
}

var errHandler = errors.New("the handler failed on purpose")
