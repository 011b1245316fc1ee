package jetstream

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

// persist sends messages as dispatch does: again with the same id until they
// are confirmed. It returns how often one failed.
func persist(t testing.TB, b *Bus, all []bus.Message) (failures int) {
	t.Helper()
	type result struct {
		m   bus.Message
		err error
	}
	results := make(chan result, len(all))
	send := func(m bus.Message) {
		if err := b.Publish(t.Context(), m, func(err error) { results <- result{m, err} }); err != nil {
			results <- result{m, err}
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, m := range all {
			send(m)
		}
	})
	defer wg.Wait()
	for left := len(all); left > 0; {
		r := receive(t, results)
		if r.err == nil {
			left--
			continue
		}
		failures++
		<-time.After(5 * time.Millisecond) // dispatch waits longer
		wg.Go(func() { send(r.m) })
	}
	return failures
}

func newMessages(t testing.TB, n int) []bus.Message {
	t.Helper()
	all := make([]bus.Message, n)
	for i := range all {
		all[i] = newMessage(t)
	}
	return all
}

// allOnce consumes until every message has come, and demands that none is there
// twice.
func allOnce(t testing.TB, b *Bus, group string, sent []bus.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	seen := map[bloodbank.EventID]int{}
	err := b.Consume(ctx, bus.Consumer{Group: group}, func(_ context.Context, batch []bus.Delivery) error {
		for _, d := range batch {
			seen[d.ID]++
		}
		if len(seen) >= len(sent) {
			cancel()
		}
		return nil
	})
	if err != nil || len(seen) != len(sent) {
		t.Fatalf("%d of %d messages came, %v", len(seen), len(sent), err)
	}
	for _, m := range sent {
		if seen[m.ID] == 0 {
			t.Errorf("%s never came", m.ID)
		}
	}
	if n := stored(t, b); n != len(sent) {
		t.Errorf("%d messages stored, want %d: sent again with the same id is one message", n, len(sent))
	}
}

// TestFaultsOnTheWay breaks the way to the server in each manner. What fails is
// sent again with the same id until it is confirmed; then every id must be in the
// stream once, however often it failed after it happened.
func TestFaultsOnTheWay(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name    string
		begin   func(*testenv.Proxy)
		harmful bool // some messages must have failed
	}{
		{"latency", func(p *testenv.Proxy) { p.Latency(20 * time.Millisecond) }, false},
		{"refused", (*testenv.Proxy).Cut, true},
		{"reset", (*testenv.Proxy).ResetAll, true},
		{"reset in the middle of a message", func(p *testenv.Proxy) { p.ResetAfter(testenv.ToServer, 2001) }, true},
		{"reset in the middle of a confirm", func(p *testenv.Proxy) { p.ResetAfter(testenv.ToClient, 5) }, true},
		{"half open", (*testenv.Proxy).HalfOpen, true},
		{"black hole", (*testenv.Proxy).BlackHole, true},
		{"confirms dropped", func(p *testenv.Proxy) { p.Drop(testenv.ToClient) }, true},
		{"requests dropped", func(p *testenv.Proxy) { p.Drop(testenv.ToServer) }, true},
		{"nothing gets through", func(p *testenv.Proxy) { p.Stall(testenv.ToServer) }, true},
	}
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		t.Parallel()
		for _, row := range rows {
			t.Run(strings.ReplaceAll(row.name, " ", "_"), func(t *testing.T) {
				t.Parallel()
				s := testenv.NATS(t, o)
				way := testenv.NewProxy(t, s.Addr())
				b := dial(t, impatient("nats://"+way.Addr()))
				sent := newMessages(t, 300)
				persist(t, b, sent[:100])
				row.begin(way)
				heal := time.AfterFunc(1200*time.Millisecond, way.Heal)
				defer heal.Stop()
				if failures := persist(t, b, sent[100:]); row.harmful != (failures > 0) {
					t.Errorf("%d failures", failures)
				}
				allOnce(t, b, "g", sent)
			})
		}
	})
}

