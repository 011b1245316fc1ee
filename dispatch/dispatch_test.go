package dispatch

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/wal"
	"github.com/33god/bloodbank/wal/vfs"
)

// Each thing that a bus can do to one message among healthy ones.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		action action
		dead   int // listed in the end
		sent   int // how often the message was sent
	}{
		{confirm, 0, 1}, {slow, 0, 1}, {twice, 0, 1}, {reject, 1, 1}, {lose, 0, 2}, {happened, 0, 2}, {refuse, 0, 2},
	}
	for _, tt := range tests {
		for _, key := range []string{"", "k"} {
			t.Run(string(tt.action)+"/key "+key, func(t *testing.T) {
				t.Parallel()
				run(t, nil, func(r *rig) {
					r.accept(keys(3, key)...)
					r.pass(time.Second)
					r.broker.script = []action{tt.action}
					e := r.accept(key)[0]
					r.checkAll()
					r.accept(keys(3, key)...)
					r.pass(time.Minute)
					r.settled(tt.dead)
					r.require(r.broker.sent(e.id) == tt.sent, "sent %d times, want %d", r.broker.sent(e.id), tt.sent)
				})
			})
		}
	}
}

// What is never answered stays pending, lets others go, and is sent again by
// the next life; what the bus holds is not.
func TestNeverAnswered(t *testing.T) {
	t.Parallel()
	for a, again := range map[action]int{silent: 1, vanish: 2} {
		t.Run(string(a), func(t *testing.T) {
			t.Parallel()
			run(t, nil, func(r *rig) {
				r.broker.script = []action{a}
				e := r.accept("k", "", "other", "k")
				r.pass(time.Hour)
				r.checkAll()
				s := r.d.Status()
				r.require(s.Lag == 2 && s.Position == 0, "%+v", s)
				r.require(r.broker.sent(e[3].id) == 0, "the key did not wait")
				r.kill()
				r.pass(time.Second)
				r.settled(0)
				r.require(r.broker.sent(e[0].id) == again, "sent %d times", r.broker.sent(e[0].id))
				r.require(r.broker.sent(e[1].id) == 1, "sent again though the bus holds it")
			})
		})
	}
}

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
		for range 500 {
			r.broker.set(func(b *broker) { b.script = append(b.script, slow) })
		}
		begin := r.broker.count()
		r.accept(keys(500, "k")...)
		r.require(r.broker.count()-begin == lineWidth, "%d were sent at once", r.broker.count()-begin)
		r.pass(time.Minute)
		r.settled(0)

		r.broker.set(func(b *broker) { b.script = nil })
		begin = r.broker.count()
		poison := r.poison("k", nack)
		r.accept(keys(200, "k")...)
		other := r.accept("")[0]
		r.pass(20 * time.Millisecond)
		r.require(r.broker.sent(other.id) == 1, "the world waits")
		sent := r.broker.count() - begin
		for r.broker.sent(poison.id) < 3 {
			r.require(r.d.Status().Dead == 0, "dead too soon")
			r.pass(10 * time.Millisecond)
			r.require(r.broker.count()-begin-r.broker.sent(poison.id) == sent-1, "new ones of the key were sent before the failed one was settled")
			r.checkAll()
		}
		r.pass(time.Second)
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

