package bustest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
)

func roundTrip(t *testing.T, b Broker) {
	bodies := []string{
		`{"payload":{"text":"Grüße, 世界 \u2028 🩸","big":9223372036854775807,"neg":-9223372036854775808}}`,
		"{\"payload\" :\t{ \"b\":1,\"a\":1.10, \"dup\":1,\"dup\":2 }}\r\n",
		`{"payload":{"nul":"\u0000","esc":"\/\"\\"}}`,
		"\x00\xff\xfe not JSON at all",
		"",
	}
	parent := message(t, 0).ID
	var sent []bus.Message
	for i, body := range bodies {
		m := message(t, i)
		m.Data, m.Type = []byte(body), "suite.with-dash_and.UPPER.words9"
		if i%2 == 0 {
			m.Parent = parent
		}
		sent = append(sent, m)
	}
	publish(t, b, sent...)
	got := collect(t, b, bus.Consumer{Group: "reader"}, len(sent))
	if len(got) != len(sent) {
		t.Fatalf("%d messages delivered, want %d", len(got), len(sent))
	}
	for i, want := range sent {
		g := got[i]
		if g.ID != want.ID || g.Type != want.Type || g.Parent != want.Parent || !bytes.Equal(g.Data, want.Data) {
			t.Errorf("delivered %+v, sent %+v", g.Message, want)
		}
		if g.Attempt != 1 {
			t.Errorf("first delivery says attempt %d", g.Attempt)
		}
	}
}

// encoding: packed data arrives as it was, and says how it is packed; plain data
// that follows does not inherit it.
func encoding(t *testing.T, b Broker) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(bytes.Repeat([]byte(`{"payload":{}}`), 1000)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var sent []bus.Message
	for i := range 6 {
		m := message(t, i)
		if i%2 == 0 {
			m.Data, m.Encoding = packed.Bytes(), "gzip"
		}
		sent = append(sent, m)
	}
	publish(t, b, sent...)
	for i, g := range collect(t, b, bus.Consumer{Group: "reader"}, len(sent)) {
		if want := sent[i]; g.ID != want.ID || g.Encoding != want.Encoding || !bytes.Equal(g.Data, want.Data) {
			t.Errorf("message %d came with encoding %q and %d bytes, sent with %q and %d", i, g.Encoding, len(g.Data), want.Encoding, len(want.Data))
		}
	}
}

func order(t *testing.T, b Broker) {
	skipUnless(t, b.Features().Ordered, "promises no order")
	const count = 3000
	publish(t, b, messages(t, count)...)
	inOrder(t, collect(t, b, bus.Consumer{Group: "reader", MaxBatch: 7}, count), 0, count)
}

func sizes(t *testing.T, b Broker) {
	limit := b.Features().MaxMessage
	skipUnless(t, limit > 0, "knows no largest message")
	large := message(t, 0)
	large.Data = bytes.Repeat([]byte("x"), limit)
	large.Data[limit-1] = 'y'
	large.Parent = large.ID
	tooLarge := message(t, 1)
	tooLarge.Data = bytes.Repeat([]byte("x"), limit+1)
	if err := result(t, b, tooLarge); !errors.Is(err, bus.ErrRejected) {
		t.Fatalf("one byte too much: %v, want bus.ErrRejected", err)
	}
	sent := []bus.Message{large, large, large}
	for i := range sent {
		sent[i].ID = message(t, i).ID
	}
	publish(t, b, sent...)
	for _, d := range collect(t, b, bus.Consumer{Group: "reader"}, len(sent)) {
		if !bytes.Equal(d.Data, large.Data) {
			t.Fatal("the large message was changed on its way")
		}
	}
}

// result publishes and returns the error wherever it comes from.
func result(t testing.TB, b Driver, m bus.Message) error {
	t.Helper()
	results := make(chan error, 1)
	if err := b.Publish(within(t), m, func(err error) { results <- err }); err != nil {
		return err
	}
	return receive(t, results)
}

func rejects(t *testing.T, b Broker) {
	noID := message(t, 0)
	noID.ID = bloodbank.EventID{}
	for _, m := range []bus.Message{noID, {ID: message(t, 0).ID, Type: "suite.*.>"}, {ID: message(t, 0).ID, Type: "a b.c"}, {ID: message(t, 0).ID}} {
		if err := result(t, b, m); !errors.Is(err, bus.ErrRejected) {
			t.Errorf("id %s type %q: %v, want bus.ErrRejected", m.ID, m.Type, err)
		}
	}
	publish(t, b, message(t, 1)) // and it still works
}