// TestServerDies: killed, frozen and restarted under load, nothing that was
// confirmed is lost, and the consumer goes on by itself.
func TestServerDies(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name string
		harm func(*testing.T, *testenv.NATSServer)
	}{
		{"killed", func(_ *testing.T, s *testenv.NATSServer) { s.Kill(); s.Start() }},
		{"restarted", func(_ *testing.T, s *testenv.NATSServer) { s.Restart() }},
		{"frozen", func(_ *testing.T, s *testenv.NATSServer) { s.Freeze(); <-time.After(1500 * time.Millisecond); s.Thaw() }},
	}
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		t.Parallel()
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				s := testenv.NATS(t, o)
				b := dial(t, impatient(s.URL()))
				sent := newMessages(t, 400)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				seen := map[bloodbank.EventID]bool{}
				over := make(chan error, 1)
				go func() {
					over <- b.Consume(ctx, bus.Consumer{Group: "g", MaxBatch: 20}, func(_ context.Context, batch []bus.Delivery) error {
						for _, d := range batch {
							seen[d.ID] = true
						}
						if len(seen) == len(sent) {
							cancel()
						}
						return nil
					})
				}()
				persist(t, b, sent[:200])
				row.harm(t, s)
				persist(t, b, sent[200:])
				if err := receive(t, over); err != nil || len(seen) != len(sent) {
					t.Errorf("%d of %d messages came, %v", len(seen), len(sent), err)
				}
			})
		}
	})
}

// TestServersDownAtStart: no error; Check and Publish say why; later all is well.
func TestServersDownAtStart(t *testing.T) {
	t.Parallel()
	s := testenv.NATS(t, testenv.NATSOptions{Program: modern})
	s.Stop()
	b := dial(t, impatient(s.URL()))
	for _, err := range []error{b.Check(t.Context()), retry(t, b, newMessage(t))} {
		if err == nil || !strings.Contains(err.Error(), s.Addr()) || errors.Is(err, bus.ErrRejected) {
			t.Errorf("with the server down: %v", err)
		}
	}
	got := make(chan bus.Delivery, 1)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { // a consumer that comes early waits
		over <- b.Consume(ctx, bus.Consumer{Group: "g"}, func(_ context.Context, batch []bus.Delivery) error {
			got <- batch[0]
			return nil
		})
	}()
	s.Start()
	m := newMessage(t)
	persist(t, b, []bus.Message{m})
	if d := receive(t, got); d.ID != m.ID {
		t.Errorf("%s came instead of %s", d.ID, m.ID)
	}
	cancel()
	if err := receive(t, over); err != nil {
		t.Error(err)
	}
	if err := b.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestDialHeedsItsContext also with a server that takes connections and is silent.
func TestDialHeedsItsContext(t *testing.T) {
	t.Parallel()
	s := testenv.NATS(t, testenv.NATSOptions{Program: modern})
	s.Freeze()
	o := impatient(s.URL())
	o.DialTimeout = 300 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	b := dial(t, o) // silent is as good as down
	if err := b.Check(t.Context()); err == nil {
		t.Error("Check found a silent server well")
	}
	s.Thaw()
	ready(t, b)
}

// TestCheckWhileItConnects: the library dials with its lock held, and Check asks it
// for its state; neither may wait for the other.
func TestCheckWhileItConnects(t *testing.T) {
	t.Parallel()
	s := testenv.NATS(t, testenv.NATSOptions{Program: modern})
	s.Stop()
	o := impatient(s.URL())
	o.ReconnectMax = time.Millisecond
	b := dial(t, o)
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for range 20_000 {
				if b.Check(t.Context()) == nil {
					t.Error("a server that is down is found well")
					return
				}
			}
		})
	}
	over := make(chan struct{})
	go func() {
		asking.Wait()
		close(over)
	}()
	receive(t, over)
	s.Start()
	ready(t, b)
}
