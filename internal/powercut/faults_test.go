package powercut

import (
	"path"
	"syscall"
	"testing"
	"time"

	"github.com/33god/bloodbank/wal/vfs"
)

// TestDeadLetterOnAFullDisk has no room for a dead letter: its event stays pending, through a kill and a power cut, until
// there is room; then it is listed once. Other events go on.
func TestDeadLetterOnAFullDisk(t *testing.T) {
	t.Parallel()
	full := true
	s := setup{parked: 1000, lie: func(op vfs.Op, _ bool) vfs.Fault {
		if full && op.Kind == vfs.OpWrite && path.Dir(op.Path) == deadDir && path.Ext(op.Path) == ".jsonl" {
			return vfs.Fault{Err: syscall.ENOSPC, Short: 30}
		}
		return vfs.Fault{}
	}}
	_, err := inBubble(t, s, 1, func(w *world) {
		step{Do: "poison", Acts: []action{reject}}.run(w)
		require(w.life.lanes[0].disp.Status().Lag == 1 && w.life.lanes[0].disp.Status().Dead == 0, "it is not pending: %+v", w.life.lanes[0].disp.Status())
		for _, b := range []blow{{kill: true}, {sector: 512}} {
			w.strike(b)
			step{Do: "accept", Keys: []string{"", "a", "a"}}.run(w)
			step{Do: "accept", Keys: []string{"", "a", "a"}}.run(w)
			step{Do: "wait", Time: 5 * time.Second}.run(w)
			require(w.life.lanes[0].disp.Status().Lag == 1, "more than the dead one waits: %+v", w.life.lanes[0].disp.Status())
		}
		w.mu.Lock()
		full = false
		w.mu.Unlock()
		step{Do: "wait", Time: 5 * time.Second}.run(w)
		require(w.life.lanes[0].disp.Status().Dead == 1, "with room it is not listed: %+v", w.life.lanes[0].disp.Status())
		w.comeRight()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestClockJumpsEverywhere sets the clock of log and gateway by days while events flow and the power goes: nothing is
// lost, nothing stalls, and duplicates are known.
func TestClockJumpsEverywhere(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, s := range []setup{{safeDelay: 2 * time.Second, parked: 1000}, {parked: 1000, retain: 1 << 20, forgetful: true}} {
		_, err := inBubble(t, s, 1, func(w *world) {
			for i, jump := range []time.Duration{5 * day, -12 * day, 0, 400 * day, -3 * day, time.Hour, -time.Hour, 0} {
				step{Do: "clock", Time: jump}.run(w)
				step{Do: "batch", Keys: []string{"a", "", "b", "a"}}.run(w)
				step{Do: "again", Pick: uint64(i * 3)}.run(w)
				if i%2 == 0 {
					w.strike(blow{kill: i%4 == 0, sector: 512, keep: 0.5})
				}
				step{Do: "nothing"}.run(w)
				step{Do: "again", Pick: uint64(i * 5)}.run(w)
				step{Do: "wait", Time: 5 * time.Second}.run(w)
				step{Do: "again", Pick: uint64(i)}.run(w)
			}
			w.comeRight()
		})
		if err != nil {
			t.Error(err)
		}
	}
}
