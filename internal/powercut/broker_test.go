package powercut

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/dispatch"
)

// action is what the broker does with one message.
type action string

const (
	confirm  action = "confirm"
	slow     action = "slow"     // confirm, after a while
	lose     action = "lose"     // the connection goes: not stored, not confirmed
	happened action = "happened" // the connection goes after it was stored
	fail     action = "fail"     // this one fails for a reason of its own, not stored; only for events without a key, as
	// a bus that keeps the order must fail what follows too
	refuse action = "refuse" // Publish itself fails
	reject action = "reject" // for good
	silent action = "silent" // stored and never answered
)

var (
	errLost = errors.New("connection lost")
	errDown = errors.New("the bus is down")
)

// broker is a bus with a disk of its own, which loses an end of what it holds at a power cut: with a safe delay what
// came within it, as JetStream does, else only what it had not confirmed yet, as a quorum queue does.
type broker struct {
	target    string // by which dispatch knows it
	safeDelay time.Duration
	hides     bool // a mutation: does not say that it has a safe delay
	forgetful bool // cannot say what it holds

	mu       sync.Mutex
	down     bool
	script   []action
	always   map[bloodbank.EventID]action
	held     []held
	has      map[bloodbank.EventID]bool
	promised int // so many of held are confirmed, and with them all before
	rejected map[bloodbank.EventID]bool
	losing   int // answers of a lost connection that are still to come
}

// held is a message in the order of its storing.
type held struct {
	id     bloodbank.EventID
	data   []byte
	at     time.Time
	synced bool
}

func newBroker() *broker {
	return &broker{target: dispatch.MainTarget, always: map[bloodbank.EventID]action{}, has: map[bloodbank.EventID]bool{}, rejected: map[bloodbank.EventID]bool{}}
}

// clone is the broker at this moment, for another course of things.
func (b *broker) clone() *broker {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &broker{target: b.target, safeDelay: b.safeDelay, hides: b.hides, forgetful: b.forgetful, down: b.down, script: slices.Clone(b.script),
		always: maps.Clone(b.always), held: slices.Clone(b.held), has: maps.Clone(b.has), promised: b.promised, rejected: maps.Clone(b.rejected)}
}

// set changes the broker under its lock.
func (b *broker) set(change func(*broker)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b)
}

// safeLocked is how many of the held messages no power cut can take.
func (b *broker) safeLocked() int {
	if b.safeDelay == 0 {
		return b.promised
	}
	n := 0
	for n < len(b.held) && (b.held[n].synced || time.Since(b.held[n].at) >= b.safeDelay) {
		n++
	}
	return n
}

// cutPower loses a random part of the end that is not safe.
func (b *broker) cutPower(random *rand.Rand) {
	b.mu.Lock()
	defer b.mu.Unlock()
	safe := b.safeLocked()
	kept := safe + random.IntN(len(b.held)-safe+1)
	for _, m := range b.held[kept:] {
		delete(b.has, m.id)
	}
	b.held = b.held[:kept]
	b.held = slices.Clone(b.held)
	for i := range b.held { // what survived a power cut is on the disk
		b.held[i].synced = true
	}
	b.promised = kept
}

// view is what the broker holds: all of it, and the part that it can no longer lose.
func (b *broker) view() (all []held, safe map[bloodbank.EventID]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	safe = map[bloodbank.EventID]bool{}
	for _, m := range b.held[:b.safeLocked()] {
		safe[m.id] = true
	}
	return slices.Clone(b.held), safe
}

// Has plays the store: it knows what can no longer be lost.
func (b *broker) Has(_ context.Context, id bloodbank.EventID) (bool, error) {
	_, safe := b.view()
	return safe[id], nil
}

func (b *broker) storeLocked(m bus.Message) {
	if b.has[m.ID] {
		return
	}
	b.has[m.ID] = true
	b.held = append(b.held, held{m.ID, slices.Clone(m.Data), time.Now(), false})
}

// promiseLocked makes a message safe, and with it all that came before.
func (b *broker) promiseLocked(id bloodbank.EventID) {
	i := slices.IndexFunc(b.held, func(m held) bool { return m.id == id })
	b.promised = max(b.promised, i+1)
}

func (b *broker) nextLocked(m bus.Message) action {
	a, always := b.always[m.ID]
	switch {
	case b.down:
		a = lose
	case always:
	case len(b.script) > 0:
		a, b.script = b.script[0], b.script[1:]
	default:
		a = confirm
	}
	if b.losing > 0 && a != reject { // the connection is gone until it has said so of all
		a = lose
	}
	switch a {
	case confirm, slow, happened, silent:
		b.storeLocked(m)
	}
	switch a {
	case confirm:
		b.promiseLocked(m.ID)
	case lose, happened:
		b.losing++
	case reject:
		b.rejected[m.ID] = true
	}
	return a
}

// connection is the bus as one life of the process has it. That of a dead process does nothing any more.
type connection struct {
	b     *broker
	alive *atomic.Bool
}

// Publish asks and acts under the broker's lock, so that a power cut comes before or after it.
func (c connection) Publish(ctx context.Context, m bus.Message, done func(error)) error {
	c.b.mu.Lock()
	if !c.alive.Load() {
		c.b.mu.Unlock()
		<-ctx.Done()
		return context.Cause(ctx)
	}
	a := c.b.nextLocked(m)
	c.b.mu.Unlock()
	switch a {
	case confirm:
		done(nil)
	case slow:
		time.AfterFunc(30*time.Millisecond, func() { c.answer(m.ID, nil, done) })
	case lose, happened:
		time.AfterFunc(5*time.Millisecond, func() { c.answer(m.ID, errLost, done) })
	case fail:
		done(errLost)
	case refuse:
		return errLost
	case reject:
		done(fmt.Errorf("%w: it is too large", bus.ErrRejected))
	}
	return nil
}

func (c connection) answer(id bloodbank.EventID, err error, done func(error)) {
	c.b.mu.Lock()
	if !c.alive.Load() {
		c.b.mu.Unlock()
		return
	}
	if err == nil {
		c.b.promiseLocked(id)
	} else {
		c.b.losing--
	}
	c.b.mu.Unlock()
	done(err)
}

func (c connection) Check(context.Context) error {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.b.down {
		return errDown
	}
	return nil
}

func (c connection) Features() bus.Features {
	f := bus.Features{Name: "model", Window: 64, SafeDelay: c.b.safeDelay, Ordered: true, Deduplicates: true, Persistent: true}
	if c.b.hides {
		f.SafeDelay = 0
	}
	return f
}

func (c connection) Close(context.Context) error { return nil }

// recaller is a connection that can say what the broker holds.
type recaller struct{ connection }

func (c recaller) Recall(_ context.Context, since time.Time) (map[bloodbank.EventID]struct{}, error) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.b.down || !c.alive.Load() {
		return nil, errDown
	}
	ids := map[bloodbank.EventID]struct{}{}
	for i, m := range c.b.held {
		if !m.at.Before(since) {
			ids[m.id] = struct{}{}
			c.b.promised = max(c.b.promised, i+1)
		}
	}
	return ids, nil
}