func TestDeadAtOnce(t *testing.T) {
	t.Parallel()
	odd := []byte(`{"no":"event"}`)
	broken := []byte("\xff not JSON")
	run(t, nil, func(r *rig) {
		for _, record := range [][]byte{odd, broken} {
			r.acceptRecord(event{odd: true}, record)
		}
		r.broker.script = []action{reject}
		e := r.accept("k")[0]
		r.accept("k")
		r.settled(3)
		letters := r.dead.List(0, 0)
		get := func(i int) DeadLetter {
			letter, err := r.dead.Get(letters[i].Number)
			r.must(err)
			return letter
		}
		r.require(string(get(0).Event) == string(odd) && get(0).Raw == nil && letters[0].Attempts == 0 && strings.Contains(letters[0].Reason, "no event"), "%+v", get(0))
		r.require(string(get(1).Raw) == string(broken) && get(1).Event == nil, "%+v", get(1))
		r.require(letters[2].EventID == e.id && letters[2].Attempts == 1 && strings.Contains(letters[2].Reason, "too large"), "%+v", letters[2])
		r.require(letters[2].Event == nil && letters[1].Raw == nil, "lists hold no events")
		decoded, err := bloodbank.DecodeEnvelope(get(2).Event)
		r.require(err == nil && decoded.EventID == e.id, "%v", err)
		for i, code := range []bloodbank.Code{bloodbank.CodeInvalid, bloodbank.CodeInvalid, ""} {
			err := r.d.Redrive(r.ctx, letters[i].Number)
			r.require(bloodbank.CodeOf(err) == code, "redrive %d: %v", i, err)
		}
		r.require(len(r.dead.List(0, 1)) == 1 && len(r.dead.List(letters[0].Number, 0)) == 1, "pages")
		_, err = r.dead.Get(letters[2].Number)
		r.require(bloodbank.CodeOf(err) == bloodbank.CodeNotFound, "%v", err)
		r.restart()
		r.settled(2)
	})
}

// While a dead letter cannot be written down its event stays pending, and its
// key waits.
func TestDeadLettersOnAFullDisk(t *testing.T) {
	t.Parallel()
	for _, ordered := range []bool{false, true} {
		run(t, func(r *rig) { r.broker.ordered = ordered }, func(r *rig) {
			r.accept("")
			r.mem.SetHook(func(op vfs.Op) vfs.Fault {
				if op.Kind == vfs.OpWrite && strings.HasPrefix(op.Path, "/dead/") {
					return vfs.Fault{Err: errors.New("no space left")}
				}
				return vfs.Fault{}
			})
			r.broker.script = []action{reject}
			e := r.accept("k", "", "")
			r.pass(time.Second)
			behind := r.accept("k")[0]
			r.pass(5 * time.Minute)
			r.checkAll()
			s := r.d.Status()
			r.require(s.Dead == 0 && s.Lag == 2 && s.Position == 1, "%+v", s)
			r.require(r.broker.sent(behind.id) == 0 && r.broker.sent(e[2].id) == 1, "the key waits, the others do not")
			r.mem.SetHook(nil)
			r.pass(time.Minute)
			r.settled(1)
			r.require(r.broker.sent(e[0].id) == 1, "sent %d times", r.broker.sent(e[0].id))
		})
	}
}

func TestRedrive(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		action action
		code   bloodbank.Code
		dead   int
	}{
		{"success", confirm, "", 0},
		{"rejected again", reject, bloodbank.CodeUnavailable, 1},
		{"failed", lose, bloodbank.CodeUnavailable, 1},
		{"failed but happened", happened, bloodbank.CodeUnavailable, 1},
		{"not sent", refuse, bloodbank.CodeUnavailable, 1},
		{"never answered", silent, bloodbank.CodeTimeout, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			run(t, nil, func(r *rig) {
				r.broker.script = []action{reject}
				e := r.accept("")[0]
				number := r.dead.List(0, 0)[0].Number
				r.broker.script = []action{tt.action}
				ctx, cancel := context.WithTimeout(r.ctx, time.Minute)
				defer cancel()
				err := r.d.Redrive(ctx, number)
				r.require(bloodbank.CodeOf(err) == tt.code, "%v", err)
				r.settled(tt.dead)
				r.restart() // which must not matter
				r.settled(tt.dead)
				r.require(r.broker.sent(e.id) == 2, "sent %d times", r.broker.sent(e.id))
				if tt.dead == 1 {
					r.must(r.d.Redrive(r.ctx, number))
					r.settled(0)
				}
				err = r.d.Redrive(r.ctx, number)
				r.require(bloodbank.CodeOf(err) == bloodbank.CodeNotFound, "%v", err)
			})
		})
	}
}

