package bustest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
)

func many(t *testing.T, b Broker) {
	const count = 10_000
	all := messages(t, count)
	enough := make(chan struct{})
	seen := map[bloodbank.EventID]int{}
	run := consume(t, b, bus.Consumer{Group: "reader"}, func(_ context.Context, batch []bus.Delivery) error {
		if len(batch) == 0 || len(batch) > 500 {
			t.Errorf("a batch of %d", len(batch))
		}
		for _, d := range batch {
			seen[d.ID]++
		}
		if len(seen) == count {
			close(enough)
		}
		return nil
	})
	publish(t, b, all...)
	receive(t, enough)
	run.end(t)
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s delivered %d times", id, n)
		}
	}
}

func resume(t *testing.T, b Broker) {
	publish(t, b, messages(t, 30)...)
	c := bus.Consumer{Group: "reader", MaxBatch: 10}
	ctx, cancel := context.WithCancel(t.Context())
	handled := 0
	// The first two batches are acknowledged; the third fails while the context ends.
	err := b.Consume(ctx, c, func(_ context.Context, batch []bus.Delivery) error {
		if handled >= 20 {
			cancel()
			return errHandler
		}
		inOrder(t, batch, handled, len(batch))
		handled += len(batch)
		return nil
	})
	cancel()
	if err != nil {
		t.Fatalf("Consume: %v", err)
	}
	if handled < 20 || handled >= 30 {
		t.Fatalf("%d messages handled", handled)
	}
	d := b.Driver
	if b.Restart != nil && b.Features().Persistent {
		d = b.Restart(t)
	}
	rest := collect(t, d, c, 30-handled)
	if b.Forgets {
		slices.SortFunc(rest, func(x, y bus.Delivery) int { return number(t, x.Message) - number(t, y.Message) })
	}
	inOrder(t, rest, handled, 30-handled)
}

func redelivery(t *testing.T, b Broker) {
	const count = 200
	publish(t, b, messages(t, count)...)
	var good []bus.Delivery
	var calls, failures int
	enough := make(chan struct{})
	var last []bus.Delivery // the batch that failed
	run := consume(t, b, bus.Consumer{Group: "reader", MaxBatch: 25}, func(_ context.Context, batch []bus.Delivery) error {
		calls++
		if last != nil {
			if len(batch) < len(last) && b.Features().Ordered {
				t.Errorf("%d of a failed batch of %d came again", len(batch), len(last))
			}
			if batch[0].ID != last[0].ID || batch[0].Attempt <= last[0].Attempt {
				t.Errorf("after a failure came %s, attempt %d; want %s, more than %d", batch[0].ID, batch[0].Attempt, last[0].ID, last[0].Attempt)
			}
		}
		if last = nil; calls%3 == 1 && failures < 4 {
			failures++
			last = append(last, batch...)
			clear(batch) // a handler may ruin its slice
			return errHandler
		}
		good = append(good, batch...)
		if len(good) >= count {
			close(enough)
		}
		return nil
	})
	receive(t, enough)
	run.end(t)
	inOrder(t, good, 0, count)
}

func twoGroups(t *testing.T, b Broker) {
	const count = 100
	publish(t, b, messages(t, count)...)
	inOrder(t, collect(t, b, bus.Consumer{Group: "one"}, count), 0, count)
	inOrder(t, collect(t, b, bus.Consumer{Group: "two", MaxBatch: 3}, count), 0, count)
}

func twoMembers(t *testing.T, b Broker) {
	const count = 400
	var mu sync.Mutex
	seen := map[bloodbank.EventID]int{}
	enough := make(chan struct{})
	gate := make(chan struct{})
	var once sync.Once
	handle := func(_ context.Context, batch []bus.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		for _, d := range batch {
			seen[d.ID]++
		}
		if len(seen) >= count/2 {
			once.Do(func() { close(gate) })
		}
		if len(seen) == count {
			close(enough)
		}
		return nil
	}
	c := bus.Consumer{Group: "shared", MaxBatch: 10}
	first := consume(t, b, c, handle)
	second := consume(t, b, c, handle)
	all := messages(t, count)
	publish(t, b, all[:count/2]...)
	receive(t, gate)
	first.end(t) // while the other waits; it must go on alone
	publish(t, b, all[count/2:]...)
	receive(t, enough)
	second.end(t)
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s handled %d times", id, n)
		}
	}
	publish(t, b, message(t, count))
	inOrder(t, collect(t, b, c, 1), count, 1) // a third member begins where they ended
}

func poison(t *testing.T, b Broker) {
	publish(t, b, messages(t, 50)...)
	tried := make(chan struct{}, 100)
	bad := consume(t, b, bus.Consumer{Group: "poisoned"}, func(context.Context, []bus.Delivery) error {
		select {
		case tried <- struct{}{}:
		default:
		}
		return errHandler
	})
	receive(t, tried)
	inOrder(t, collect(t, b, bus.Consumer{Group: "healthy"}, 50), 0, 50)
	receive(t, tried) // it goes on trying
	bad.end(t)
	demandLag(t, b, "poisoned", 50)
}