func window(t *testing.T, b Broker) {
	skipUnless(t, b.Freeze != nil, "cannot be frozen by its harness")
	size := b.Features().Window
	thaw := b.Freeze(t)
	var confirmed atomic.Int64
	results := make(chan error, size+1)
	done := func(err error) { confirmed.Add(1); results <- err }
	for _, m := range messages(t, size) {
		if err := b.Publish(within(t), m, done); err != nil {
			t.Fatal(err)
		}
	}
	blocked := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { blocked <- b.Publish(within(t), message(t, size), done) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Publish(ctx, message(t, 0), done); err == nil {
		t.Error("Publish found room in a full window")
	}
	select {
	case err := <-blocked:
		t.Errorf("Publish returned %v with a full window", err)
	default:
	}
	if n := confirmed.Load(); n != 0 {
		t.Errorf("%d confirms from a frozen broker", n)
	}
	thaw()
	for range size + 1 {
		if err := receive(t, results); err != nil {
			t.Errorf("after the thaw: %v", err)
		}
	}
	wg.Wait()
	if err := <-blocked; err != nil {
		t.Errorf("the blocked Publish: %v", err)
	}
}

func publishContext(t *testing.T, b Broker) {
	skipUnless(t, b.Freeze != nil, "cannot be frozen by its harness")
	thaw := b.Freeze(t)
	defer thaw()
	for _, m := range messages(t, b.Features().Window) {
		if err := b.Publish(within(t), m, func(error) {}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	blocked := make(chan error, 3)
	for range cap(blocked) {
		wg.Go(func() {
			blocked <- b.Publish(ctx, message(t, 0), func(error) { t.Error("done called although Publish failed") })
		})
	}
	cancel()
	for range cap(blocked) {
		if err := receive(t, blocked); !errors.Is(err, context.Canceled) {
			t.Errorf("Publish: %v, want context.Canceled", err)
		}
	}
	wg.Wait()
}

func duplicates(t *testing.T, b Broker) {
	skipUnless(t, b.Features().Deduplicates, "does not drop duplicates")
	all := messages(t, 20)
	publish(t, b, all...)
	publish(t, b, all...) // confirmed as well
	publish(t, b, message(t, 20))
	inOrder(t, collect(t, b, bus.Consumer{Group: "reader"}, 21), 0, 21)
}

// calls counts done calls per message.
type calls struct {
	mu  sync.Mutex
	n   map[bloodbank.EventID]int
	err map[bloodbank.EventID]error
}

func newCalls() *calls {
	return &calls{n: map[bloodbank.EventID]int{}, err: map[bloodbank.EventID]error{}}
}

func (c *calls) done(id bloodbank.EventID) func(error) {
	return func(err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.n[id]++
		c.err[id] = err
	}
}

// demand checks that exactly these were called, once each.
func (c *calls) demand(t testing.TB, accepted []bloodbank.EventID) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range accepted {
		if c.n[id] != 1 {
			t.Errorf("done called %d times for an accepted message", c.n[id])
		}
	}
	if len(c.n) != len(accepted) {
		t.Errorf("done called for %d messages, %d were accepted", len(c.n), len(accepted))
	}
}

func doneOnce(t *testing.T, b Broker) {
	seen := newCalls()
	var mu sync.Mutex
	var accepted []bloodbank.EventID
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, m := range messages(t, 300) {
				if err := b.Publish(t.Context(), m, seen.done(m.ID)); err != nil {
					t.Errorf("publish: %v", err)
					return
				}
				mu.Lock()
				accepted = append(accepted, m.ID)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := b.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	seen.demand(t, accepted)
	for id, err := range seen.err {
		if err != nil {
			t.Errorf("message %s: %v although Close had time to wait", id, err)
		}
	}
}

func closePublishing(t *testing.T, b Broker) {
	seen := newCalls()
	var mu sync.Mutex
	var accepted []bloodbank.EventID
	started := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for range cap(started) {
		wg.Go(func() {
			for n := 0; ; n++ {
				m := message(t, n)
				if err := b.Publish(t.Context(), m, seen.done(m.ID)); err != nil {
					if !errors.Is(err, bus.ErrClosed) {
						t.Errorf("Publish after Close: %v, want bus.ErrClosed", err)
					}
					return
				}
				mu.Lock()
				accepted = append(accepted, m.ID)
				mu.Unlock()
				if n == 20 {
					started <- struct{}{}
				}
			}
		})
	}
	for range cap(started) {
		receive(t, started)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // no time to wait: open confirms get ErrClosed
	if err := b.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	wg.Wait()
	seen.demand(t, accepted)
	for _, err := range seen.err {
		if err != nil && !errors.Is(err, bus.ErrClosed) {
			t.Errorf("done got %v, want nil or bus.ErrClosed", err)
		}
	}
}

func closeBlocked(t *testing.T, b Broker) {
	skipUnless(t, b.Freeze != nil, "cannot be frozen by its harness")
	thaw := b.Freeze(t)
	defer thaw()
	size := b.Features().Window
	results := make(chan error, size)
	for _, m := range messages(t, size) {
		if err := b.Publish(within(t), m, func(err error) { results <- err }); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	blocked := make(chan error, 3)
	for range cap(blocked) {
		wg.Go(func() {
			blocked <- b.Publish(t.Context(), message(t, 0), func(error) { t.Error("done called although Publish failed") })
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	wg.Wait()
	for range cap(blocked) {
		if err := receive(t, blocked); !errors.Is(err, bus.ErrClosed) {
			t.Errorf("the blocked Publish: %v, want bus.ErrClosed", err)
		}
	}
	for range size {
		if err := receive(t, results); !errors.Is(err, bus.ErrClosed) {
			t.Errorf("an open confirm: %v, want bus.ErrClosed", err)
		}
	}
}

func closeTwice(t *testing.T, b Broker) {
	publish(t, b, message(t, 0))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := b.Close(within(t)); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	wg.Wait()
	if err := b.Publish(t.Context(), message(t, 1), func(error) { t.Error("done called") }); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Publish after Close: %v, want bus.ErrClosed", err)
	}
	if err := b.Check(t.Context()); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Check after Close: %v, want bus.ErrClosed", err)
	}
	if err := b.Consume(t.Context(), bus.Consumer{Group: "late"}, nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Consume after Close: %v, want bus.ErrClosed", err)
	}
}
