package dispatch

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/wal/vfs"
)

const testDelay = 3 * time.Second

func losing(r *rig) { r.broker.safeDelay = testDelay }

// waiting lists the dead letters that were delivered and are not closed yet.
func (r *rig) waiting() (list []uint64) {
	for _, l := range r.dead.List(0, 0) {
		if l.delivered() {
			list = append(list, l.Number)
		}
	}
	return list
}

// A bus that syncs later can lose what it confirmed, when the log has forgotten
// the event long ago.
func TestRedrivenDeadLetterSurvivesAPowerCut(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		run(t, losing, func(r *rig) {
			e := r.poison("", reject)
			r.accept(keys(5, "")...)
			r.pass(5 * time.Second) // the cursor passes it
			r.broker.set(func(b *broker) { delete(b.always, e.id) })
			r.must(r.d.Redrive(r.ctx, 1))
			r.powerCut(rand.New(rand.NewPCG(seed, 7)))
			_, onBus := r.broker.stored[e.id]
			r.require(onBus || r.dead.Open() == 1, "event 1 is neither on the bus nor listed")
			r.require(len(r.waiting()) == 0, "it counts as delivered")
			r.must(r.d.Redrive(r.ctx, 1))
			r.pass(testDelay)
			r.settled(0)
		})
	}
}

// Until the bus is safe the dead letter is listed, and neither sent nor discarded;
// nobody waits for that.
func TestDeliveredDeadLetterWaits(t *testing.T) {
	t.Parallel()
	run(t, losing, func(r *rig) {
		letters := r.bury("k", "k", "")
		begin := time.Now()
		r.must(r.d.Redrive(r.ctx, 1))
		r.require(time.Since(begin) == 0, "it took %v", time.Since(begin))
		got, err := r.dead.Get(1)
		r.must(err)
		r.require(got.ConfirmedAt.Equal(begin) && r.dead.Open() == 3 && r.d.Status().Dead == 3, "%+v", got)
		err = r.d.Redrive(r.ctx, 1)
		r.require(bloodbank.CodeOf(err) == bloodbank.CodeConflict && strings.Contains(err.Error(), "was delivered"), "%v", err)

		// Who chooses all means those that are left.
		r.broker.set(func(b *broker) { b.always[letters[2].EventID] = reject })
		some, err := r.dead.RedriveMany(r.ctx, RedriveRequest{})
		r.must(err)
		r.require(some.Matched == 2 && numbersOf(some.Outcomes, false) == "[2]" && numbersOf(some.Outcomes, true) == "[3]", "%+v", some)
		all, err := r.dead.Discard(r.ctx, DiscardRequest{Reason: "no use", DryRun: true})
		r.must(err)
		r.require(all.Matched == 1, "%+v", all)

		// Who names it is told; it keeps nobody of its key back.
		named, err := r.dead.Discard(r.ctx, DiscardRequest{Filter: Filter{Numbers: []uint64{1}}, Reason: "no use"})
		r.must(err)
		r.require(len(named.Outcomes) == 1 && bloodbank.CodeOf(named.Outcomes[0].Err) == bloodbank.CodeConflict && named.Left == 1, "%+v", named)
		r.pass(testDelay - time.Millisecond)
		r.require(len(r.waiting()) == 2, "closed after %v", time.Since(begin))
		r.pass(time.Millisecond)
		r.require(len(r.waiting()) == 0 && r.dead.Open() == 1 && r.broker.sent(letters[0].EventID) == 2, "it waits for ever")
		r.settled(1)
		r.restart()
		r.settled(1)
	})
}

// One of a key that waits to be closed does not count as one that stays.
func TestDeliveredDeadLetterBlocksNoKey(t *testing.T) {
	t.Parallel()
	run(t, losing, func(r *rig) {
		r.bury(keys(3, "k")...)
		first, err := r.dead.RedriveMany(r.ctx, RedriveRequest{Limit: 1})
		r.must(err)
		named := Filter{Numbers: []uint64{1, 2, 3}}
		second, err := r.dead.RedriveMany(r.ctx, RedriveRequest{Filter: named, After: first.Next, Limit: 1})
		r.must(err)
		r.require(numbersOf(second.Outcomes, false) == "[2]", "%+v", second)
		third, err := r.dead.RedriveMany(r.ctx, RedriveRequest{Filter: named})
		r.must(err)
		r.require(numbersOf(third.Outcomes, true) == "[1 2]" && numbersOf(third.Outcomes, false) == "[3]", "%+v", third)
		r.pass(testDelay)
		r.settled(0)
	})
}

// Those that wait do not count against those that are being sent.
func TestManyDeliveredDeadLetters(t *testing.T) {
	t.Parallel()
	run(t, losing, func(r *rig) {
		const n = maxRedrives + 2*closeBatch
		r.bury(keys(n, "")...)
		report, err := r.dead.RedriveMany(r.ctx, RedriveRequest{})
		r.must(err)
		r.require(numbersOf(report.Outcomes, true) == "[]" && len(r.waiting()) == n, "%d wait: %+v", len(r.waiting()), report.Stopped)
		r.pass(testDelay)
		r.require(len(r.d.redriving) == 0, "%d are remembered", len(r.d.redriving))
		r.settled(0)
	})
}

// A stop gives them back: nobody knows whether the bus keeps them.
func TestStopGivesDeliveredDeadLettersBack(t *testing.T) {
	t.Parallel()
	run(t, losing, func(r *rig) {
		letter := r.bury("")[0]
		r.must(r.d.Redrive(r.ctx, 1))
		r.must(r.d.Stop(r.ctx))
		r.require(len(r.waiting()) == 0 && r.dead.Open() == 1, "%+v", r.dead.List(0, 0))
		r.restart()
		r.settled(1)
		r.must(r.d.Redrive(r.ctx, 1))
		r.pass(testDelay)
		r.settled(0)
		r.require(r.broker.sent(letter.EventID) == 3, "sent %d times", r.broker.sent(letter.EventID))
	})
}

func TestDeliveredDeadLettersOnAFullDisk(t *testing.T) {
	t.Parallel()
	run(t, losing, func(r *rig) {
		r.bury("", "", "")
		r.mem.SetHook(func(op vfs.Op) vfs.Fault {
			if op.Kind == vfs.OpWrite && strings.HasPrefix(op.Path, "/dead/") {
				return vfs.Fault{Err: errors.New("no space left")}
			}
			return vfs.Fault{}
		})
		r.must(r.d.Redrive(r.ctx, 1))
		r.pass(time.Second)
		r.must(r.d.Redrive(r.ctx, 2))
		r.pass(time.Minute)
		r.require(len(r.waiting()) == 2, "%v wait", r.waiting())
		r.mem.SetHook(nil)
		r.must(r.d.Redrive(r.ctx, 3))
		r.pass(time.Minute)
		r.settled(0)
	})
}
