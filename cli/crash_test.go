package cli_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
)

var (
	crashRounds = flag.Int("crash.rounds", 100, "how often TestCrash kills the server")
	crashSeed   = flag.Uint64("crash.seed", 0, "seed of TestCrash; 0 draws one")
)

// TestCrash is the promise: the server is killed at random moments, and every id
// whose accept returned is in the store exactly once.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped with -short: kills a server many times")
	}
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d: repeat with -crash.seed", seed)
	c := crasher{dir: t.TempDir(), rng: rand.New(rand.NewPCG(seed, 1)), accepted: make(map[bloodbank.EventID]bool)}
	for round := range *crashRounds {
		if err := c.round(t.Context()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if round%25 == 24 {
			c.check(t)
		}
	}
	c.check(t)
	t.Logf("%d rounds, %d events accepted, all stored once", *crashRounds, len(c.accepted))
}

// crasher keeps the list of accepted ids, which is the oracle.
type crasher struct {
	dir      string
	rng      *rand.Rand
	mu       sync.Mutex
	accepted map[bloodbank.EventID]bool
}

// round starts the server, publishes, and kills it after a random time, which
// may come before it is ready.
func (c *crasher) round(ctx context.Context) error {
	s, ready, err := startServer(c.dir)
	if err != nil {
		return err
	}
	defer s.kill()
	if c.rng.IntN(8) == 0 { // in the middle of recovery
		select {
		case <-ready:
		case <-s.exited:
			return fmt.Errorf("bb up ended by itself: %v\n%s", s.err, s.output())
		case <-time.After(time.Duration(c.rng.IntN(300)) * time.Millisecond):
		}
		return nil
	}
	if err := s.awaitReady(ctx, ready); err != nil {
		return err
	}
	killed := make(chan struct{})
	var publishers sync.WaitGroup
	for range 4 {
		rng := rand.New(rand.NewPCG(c.rng.Uint64(), 2))
		publishers.Go(func() { c.publish(ctx, s.url, rng, killed) })
	}
	<-time.After(time.Duration(c.rng.IntN(250)) * time.Millisecond)
	s.kill()
	close(killed)
	publishers.Wait()
	return nil
}

// publish sends events one by one and in arrays until the server is gone, and
// sends the last one again with the same id, as a client that got no answer does.
func (c *crasher) publish(ctx context.Context, url string, rng *rand.Rand, killed <-chan struct{}) {
	cl, err := client.New(url, client.Options{})
	if err != nil {
		return
	}
	for {
		events := make([]bloodbank.Envelope, 1+rng.IntN(20))
		for i := range events {
			events[i] = crashEvent(rng)
		}
		receipts, err := cl.PublishAll(ctx, client.PublishAllRequest{Envelopes: events})
		if err == nil && rng.IntN(10) == 0 {
			receipts, err = cl.PublishAll(ctx, client.PublishAllRequest{Envelopes: events})
		}
		c.mu.Lock()
		for _, r := range receipts {
			c.accepted[r.EventID] = true
		}
		c.mu.Unlock()
		select {
		case <-killed:
			return
		default:
			if err != nil {
				return
			}
		}
	}
}

func crashEvent(rng *rand.Rand) bloodbank.Envelope {
	id, err := bloodbank.NewEventID()
	if err != nil {
		panic(err)
	}
	payload, err := json.Marshal(map[string]any{"provider": "crash", "prompt": fmt.Sprint("p", rng.Uint64())})
	if err != nil {
		panic(err)
	}
	return bloodbank.Envelope{EventID: id, EventType: "llm.prompt", Payload: payload}
}

// check starts the server once more, lets it settle, and counts what is stored.
func (c *crasher) check(t *testing.T) {
	t.Helper()
	s := up(t, c.dir)
	cl, err := client.New(s.url, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	settle(t, cl)
	stored := make(map[bloodbank.EventID]int)
	for cursor := ""; ; {
		page, err := cl.Events(t.Context(), client.EventsRequest{Limit: 1000, Cursor: cursor, Order: "asc"})
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range page.Events {
			e, err := bloodbank.DecodeEnvelope(raw)
			if err != nil {
				t.Fatal(err)
			}
			stored[e.EventID]++
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	lost := 0
	for id := range maps.Keys(c.accepted) {
		if stored[id] == 0 {
			lost++
			t.Errorf("event %s was accepted and is not stored", id)
		}
		if lost > 10 {
			t.Fatalf("… and more; %d accepted, %d stored", len(c.accepted), len(stored))
		}
	}
	for id, n := range stored {
		if n > 1 {
			t.Errorf("event %s is stored %d times", id, n)
		}
	}
	if err := s.stop(); err != nil {
		t.Errorf("bb up did not stop cleanly: %v\n%s", err, s.output())
	}
}

// settle waits until all that is accepted is delivered and stored.
func settle(t *testing.T, cl *client.Client) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(readyLimit)
	for {
		raw, err := cl.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var status struct {
			Dispatch struct{ Lag uint64 }
			Recorder struct{ Lag int64 }
		}
		if err := json.Unmarshal(raw, &status); err != nil {
			t.Fatal(err)
		}
		if status.Dispatch.Lag == 0 && status.Recorder.Lag == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the server did not settle: %s", raw)
		}
	}
}
