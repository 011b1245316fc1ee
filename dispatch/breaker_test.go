package dispatch

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParkedKeyDoesNotStopTheWorld(t *testing.T) {
	t.Parallel()
	run(t, func(r *rig) { r.change = func(o *Options) { o.MaxParked = 50 } }, func(r *rig) {
		r.broker.script = []action{vanish}
		r.accept(keys(30, "stuck")...)
		others := r.accept(keys(300, "")...)
		r.checkAll()
		r.require(r.broker.sent(others[299].id) == 1, "the others wait")
		r.require(r.d.Status().Lag == 30, "%+v", r.d.Status())
		// The limit: reading stops, and goes on once the key moves.
		r.accept(keys(500, "stuck")...)
		late := r.accept(keys(10, "")...)
		r.require(r.broker.sent(late[9].id) == 0, "it was read although too many wait")
		r.kill()
		r.pass(time.Second)
		r.settled(0)
	})
}

func TestWaitingIsBounded(t *testing.T) {
	t.Parallel()
	run(t, func(r *rig) { r.change = func(o *Options) { o.MaxParked = 100 } }, func(r *rig) {
		r.broker.set(func(b *broker) { b.down = true })
		for range 20 {
			r.accept(keys(200, "")...)
			r.pass(time.Minute)
			r.checkAll()
		}
		sent := r.broker.count()
		r.require(sent < 100, "%d were sent to a dead bus", sent)
		r.broker.set(func(b *broker) { b.down = false })
		r.pass(time.Minute)
		r.settled(0)
	})
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	dead := map[string]func(*broker, bool){
		"says it is down":    func(b *broker, v bool) { b.down = v },
		"says that it works": func(b *broker, v bool) { b.full = v },
	}
	for name, set := range dead {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, nil, func(r *rig) {
				r.accept("a", "")
				r.broker.set(func(b *broker) { set(b, true) })
				r.accept("", "a", "b", "")
				r.pass(20 * time.Millisecond)
				s := r.d.Status()
				r.require(strings.Contains(s.Fault, "connection lost") && !s.Retry.IsZero(), "%+v", s)
				r.pass(10 * time.Minute) // the delays have reached their limit
				before := r.broker.count()
				r.accept(keys(1000, "")...)
				const hours = 24
				r.pass(hours * time.Hour)
				r.checkAll()
				// A delay is between a tenth of MaxBackoff and all of it.
				probes := r.broker.count() - before
				r.require(probes >= hours*120 && probes <= hours*1200, "%d probes", probes)
				s = r.d.Status()
				r.require(s.Dead == 0 && s.Lag == 1004, "%+v", s)
				r.broker.set(func(b *broker) { set(b, false) })
				r.pass(31 * time.Second)
				r.settled(0)
			})
		})
	}
}

// A message that the bus never takes must not keep the breaker open.
func TestProbesRotate(t *testing.T) {
	t.Parallel()
	run(t, nil, func(r *rig) {
		r.broker.set(func(b *broker) { b.down = true })
		poison := r.accept("", "")
		for _, e := range poison {
			r.broker.set(func(b *broker) { b.always[e.id] = lose })
		}
		r.pass(time.Minute)
		r.broker.set(func(b *broker) { b.down = false })
		r.pass(10 * time.Minute)
		r.require(r.d.Status().Dead == 0 && r.d.Status().Fault != "", "nothing has shown that the bus works: %+v", r.d.Status())
		for range 20 {
			r.accept("", "")
			r.pass(31 * time.Second)
			r.checkAll()
		}
		r.pass(time.Minute)
		r.settled(2)
	})
}

func TestBreakerWithNothingToTry(t *testing.T) {
	t.Parallel()
	run(t, nil, func(r *rig) {
		r.broker.set(func(b *broker) { b.down = true })
		e := r.accept("")
		r.pass(time.Second)
		r.broker.set(func(b *broker) { b.down = false; b.always[e[0].id] = reject })
		r.pass(time.Minute)
		r.settled(1)
		r.accept("")
		r.settled(1)
	})
}

