package dispatch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank/wal/vfs"
	"pgregory.net/rapid"
)

// The world has come right after this many rounds of half a minute. A row of
// poison in the only key that a target takes needs the more, as each is tried
// twice as often as the one before: four need 50 rounds, six about 250.
const leastRounds, mostRounds = 3, 600

// quiet reports whether all is settled.
func (s Status) quiet() bool { return s.Lag == 0 && s.Fault == "" }

// plan is what happens to a dispatcher, drawn before it runs.
type plan struct {
	SafeDelay time.Duration
	Forgetful bool
	Ordered   bool
	MaxParked int
	Steps     []step
}

type step struct {
	Do   string
	Keys []string
	Acts []action
	Time time.Duration
	Seed uint64
}

func drawPlan(t *rapid.T) plan {
	return plan{
		SafeDelay: rapid.SampledFrom([]time.Duration{0, 3 * time.Second}).Draw(t, "safe delay"),
		Forgetful: rapid.Bool().Draw(t, "forgetful"),
		Ordered:   rapid.Bool().Draw(t, "ordered"),
		MaxParked: rapid.SampledFrom([]int{5, 1000}).Draw(t, "max parked"),
		Steps:     rapid.SliceOfN(rapid.Custom(drawStep), 1, 40).Draw(t, "steps"),
	}
}

func drawStep(t *rapid.T) step {
	s := step{Do: rapid.SampledFrom([]string{
		"accept", "accept", "accept", "accept", "script", "script", "wait", "wait", "poison", "odd",
		"down", "up", "full", "kill", "power cut", "restart", "redrive", "dead letters full", "dead letters work",
	}).Draw(t, "do")}
	switch s.Do {
	case "accept":
		s.Keys = rapid.SliceOfN(rapid.SampledFrom([]string{"", "", "a", "b", "c"}), 1, 30).Draw(t, "keys")
	case "script":
		s.Acts = rapid.SliceOfN(rapid.SampledFrom([]action{confirm, slow, twice, lose, happened, refuse, reject, silent, vanish, block}), 1, 12).Draw(t, "acts")
	case "poison":
		s.Acts = []action{rapid.SampledFrom([]action{lose, happened, reject}).Draw(t, "act")}
		s.Keys = []string{rapid.SampledFrom([]string{"", "a"}).Draw(t, "key")}
	case "wait":
		s.Time = time.Duration(rapid.IntRange(1, 90_000).Draw(t, "ms")) * time.Millisecond
	case "power cut", "redrive":
		s.Seed = rapid.Uint64().Draw(t, "seed")
	}
	return s
}

func (s step) run(r *rig) {
	switch s.Do {
	case "accept":
		r.accept(s.Keys...)
	case "script":
		r.broker.set(func(b *broker) {
			for _, a := range s.Acts {
				if a != vanish || !b.ordered { // it never says so, which a bus that keeps the order must
					b.script = append(b.script, a)
				}
			}
		})
	case "poison":
		r.poison(s.Keys[0], s.Acts[0])
	case "odd":
		r.acceptRecord(event{id: eventID(len(r.events)), odd: true}, fmt.Appendf(nil, `{"odd":%d}`, len(r.events)))
	case "wait":
		r.pass(s.Time)
	case "down", "up", "full":
		r.broker.set(func(b *broker) { b.down, b.full = s.Do == "down", s.Do == "full" })
	case "kill":
		r.kill()
	case "power cut":
		r.powerCut(rand.New(rand.NewPCG(s.Seed, 7)))
	case "restart":
		r.mem.SetHook(nil) // a log with a torn tail cannot be opened on a full disk
		r.restart()
	case "redrive":
		r.tryRedrive(s.Seed)
	case "dead letters full":
		r.mem.SetHook(func(op vfs.Op) vfs.Fault {
			if op.Kind == vfs.OpWrite && strings.HasPrefix(op.Path, "/dead/0") {
				return vfs.Fault{Err: fmt.Errorf("no space left")}
			}
			return vfs.Fault{}
		})
	case "dead letters work":
		r.mem.SetHook(nil)
	}
}

// tryRedrive sends any dead letter again, whatever comes of it.
func (r *rig) tryRedrive(seed uint64) {
	letters := r.dead.List(0, 0)
	if len(letters) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, time.Duration(seed%5000)*time.Millisecond)
	defer cancel()
	letter := letters[seed%uint64(len(letters))]
	if err := r.d.Redrive(ctx, letter.Number); err == nil {
		left, open := r.dead.open[letter.Number]
		r.require(!open || left.delivered() && r.broker.safeDelay > 0, "dead letter %d was delivered and is listed", letter.Number)
	}
}

func (p plan) run(r *rig) {
	for i, s := range p.Steps {
		s.run(r)
		func() {
			defer func() {
				if v := recover(); v != nil {
					panic(failure{fmt.Errorf("after step %d (%s): %v", i+1, s.Do, v)})
				}
			}()
			r.checkAll()
		}()
	}
	// The world comes right in the end. What was never answered is sent again by
	// the next life; poison becomes a dead letter as long as others pass by.
	r.broker.set(func(b *broker) { b.down, b.full, b.script = false, false, nil })
	r.mem.SetHook(nil)
	r.kill()
	for round := 0; round < leastRounds || round < mostRounds && !r.d.Status().quiet(); round++ {
		r.accept("", "")
		r.pass(31 * time.Second)
	}
	r.checkAll()
	r.settled(r.d.Status().Dead)
}

// Whatever the bus answers, however the process and the machine end: every
// accepted event is in exactly one of pending, confirmed and dead at every
// moment, and in one of the last two in the end; nothing is skipped; and keys
// keep their order.
func TestRandom(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		err := inBubble(t, func(r *rig) {
			r.broker.safeDelay, r.broker.forgetful, r.broker.ordered = p.SafeDelay, p.Forgetful, p.Ordered
			r.change = func(o *Options) { o.MaxParked = p.MaxParked; o.MaxAttempts = 3 }
		}, p.run)
		if err != nil {
			rt.Fatal(err)
		}
	})
}
