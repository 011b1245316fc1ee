package powercut

import (
	"fmt"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/33god/bloodbank/wal/vfs"
)

// mutation takes one thing away on which the promise rests.
type mutation struct {
	name   string
	change func(*setup)
}

func (m mutation) apply(s setup) setup {
	s.onlyLoss = true
	m.change(&s)
	return s
}

// lying has operations of a kind say yes and do nothing, where which picks them.
func lying(which func(op vfs.Op, opening bool) bool) func(*setup) {
	return func(s *setup) {
		s.lie = func(op vfs.Op, opening bool) vfs.Fault {
			return vfs.Fault{Lie: which(op, opening)}
		}
	}
}

func segmentSync(op vfs.Op, dir string) bool {
	return op.Kind == vfs.OpSync && path.Dir(op.Path) == dir && strings.HasSuffix(op.Path, ".jsonl")
}

func mutations() []mutation {
	return []mutation{
		{"no fsync of the log", lying(func(op vfs.Op, _ bool) bool { return segmentSync(op, walDir) })},
		{"no fsync of the log's folder", lying(func(op vfs.Op, _ bool) bool { return op.Kind == vfs.OpSyncDir && op.Path == walDir })},
		{"no fsync of the folders above the log", lying(func(op vfs.Op, _ bool) bool {
			return op.Kind == vfs.OpSyncDir && (op.Path == "/" || op.Path == "/srv")
		})},
		{"no fsync of what a killed process left", lying(func(op vfs.Op, opening bool) bool { return opening && segmentSync(op, walDir) })},
		{"no fsync of dead letters", lying(func(op vfs.Op, _ bool) bool { return segmentSync(op, deadDir) })},
		{"a failed fsync is tried again and believed", func(s *setup) {
			var n atomic.Int64
			s.lie = func(op vfs.Op, _ bool) vfs.Fault {
				if n.Add(1)%3 == 0 && segmentSync(op, walDir) {
					return vfs.Fault{Lie: true, Drop: true}
				}
				return vfs.Fault{}
			}
		}},
		{"the answer comes before the fsync", func(s *setup) { s.early = true }},
		{"the log forgets on the confirm of a bus that can lose", func(s *setup) { s.safeDelay, s.hidesDelay = 4*time.Second, true }},
	}
}

// isLoss tells a loss, or a sequence given to another event after one, from any other failure.
func isLoss(err error) bool {
	return strings.Contains(err.Error(), "LOST") || strings.Contains(err.Error(), "names event")
}

// TestTheMachineFindsLoss breaks one promise after the other and requires that the random plans find it. If this fails,
// the machine is blind, and TestPowerCuts proves nothing.
func TestTheMachineFindsLoss(t *testing.T) {
	t.Parallel()
	plans := rapid.Custom(drawPlan)
	for _, m := range mutations() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			cuts := 0
			for seed := range 400 {
				p := plans.Example(seed)
				w, err := inBubble(t, m.apply(p.setup()), p.Seed, p.run)
				cuts += w.cuts
				if err == nil {
					continue
				}
				if !isLoss(err) {
					t.Fatalf("it fails, but not for the loss: %v", err)
				}
				t.Logf("found in plan %d, after %d power cuts: %v", seed+1, cuts, err)
				return
			}
			t.Errorf("not found in %d power cuts", cuts)
		})
	}
}

// TestTheEveryStepRunFindsLoss is the same for the cut at every step of the scenario.
func TestTheEveryStepRunFindsLoss(t *testing.T) {
	t.Parallel()
	for _, m := range mutations() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s, n := m.apply(setup{safeDelay: time.Second, parked: 1000}), 0
			_, err := inEmptyBubble(t, s, 1, func(w *world) {
				for i, moment := range watch(w, scenario) {
					n = i
					moment.goOn(w, i)
				}
			})
			if err == nil || !isLoss(err) {
				t.Fatalf("not found: %v", err)
			}
			t.Logf("found at moment %d: %v", n, err)
		})
	}
}

// TestFaultIsNoLoss is the other side: the same faults of the disk, told truly, lose nothing.
func TestFaultIsNoLoss(t *testing.T) {
	t.Parallel()
	for _, kind := range []vfs.OpKind{vfs.OpWrite, vfs.OpSync, vfs.OpSyncDir, vfs.OpCreate, vfs.OpRename} {
		for _, errno := range []error{syscall.EIO, syscall.ENOSPC} {
			t.Run(fmt.Sprint(kind, " ", errno), func(t *testing.T) {
				t.Parallel()
				s := setup{safeDelay: time.Second, parked: 1000}
				_, err := inBubble(t, s, 1, func(w *world) {
					for i := range 40 {
						step{Do: "fault", Fault: fault{kind, vfs.Fault{Err: errno, Drop: kind == vfs.OpSync, Short: 10 * i}}}.run(w)
						step{Do: "accept", Keys: []string{"a", "", "a"}, In: 10 + i%7, Blow: blow{kill: i%3 == 0, keep: 0.5, sector: 512}, Again: []int{i}}.run(w)
						step{Do: "wait", Time: 400 * time.Millisecond}.run(w)
					}
					w.comeRight()
				})
				if err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}
