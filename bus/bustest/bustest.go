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
	// Forgets says that the broker, when it is restarted, forgets what a consumer had
	// given back just before: it then comes late, behind newer messages.
	Forgets bool
	// Declare makes a place for each of the groups, on a broker that keeps
	// messages only for groups it knows. nil: a new group finds all that is there.
	Declare func(t *testing.T, groups ...string)
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
		// groups that the row uses; nil means "reader".
		groups []string
	}{
		{"round trip keeps every byte", roundTrip, nil},
		{"encoding survives the trip", encoding, nil},
		{"order of publishing", order, nil},
		{"large and too large", sizes, nil},
		{"refuses what cannot be sent", rejects, nil},
		{"window blocks and unblocks", window, nil},
		{"publish heeds its context", publishContext, nil},
		{"duplicates are dropped", duplicates, nil},
		{"done is called exactly once", doneOnce, nil},
		{"close with publishers at work", closePublishing, nil},
		{"close with blocked publishers", closeBlocked, nil},
		{"close ends consumers", closeConsuming, []string{"busy", "idle"}},
		{"close is idempotent", closeTwice, nil},
		{"ten thousand messages", many, nil},
		{"group resumes from its acknowledgement", resume, nil},
		{"failed batch comes again in order", redelivery, nil},
		{"two groups are independent", twoGroups, []string{"one", "two"}},
		{"two members share", twoMembers, []string{"shared"}},
		{"poison stops its own group only", poison, []string{"poisoned", "healthy"}},
		{"batch is never held back", noLinger, nil},
		{"lag", lag, nil},
		{"restart keeps messages", restart, nil},
		{"recall after restart", recall, nil},
		{"consume refuses a bad group", badGroup, nil},
	}
	for _, row := range rows {
		t.Run(strings.ReplaceAll(row.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			b := h.Open(t)
			if row.groups == nil {
				row.groups = []string{"reader"}
			}
			if b.Declare != nil {
				b.Declare(t, row.groups...)
			}
			row.test(t, b)
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