func TestRedriveRefusals(t *testing.T) {
	t.Parallel()
	run(t, nil, func(r *rig) {
		r.broker.script = []action{reject}
		r.accept("")
		number := r.dead.List(0, 0)[0].Number

		// Twice at once.
		r.broker.script = []action{slow}
		first := make(chan error, 1)
		go func() { first <- r.d.Redrive(r.ctx, number) }()
		synctest.Wait()
		r.require(bloodbank.CodeOf(r.d.Redrive(r.ctx, number)) == bloodbank.CodeConflict, "not refused")
		r.must(<-first)
		r.settled(0)

		// While the bus is down: at once, without a probe.
		r.broker.script = []action{reject}
		r.accept("")
		number = r.dead.List(0, 0)[0].Number
		r.broker.set(func(b *broker) { b.down = true })
		r.accept("")
		r.pass(10 * time.Millisecond)
		before := r.broker.count()
		err := r.d.Redrive(r.ctx, number)
		r.require(bloodbank.CodeOf(err) == bloodbank.CodeUnavailable && strings.Contains(err.Error(), "at the moment"), "%v", err)
		r.require(r.broker.count() == before, "it was sent")
		r.broker.set(func(b *broker) { b.down = false })
		r.pass(time.Minute)

		// Somebody who left before it was sent.
		gone, leave := context.WithCancel(r.ctx)
		leave()
		r.broker.script = []action{block}
		r.accept("") // keeps the loop busy
		r.require(bloodbank.CodeOf(r.d.Redrive(gone, number)) == bloodbank.CodeTimeout, "no timeout")
		r.require(r.d.Status().Dead == 1, "gone")

		// After the stop.
		r.must(r.d.Stop(r.ctx))
		r.require(bloodbank.CodeOf(r.d.Redrive(r.ctx, number)) == bloodbank.CodeUnavailable, "accepted after the stop")
		r.restart()
		r.settled(1)
	})
}

func TestTooManyRedrives(t *testing.T) {
	t.Parallel()
	run(t, nil, func(r *rig) {
		for range maxRedrives + 1 {
			r.broker.set(func(b *broker) { b.script = append(b.script, reject) })
		}
		r.accept(keys(maxRedrives+1, "")...)
		r.broker.script = []action{block}
		r.accept("")
		ctx, cancel := context.WithCancel(r.ctx)
		results := make(chan error, maxRedrives)
		letters := r.dead.List(0, 0)
		for _, letter := range letters[:maxRedrives] {
			go func() { results <- r.d.Redrive(ctx, letter.Number) }()
		}
		synctest.Wait()
		err := r.d.Redrive(r.ctx, letters[maxRedrives].Number)
		r.require(bloodbank.CodeOf(err) == bloodbank.CodeOverloaded, "%v", err)
		cancel()
		for range maxRedrives {
			r.require(bloodbank.CodeOf(<-results) == bloodbank.CodeTimeout, "no timeout")
		}
		r.kill()
		r.settled(maxRedrives + 1)
	})
}

func TestRecall(t *testing.T) {
	t.Parallel()
	const delay = 10 * time.Second
	run(t, func(r *rig) { r.broker.safeDelay = delay }, func(r *rig) {
		r.accept(keys(20, "k")...)
		r.pass(20 * time.Second) // these are safe, and the position is saved
		saved := r.d.cur.SavedAt()
		tail := r.accept(keys(20, "k")...)
		r.pass(5 * time.Second) // these are confirmed but not safe
		r.checkAll()
		r.require(r.d.Status().Safe == 20, "%+v", r.d.Status())
		r.broker.set(func(b *broker) {
			b.recalled = nil
			delete(b.stored, tail[3].id) // the bus has lost one
			b.down = true
		})
		r.kill()
		r.pass(time.Minute)
		r.require(strings.Contains(r.d.Status().Fault, "down"), "%+v", r.d.Status())
		r.broker.set(func(b *broker) { b.down = false })
		r.pass(time.Minute)
		r.settled(0)
		for i, e := range tail {
			want := 1
			if i == 3 {
				want = 2
			}
			r.require(r.broker.sent(e.id) == want, "event %d of the tail was sent %d times", i, r.broker.sent(e.id))
		}
		for _, since := range r.broker.recalled {
			r.require(since.Equal(saved.Add(-2*delay-time.Minute)), "asked since %v, saved %v", since, saved)
		}
		r.require(r.d.Status().Safe == 40, "%+v", r.d.Status())
	})
}