func noLinger(t *testing.T, b Broker) {
	got := make(chan int, 10)
	run := consume(t, b, bus.Consumer{Group: "reader", MaxBatch: 500}, func(_ context.Context, batch []bus.Delivery) error {
		for _, d := range batch {
			got <- number(t, d.Message)
		}
		return nil
	})
	for n := range 5 { // each is there before the next is sent
		publish(t, b, message(t, n))
		if g := receive(t, got); g != n {
			t.Fatalf("message %d came instead of %d", g, n)
		}
	}
	run.end(t)
}

func lag(t *testing.T, b Broker) {
	demand := func(want uint64) {
		t.Helper()
		demandLag(t, b, "reader", want)
	}
	demand(0)
	publish(t, b, messages(t, 40)...)
	demand(40) // of a group that has not come yet
	entered, leave := make(chan int, 40), make(chan struct{})
	run := consume(t, b, bus.Consumer{Group: "reader", MaxBatch: 10}, func(_ context.Context, batch []bus.Delivery) error {
		entered <- len(batch)
		<-leave
		return nil
	})
	n := receive(t, entered)
	demand(40) // in the handler's hands is not acknowledged
	close(leave)
	for n < 40 {
		n += receive(t, entered)
	}
	run.end(t)
	demand(0)
	publish(t, b, message(t, 40))
	demand(1)
}

// demandLag waits for a lag; a broker may count a moment after its confirm.
func demandLag(t testing.TB, d Driver, group string, want uint64) {
	t.Helper()
	ctx := within(t)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for last, lastErr := uint64(0), error(nil); ; {
		n, err := d.Lag(ctx, group)
		if err == nil && n == want {
			return
		}
		select {
		case <-tick.C:
			last, lastErr = n, err
		case <-ctx.Done():
			t.Fatalf("lag of group %s is %d, %v; want %d", group, last, lastErr, want)
		}
	}
}

func closeConsuming(t *testing.T, b Broker) {
	publish(t, b, messages(t, 10)...)
	entered := make(chan struct{})
	var once sync.Once
	busy := consume(t, b, bus.Consumer{Group: "busy"}, func(ctx context.Context, _ []bus.Delivery) error {
		once.Do(func() { close(entered) })
		<-ctx.Done() // Close must tell the handler
		return nil
	})
	read := make(chan struct{})
	idle := consume(t, b, bus.Consumer{Group: "idle"}, func(_ context.Context, batch []bus.Delivery) error {
		if number(t, batch[len(batch)-1].Message) == 9 {
			close(read)
		}
		return nil
	})
	receive(t, entered)
	receive(t, read)
	if err := b.Close(within(t)); err != nil {
		t.Fatalf("close: %v", err)
	}
	for _, c := range []*consuming{busy, idle} {
		if err := receive(t, c.over); err != nil {
			t.Errorf("Consume returned %v after Close; want nil", err)
		}
	}
}

func restart(t *testing.T, b Broker) {
	skipUnless(t, b.Restart != nil && b.Features().Persistent, "does not survive a restart")
	const count = 500
	all := messages(t, count+1)
	publish(t, b, all[:count]...)
	d := b.Restart(t)
	if err := d.Check(within(t)); err != nil {
		t.Fatalf("check: %v", err)
	}
	if d.Features().Deduplicates {
		publish(t, d, all[count-1]) // still known
	}
	publish(t, d, all[count])
	inOrder(t, collect(t, d, bus.Consumer{Group: "reader"}, count+1), 0, count+1)
}

func recall(t *testing.T, b Broker) {
	_, can := b.Driver.(bus.Recaller)
	skipUnless(t, can, "cannot say what it holds")
	const count = 2500
	all := messages(t, count)
	before := time.Now()
	publish(t, b, all...)
	d := b.Driver
	if b.Restart != nil {
		d = b.Restart(t)
	}
	ids, err := d.(bus.Recaller).Recall(within(t), before)
	if err != nil {
		t.Fatal(err)
	}
	if len(ids) != count {
		t.Errorf("%d ids recalled, want %d", len(ids), count)
	}
	for _, m := range all {
		if _, ok := ids[m.ID]; !ok {
			t.Fatalf("%s is missing", m.ID)
		}
	}
	later := time.Now()
	if ids, err = d.(bus.Recaller).Recall(within(t), later); err != nil || len(ids) != 0 {
		t.Errorf("recall since the end: %d ids, %v", len(ids), err)
	}
	publish(t, d, message(t, count))
	if ids, err = d.(bus.Recaller).Recall(within(t), later); err != nil || len(ids) != 1 {
		t.Errorf("recall of the last: %d ids, %v", len(ids), err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = d.(bus.Recaller).Recall(ended, before); err == nil {
		t.Error("Recall ignored that its context has ended")
	}
}

func badGroup(t *testing.T, b Broker) {
	for _, group := range []string{"", "a b", "a.b", "*"} {
		if err := b.Consume(t.Context(), bus.Consumer{Group: group}, nil); err == nil {
			t.Errorf("group %q was accepted", group)
		}
	}
}
