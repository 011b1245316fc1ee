package dispatch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
)

// action is what the broker does with one message.
type action string

const (
	confirm  action = "confirm"  // before Publish returns
	slow     action = "slow"     // confirm, after a while
	twice    action = "twice"    // confirm, and then answer again: first well, then badly
	lose     action = "lose"     // fail, not stored
	nack     action = "nack"     // fail this one alone, not stored
	happened action = "happened" // fail, but stored
	refuse   action = "refuse"   // Publish itself fails
	reject   action = "reject"   // for good
	silent   action = "silent"   // stored and never answered
	vanish   action = "vanish"   // never answered, not stored
	block    action = "block"    // Publish blocks until its context ends
	broke    action = "broke"    // fail at once, not stored; the next one goes over a new connection
	stuck    action = "stuck"    // Publish blocks for a minute, whatever its context says
)

var (
	errLost  = errors.New("connection lost")
	errDown  = errors.New("bus is down")
	errTwice = errors.New("second answer")
)

// broker is a bus that does what it is told. It outlives the dispatcher: a life
// is one connection to it.
type broker struct {
	safeDelay time.Duration
	forgetful bool // cannot say what it holds
	ordered   bool // keeps the order of publishing: a message that is lost takes all after it along

	mu        sync.Mutex
	down      bool // fails everything, and says so when asked
	full      bool // fails everything, and says it works
	script    []action
	always    map[bloodbank.EventID]action // before the script
	stored    map[bloodbank.EventID]time.Time
	ever      map[bloodbank.EventID]bool
	rejected  map[bloodbank.EventID]bool // are as good as dead, so they have no place in an order
	order     []bloodbank.EventID        // of the first storing
	told      map[bloodbank.EventID]time.Time
	toldOrder []bloodbank.EventID // of the first confirms
	calls     map[bloodbank.EventID]int
	total     int
	losing    int // answers to lost messages that are still to come
	checks    int
	recalled  []time.Time
	recallErr error
	seen      func(bus.Message) // of each message that is sent; may be nil
}

func newBroker() *broker {
	return &broker{
		always: make(map[bloodbank.EventID]action), stored: make(map[bloodbank.EventID]time.Time),
		ever: make(map[bloodbank.EventID]bool), rejected: make(map[bloodbank.EventID]bool), told: make(map[bloodbank.EventID]time.Time), calls: make(map[bloodbank.EventID]int),
	}
}

// set changes the broker under its lock.
func (b *broker) set(change func(*broker)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b)
}

func (b *broker) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

func (b *broker) sent(id bloodbank.EventID) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls[id]
}

// cutPower loses some of what was stored but not synced.
func (b *broker) cutPower(random *rand.Rand) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, at := range b.stored {
		if time.Since(at) < b.safeDelay && random.IntN(2) == 0 {
			delete(b.stored, id)
		}
	}
}

func (b *broker) storeLocked(id bloodbank.EventID) {
	if _, known := b.stored[id]; known {
		return
	}
	b.stored[id] = time.Now()
	if !b.ever[id] {
		b.ever[id] = true
		b.order = append(b.order, id)
	}
}

func (b *broker) next(id bloodbank.EventID) action {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls[id]++
	b.total++
	a, ok := b.always[id]
	switch {
	case b.down || b.full:
		a = []action{lose, refuse, lose}[b.total%3]
	case ok:
	case len(b.script) > 0:
		a, b.script = b.script[0], b.script[1:]
	default:
		a = confirm
	}
	if b.ordered && b.losing > 0 { // the connection is gone until it has said so of all
		a = lose
	}
	switch a {
	case confirm, slow, twice, happened, silent:
		b.storeLocked(id)
	}
	switch a {
	case lose, happened:
		b.losing++
	case reject:
		b.rejected[id] = true
	}
	return a
}

func (b *broker) lost() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.losing--
}

func (b *broker) confirmed(id bloodbank.EventID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.confirmedLocked(id)
}

func (b *broker) confirmedLocked(id bloodbank.EventID) {
	if _, known := b.told[id]; !known {
		b.told[id] = time.Now()
		b.toldOrder = append(b.toldOrder, id)
	}
}

// life is one connection. A dead one, of a process that has crashed, does
// nothing any more.
type life struct {
	b    *broker
	dead atomic.Bool
}

func (l *life) Publish(ctx context.Context, m bus.Message, done func(error)) error {
	if l.dead.Load() {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	answer := func(err error) {
		if l.dead.Load() {
			return
		}
		if err == nil {
			l.b.confirmed(m.ID)
		}
		done(err)
	}
	if l.b.seen != nil {
		l.b.seen(m)
	}
	switch a := l.b.next(m.ID); a {
	case confirm:
		answer(nil)
	case slow:
		time.AfterFunc(30*time.Millisecond, func() { answer(nil) })
	case twice:
		answer(nil)
		answer(errTwice)
		time.AfterFunc(10*time.Millisecond, func() { answer(nil) })
	case nack:
		time.AfterFunc(5*time.Millisecond, func() { answer(errLost) })
	case lose, happened:
		time.AfterFunc(5*time.Millisecond, func() { answer(errLost); l.b.lost() })
	case broke:
		answer(errLost)
	case refuse:
		return errLost
	case reject:
		answer(fmt.Errorf("%w: it is too large", bus.ErrRejected))
	case silent, vanish:
	case stuck:
		<-time.After(time.Minute)
		return errLost
	case block:
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return nil
}

func (l *life) Check(context.Context) error {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.b.checks++
	if l.b.down {
		return errDown
	}
	return nil
}

func (l *life) Features() bus.Features {
	return bus.Features{Name: "fake", SafeDelay: l.b.safeDelay, Ordered: l.b.ordered}
}

func (l *life) Close(context.Context) error { return nil }

// remembering is a life that can say what the broker holds.
type remembering struct{ *life }

func (l remembering) Recall(_ context.Context, since time.Time) (map[bloodbank.EventID]struct{}, error) {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.b.recalled = append(l.b.recalled, since)
	if l.b.down {
		return nil, errDown
	}
	if l.b.recallErr != nil {
		return nil, l.b.recallErr
	}
	held := make(map[bloodbank.EventID]struct{})
	for _, id := range l.b.order {
		if at, stored := l.b.stored[id]; stored && !at.Before(since) {
			held[id] = struct{}{}
			l.b.confirmedLocked(id)
		}
	}
	return held, nil
}