// A position that was never saved asks for everything; a broker that cannot say
// gets the tail again.
func TestRecallWithoutAPosition(t *testing.T) {
	t.Parallel()
	for _, forgetful := range []bool{false, true} {
		run(t, func(r *rig) { r.broker.safeDelay = time.Hour; r.broker.forgetful = forgetful }, func(r *rig) {
			e := r.accept("a", "")
			r.kill()
			r.pass(time.Second)
			want := 1
			if forgetful {
				want = 2
			}
			r.require(r.broker.sent(e[0].id) == want, "sent %d times", r.broker.sent(e[0].id))
			r.settled(0)
			r.accept("a") // ids that the bus held are forgotten
			r.settled(0)
		})
	}
}

func TestSafeDelay(t *testing.T) {
	t.Parallel()
	const delay = 8 * time.Second
	run(t, func(r *rig) { r.broker.safeDelay = delay }, func(r *rig) {
		for range 100 {
			r.accept(keys(40, "")...)
			r.pass(200 * time.Millisecond)
			r.checkAll()
			r.require(len(r.d.progress.ahead) == 0, "%v", r.d.progress.ahead)
		}
		first := r.log.First()
		r.require(first > 1, "the log was never cut")
		r.settled(0)
	})
}

func TestConfirmed(t *testing.T) {
	t.Parallel()
	run(t, nil, func(r *rig) {
		r.broker.script = []action{confirm, reject, vanish, confirm}
		over, cancel := context.WithCancel(r.ctx)
		cancel()
		before := make(chan error, 4)
		for seq := range uint64(4) {
			go func() {
				err := r.d.Confirmed(r.ctx, seq+1)
				if seq+1 == 2 && bloodbank.CodeOf(err) == bloodbank.CodeUnavailable && strings.Contains(err.Error(), "dlq") {
					err = nil
				}
				before <- err
			}()
		}
		synctest.Wait()
		r.accept("", "", "", "")
		for range 3 {
			r.must(<-before)
		}
		r.must(r.d.Confirmed(over, 1))
		r.must(r.d.Confirmed(over, 4)) // ahead of a pending one
		r.require(bloodbank.CodeOf(r.d.Confirmed(over, 2)) == bloodbank.CodeUnavailable, "a dead letter")
		r.require(errors.Is(r.d.Confirmed(over, 3), context.Canceled), "a pending one")
		r.require(errors.Is(r.d.Confirmed(over, 99), context.Canceled), "one that is not there")
		r.require(len(r.d.progress.waiters) == 1, "%d waiters", len(r.d.progress.waiters))
		r.must(r.d.Stop(r.ctx))
		r.require(bloodbank.CodeOf(<-before) == bloodbank.CodeUnavailable, "the stop wakes those who wait")
		r.require(len(r.d.progress.waiters) == 0, "a waiter is left")
		r.restart()
		r.settled(1)
	})
}

