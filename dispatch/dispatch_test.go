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

// A stop fails whatever waits for the bus. Nothing that comes behind it goes then,
// or a key would be out of order.
func TestStopInTheMiddleOfABatch(t *testing.T) {
	t.Parallel()
	for _, ordered := range []bool{false, true} {
		run(t, func(r *rig) { r.broker.ordered = ordered; r.broker.script = []action{block} }, func(r *rig) {
			e := r.accept("", "k", "k", "")
			r.broker.set(func(b *broker) { b.script = []action{confirm, block} })
			r.restart() // now they come at once
			r.require(r.broker.sent(e[1].id) == 1, "it does not block")
			before := r.broker.count()
			r.restart()
			r.require(len(r.broker.order) == 4 && r.broker.count() == before+3, "%d were sent", r.broker.count()-before)
			r.settled(0)
		})
	}
}

// The connection breaks and is made anew while a batch is being sent: what goes over
// the new one must not overtake what was lost with the old.
func TestNewConnectionInTheMiddleOfABatch(t *testing.T) {
	t.Parallel()
	run(t, func(r *rig) { r.broker.ordered = true; r.broker.script = []action{block} }, func(r *rig) {
		r.accept("k", "k", "j", "k", "j", "", "k")
		r.broker.set(func(b *broker) { b.script = []action{confirm, broke, broke} })
		r.restart() // now they come at once
		r.pass(time.Minute)
		r.settled(0)
		r.require(len(r.broker.order) == 7, "%d are stored", len(r.broker.order))
		r.checkAll()
	})
}