// At the time of a probe nothing but parked messages can be read: then the
// message that has been a probe before must serve again.
func TestProbeWithNothingNewToSend(t *testing.T) {
	t.Parallel()
	run(t, nil, func(r *rig) {
		r.broker.set(func(b *broker) { b.down = true })
		r.accept("a")
		r.pass(time.Second)
		r.accept("a", "a")
		r.broker.set(func(b *broker) { b.down = false })
		r.pass(31 * time.Second)
		r.settled(0)
	})
}

// On a bus that keeps the order a key uses a window, too. After a failure
// nothing new of it is sent until that is mended.
func TestKeyInAWindow(t *testing.T) {
	t.Parallel()
	run(t, func(r *rig) { r.broker.ordered = true; r.change = func(o *Options) { o.MaxAttempts = 3 } }, func(r *rig) {
		answerSlowly := func(b *broker) { b.script = slices.Repeat([]action{slow}, 500) }
		r.broker.set(answerSlowly)
		begin := r.broker.count()
		r.accept(keys(500, "k")...)
		r.require(r.broker.count()-begin == lineWidth, "%d were sent at once", r.broker.count()-begin)
		r.pass(time.Minute)
		r.settled(0)

		r.broker.set(answerSlowly)
		begin = r.broker.count()
		poison := r.poison("k", nack)
		r.accept(keys(200, "k")...)
		other := r.accept("")[0]
		r.pass(20 * time.Millisecond)
		r.require(r.broker.sent(other.id) == 1, "the world waits")
		others := r.broker.count() - begin - r.broker.sent(poison.id)
		r.require(others == lineWidth, "%d others were sent", others)
		for r.broker.sent(poison.id) < 3 {
			now := r.broker.count() - begin - r.broker.sent(poison.id)
			r.require(now == others, "%d new ones of the key were sent before the failed one was settled", now-others)
			r.checkAll()
			r.pass(time.Millisecond)
		}
		r.pass(10 * time.Second)
		r.settled(1)
		r.require(r.broker.sent(poison.id) == 3, "sent %d times", r.broker.sent(poison.id))
	})
}

func TestMaxAttempts(t *testing.T) {
	t.Parallel()
	for name, traffic := range map[string]bool{"among others": true, "alone": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, func(r *rig) { r.change = func(o *Options) { o.MaxAttempts = 3 } }, func(r *rig) {
				poison := r.poison("k", lose)
				behind := r.accept("k")[0]
				for range 50 {
					if traffic {
						r.accept("")
					}
					r.pass(time.Second)
					r.checkAll()
				}
				r.settled(1)
				letter := r.dead.List(0, 0)[0]
				r.require(letter.EventID == poison.id && letter.Attempts == 3 && letter.Sequence == 1 && letter.EventType == "demo.thing.happened" &&
					strings.Contains(letter.Reason, "connection lost") && !letter.At.IsZero(), "%+v", letter)
				r.require(r.broker.sent(poison.id) == 3 && r.broker.sent(behind.id) == 1, "sent %d and %d times", r.broker.sent(poison.id), r.broker.sent(behind.id))
			})
		})
	}
}

// With poison at the head of a key and beside it the way out is found, however
// many wait: by new messages, or where there is no room for them by counting.
func TestPoisonInAFullWaitingRoom(t *testing.T) {
	t.Parallel()
	for behind := range 12 {
		run(t, func(r *rig) { r.change = func(o *Options) { o.MaxParked, o.MaxAttempts = 5, 3 } }, func(r *rig) {
			r.must(r.d.Stop(r.ctx))
			r.poison("a", lose)
			r.accept(keys(behind, "a")...)
			r.poison("", lose)
			r.restart() // they come at once
			for range 10 {
				r.accept("", "")
				r.pass(31 * time.Second)
			}
			r.settled(2)
		})
	}
}