func TestStop(t *testing.T) {
	t.Parallel()
	t.Run("while Publish blocks", func(t *testing.T) {
		t.Parallel()
		run(t, nil, func(r *rig) {
			r.broker.script = []action{block}
			e := r.accept("", "")
			r.require(r.broker.sent(e[1].id) == 0, "it did not block")
			for range 3 {
				r.must(r.d.Stop(r.ctx))
			}
			r.require(errors.Is(r.d.Start(r.ctx), bus.ErrClosed), "started again")
			r.checkAll()
			r.restart()
			r.settled(0)
		})
	})
	t.Run("before the start, and a second start", func(t *testing.T) {
		t.Parallel()
		run(t, nil, func(r *rig) {
			d, err := New(Options{Log: r.log, Publisher: r.life, Dead: r.dead})
			r.must(err)
			r.must(d.Stop(r.ctx))
			r.must(r.d.Start(r.ctx))
			e := r.accept("")
			r.settled(0)
			r.require(r.broker.sent(e[0].id) == 1 && r.d.Name() == "dispatch", "sent %d times", r.broker.sent(e[0].id))
		})
	})
	t.Run("while the bus is asked what it holds", func(t *testing.T) {
		t.Parallel()
		run(t, nil, func(r *rig) {
			r.broker.script = []action{vanish}
			r.accept("")
			r.broker.set(func(b *broker) { b.recallErr = errLost })
			r.kill()
			r.pass(time.Hour)
			r.restart()
			r.broker.set(func(b *broker) { b.recallErr = nil })
			r.pass(time.Minute)
			r.settled(0)
		})
	})
	t.Run("not in time", func(t *testing.T) {
		t.Parallel()
		run(t, nil, func(r *rig) {
			short, cancel := context.WithTimeout(r.ctx, time.Second)
			defer cancel()
			r.broker.script = []action{stuck}
			r.accept("")
			err := r.d.Stop(short)
			r.require(bloodbank.CodeOf(err) == bloodbank.CodeTimeout, "%v", err)
			r.must(r.d.Stop(r.ctx))
			r.restart()
			r.settled(0)
		})
	})
}

func TestStartPositions(t *testing.T) {
	t.Parallel()
	t.Run("no cursor, truncated log", func(t *testing.T) {
		t.Parallel()
		run(t, nil, func(r *rig) {
			r.accept(keys(300, "")...)
			r.settled(0)
			r.pass(time.Second)
			r.must(r.d.Stop(r.ctx))
			r.life.dead.Store(true)
			r.closeLogs()
			r.must(r.mem.Remove("/wal/cursors/" + CursorName + ".json"))
			r.open()
			first := r.log.First()
			r.require(first > 1, "the log was never cut")
			r.begin()
			r.require(r.d.Status().Position >= first-1, "%+v", r.d.Status())
			r.accept("")
			r.settled(0)
		})
	})
	t.Run("no cursor, empty log that does not begin at 1", func(t *testing.T) {
		t.Parallel()
		run(t, nil, func(r *rig) {
			r.accept(keys(5, "")...)
			other, err := r.log.Cursor("other") // it keeps the sequences from coming twice
			r.must(err)
			other.Advance(5)
			r.must(r.d.Stop(r.ctx))
			r.life.dead.Store(true)
			r.closeLogs()
			r.must(r.mem.Remove("/wal/cursors/" + CursorName + ".json"))
			entries, err := r.mem.ReadDir("/wal")
			r.must(err)
			for _, e := range entries {
				if strings.HasSuffix(e.Name, ".jsonl") {
					r.must(r.mem.Remove("/wal/" + e.Name))
				}
			}
			r.start()
			r.accept("")
			r.settled(0)
		})
	})
	t.Run("rewound", func(t *testing.T) {
		t.Parallel()
		run(t, nil, func(r *rig) {
			e := r.accept(keys(5, "")...)
			r.pass(time.Hour) // more than a recall reaches back
			r.must(r.d.Stop(r.ctx))
			r.life.dead.Store(true)
			r.must(r.d.cur.Rewind(r.ctx, 2))
			r.closeLogs()
			r.start()
			r.settled(0)
			r.require(r.broker.sent(e[1].id) == 1 && r.broker.sent(e[2].id) == 2, "sent %d and %d times", r.broker.sent(e[1].id), r.broker.sent(e[2].id))
		})
	})
}

// Damage in the log must not keep what is behind it from the bus, nor in the log
// for ever.
func TestDamagedLog(t *testing.T) {
	t.Parallel()
	run(t, nil, func(r *rig) {
		r.broker.set(func(b *broker) { b.down = true })
		r.accept(keys(10, "")...)
		r.pass(time.Second)
		r.must(r.d.Stop(r.ctx))
		r.life.dead.Store(true)
		r.closeLogs()
		r.damage(5)
		r.open()
		r.begin()
		waiting := make(chan error, 1)
		go func() { waiting <- r.d.Confirmed(r.ctx, 5) }()
		synctest.Wait()
		r.broker.set(func(b *broker) { b.down = false; b.storeLocked(r.events[4].id) }) // what is lost is no fault of ours
		r.pass(time.Minute)
		r.require(bloodbank.CodeOf(<-waiting) == bloodbank.CodeUnavailable, "somebody was told that the lost event was confirmed")
		r.settled(0)
	})
}

