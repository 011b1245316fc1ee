package jetstream

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/internal/testenv"
)

// tally counts what a group handles.
type tally struct {
	mu   sync.Mutex
	seen map[bloodbank.EventID]int
	by   map[int]int
	full chan struct{}
}

func newTally() *tally {
	return &tally{seen: map[bloodbank.EventID]int{}, by: map[int]int{}, full: make(chan struct{})}
}

// member consumes as one of the group until the tally has n.
func (y *tally) member(t *testing.T, b *Bus, who, n int, c bus.Consumer) *sync.WaitGroup {
	t.Helper()
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		err := b.Consume(ctx, c, func(_ context.Context, batch []bus.Delivery) error {
			y.mu.Lock()
			defer y.mu.Unlock()
			for _, d := range batch {
				y.seen[d.ID]++
			}
			y.by[who] += len(batch)
			if len(y.seen) == n && len(batch) > 0 {
				select {
				case <-y.full:
				default:
					close(y.full)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return &wg
}

func (y *tally) once(t *testing.T) {
	t.Helper()
	y.mu.Lock()
	defer y.mu.Unlock()
	for id, n := range y.seen {
		if n != 1 {
			t.Errorf("%s handled %d times", id, n)
		}
	}
}

// TestTrapAckAllAcrossProcesses: several connections share a group; each message
// is handled once, and all take part.
func TestTrapAckAllAcrossProcesses(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		t.Parallel()
		const count = 3000
		s := testenv.NATS(t, o)
		y := newTally()
		c := bus.Consumer{Group: "shared", MaxBatch: 20}
		for who := range 3 {
			y.member(t, dial(t, DialOptions{URL: s.URL()}), who, count, c)
		}
		b := dial(t, DialOptions{URL: s.URL()})
		confirm(t, b, count)
		receive(t, y.full)
		testenv.Eventually(t, "everything is acknowledged", func() bool {
			n, err := b.Lag(t.Context(), "shared")
			return err == nil && n == 0
		})
		y.once(t)
		for who := range 3 {
			if y.by[who] == 0 {
				t.Errorf("member %d got nothing", who)
			}
		}
	})
}

// TestTrapMemberDies: a process is killed with messages in its hands; another one
// gets them after AckWait, and nothing else twice.
func TestTrapMemberDies(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		t.Parallel()
		s := testenv.NATS(t, o)
		b := dial(t, DialOptions{URL: s.URL()})
		confirm(t, b, 40)
		cmd, lines := child(t, "consume "+s.URL())
		// How many its first batch has, nobody knows; one message in its hands will do.
		if !lines.Scan() {
			t.Fatalf("the child has got nothing: %v", lines.Err())
		}
		y := newTally()
		y.member(t, b, 0, 40, bus.Consumer{Group: "shared", MaxBatch: 7, AckWait: 2 * time.Second})
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		receive(t, y.full)
		y.once(t)
	})
}

// TestTrapSlowHandlerIsNotDead: a handler may take many times AckWait; nobody else
// gets its batch, nor what waits behind it.
func TestTrapSlowHandlerIsNotDead(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, o testenv.NATSOptions) {
		t.Parallel()
		s := testenv.NATS(t, o)
		slow := dial(t, DialOptions{URL: s.URL()})
		sent := confirm(t, slow, 20)
		c := bus.Consumer{Group: "shared", MaxBatch: 10, AckWait: 600 * time.Millisecond}
		entered, leave := make(chan struct{}), make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var got []bus.Delivery
		over := make(chan error, 1)
		go func() {
			over <- slow.Consume(ctx, c, func(_ context.Context, batch []bus.Delivery) error {
				if got == nil {
					close(entered)
					<-leave
				}
				if got = append(got, batch...); len(got) >= 20 {
					cancel()
				}
				return nil
			})
		}()
		receive(t, entered)
		testenv.Eventually(t, "the slow one holds all", func() bool {
			m, err := slow.js.Consumer(t.Context(), Stream, "shared")
			return err == nil && m.CachedInfo().NumAckPending == 20
		})
		other := newTally()
		other.member(t, dial(t, DialOptions{URL: s.URL()}), 1, 1, c)
		select {
		case <-other.full:
			t.Error("another one got a message of a slow handler")
		case <-time.After(2500 * time.Millisecond):
		}
		close(leave)
		if err := receive(t, over); err != nil {
			t.Fatal(err)
		}
		for i, d := range got {
			if d.ID != sent[i].ID || d.Attempt != 1 {
				t.Errorf("message %d: %s at attempt %d", i, d.ID, d.Attempt)
			}
		}
	})
}

// TestTrapCutOffMember: a member that is cut off for longer than AckWait gives its
// batch up: another one has it.
func TestTrapCutOffMember(t *testing.T) {
	t.Parallel()
	s := testenv.NATS(t, testenv.NATSOptions{Program: modern})
	way := testenv.NewProxy(t, s.Addr())
	o := impatient("nats://" + way.Addr())
	cut := dial(t, o)
	confirm(t, cut, 10)
	c := bus.Consumer{Group: "shared", AckWait: 500 * time.Millisecond}
	calls := make(chan int, 100)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() {
		over <- cut.Consume(ctx, c, func(_ context.Context, batch []bus.Delivery) error {
			calls <- len(batch)
			return errDisconnected // as a handler whose store is down, too
		})
	}()
	receive(t, calls)
	way.Cut()
	y := newTally()
	y.member(t, dial(t, impatient(s.URL())), 1, 10, c)
	receive(t, y.full)
	y.once(t)
	way.Heal()
	ready(t, cut)
	cancel()
	if err := receive(t, over); err != nil {
		t.Error(err)
	}
	if n, err := cut.Lag(t.Context(), "shared"); err != nil || n != 0 {
		t.Errorf("lag %d, %v", n, err)
	}
}