// damage overwrites bytes in the record of an event, in the files of a closed
// log.
func (r *rig) damage(seq int) {
	entries, err := r.mem.ReadDir("/wal")
	r.must(err)
	for _, e := range entries {
		if e.Dir || !strings.HasSuffix(e.Name, ".jsonl") {
			continue
		}
		data, err := vfs.ReadFile(r.mem, "/wal/"+e.Name)
		r.must(err)
		at := strings.Index(string(data), r.events[seq-1].id.String())
		if at < 0 {
			continue
		}
		f, err := r.mem.Open("/wal/"+e.Name, vfs.ReadWrite)
		r.must(err)
		_, err = f.WriteAt([]byte("damage"), int64(at))
		r.must(errors.Join(err, f.Close()))
	}
}

// A log that cannot be read for a while is read on afterwards.
func TestUnreadableLog(t *testing.T) {
	t.Parallel()
	run(t, nil, func(r *rig) {
		r.accept("")
		r.mem.SetHook(func(op vfs.Op) vfs.Fault {
			if op.Kind == vfs.OpRead && strings.HasPrefix(op.Path, "/wal/") {
				return vfs.Fault{Err: errors.New("input/output error")}
			}
			return vfs.Fault{}
		})
		r.accept("", "")
		r.pass(10 * time.Second)
		s := r.d.Status()
		r.require(strings.Contains(s.Fault, "cannot read the log") && s.Lag == 2, "%+v", s)
		r.mem.SetHook(nil)
		r.pass(10 * time.Second)
		r.settled(0)
	})
}

// A dead letter whose record cannot be read is listed, and stops nothing.
func TestUnreadableDeadLetter(t *testing.T) {
	t.Parallel()
	run(t, nil, func(r *rig) {
		_, err := r.deadLog.Append(r.ctx, []byte(`what is this`))
		r.must(err)
		r.restart()
		letters := r.dead.List(0, 0)
		r.require(len(letters) == 1, "%+v", letters)
		letter, err := r.dead.Get(letters[0].Number)
		r.require(err == nil && string(letter.Raw) == "what is this", "%+v %v", letter, err)
		r.require(bloodbank.CodeOf(r.d.Redrive(r.ctx, letter.Number)) == bloodbank.CodeInvalid, "redriven")
		r.accept("")
		r.settled(1)
	})
}

func TestPowerCuts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		err := inBubble(t, func(r *rig) { r.broker.safeDelay = 4 * time.Second }, func(r *rig) {
			random := rand.New(rand.NewPCG(seed, 1))
			for range 10 {
				r.accept(keys(1+random.IntN(60), "k")...)
				r.accept(keys(random.IntN(60), "")...)
				r.pass(time.Duration(random.IntN(6000)) * time.Millisecond)
				r.powerCut(random)
				r.checkAll()
			}
			r.pass(time.Minute)
			r.settled(0)
		})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func TestClosedLog(t *testing.T) {
	t.Parallel()
	run(t, nil, func(r *rig) {
		other, err := wal.Open(r.ctx, wal.Options{Dir: "/other", FS: r.mem})
		r.must(err)
		d, err := New(Options{Log: other, Publisher: r.life, Dead: r.dead})
		r.must(err)
		r.must(other.Close())
		r.require(bloodbank.CodeOf(d.Start(r.ctx)) == bloodbank.CodeUnavailable, "started")
		_, err = New(Options{Log: other, Publisher: r.life, Dead: r.dead})
		r.require(bloodbank.CodeOf(err) == bloodbank.CodeUnavailable, "%v", err)
	})
}
