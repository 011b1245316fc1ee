package powercut

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank/wal/vfs"
)

// moment is the whole world just before a change of the disk.
type moment struct {
	n       int
	disk    *vfs.Mem
	book    *book
	brokers []*broker // as the blow leaves them
	blow    blow
}

// blows are the ways in which the power goes at every step.
func blows() []blow {
	return []blow{
		{keep: 0, sector: 512}, {keep: 1, sector: 512}, {kill: true},
		{keep: 0.5, sector: 512, garbage: 0.5}, {keep: 0.5, sector: 4096}, {keep: 0.9, sector: 512}, {keep: 0.1, sector: 4096},
	}
}

// TestCutAtEveryStep cuts the power, in each of several ways, before every single change that a scenario makes to the
// disk, and every other time once more during the recovery.
func TestCutAtEveryStep(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]setup{
		"bus that loses its end": {safeDelay: time.Second, parked: 1000, retain: 1 << 20},
		"bus that loses nothing": {parked: 1000},
		"two targets":            {parked: 1000, second: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin, cuts := time.Now(), 0
			var moments []moment
			_, err := inEmptyBubble(t, s, 1, func(w *world) {
				moments = watch(w, scenario)
				for i, m := range moments {
					cuts += m.goOn(w, i)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(moments) < 200*len(blows()) {
				t.Errorf("only %d moments: the scenario does too little", len(moments))
			}
			t.Logf("%d changes of the disk, %d cuts, %.1f s", len(moments)/len(blows()), cuts, time.Since(begin).Seconds())
		})
	}
}

// watch runs a scenario in a life of its own and keeps every moment of it.
func watch(w *world, scenario func(*world)) []moment {
	var moments []moment
	n, random := 0, rand.New(rand.NewPCG(2, 2))
	w.mu.Lock()
	w.onWrite = func() {
		n++
		book := w.book.clone() // before the disk: what it says must be there
		disk := w.disk.KillClone()
		for _, blow := range blows() {
			m := moment{n: n, disk: disk, book: book, blow: blow}
			for _, b := range w.brokers {
				b = b.clone()
				if !blow.kill {
					b.cutPower(random)
				}
				m.brokers = append(m.brokers, b)
			}
			moments = append(moments, m)
		}
	}
	w.mu.Unlock()
	w.start(nil, blow{})
	scenario(w)
	w.check()
	w.bury()
	return moments
}

// goOn begins a new life after the blow at this moment and returns how many blows it took.
func (m moment) goOn(was *world, i int) int {
	defer func() {
		if v, ok := recover().(violation); ok {
			panic(violation{fmt.Errorf("%+v before change %d: %w", m.blow, m.n, v.error)})
		}
	}()
	w := newWorld(was.ctx, was.setup, uint64(i))
	w.brokers, w.book, w.disk = m.brokers, m.book.clone(), m.disk.KillClone()
	w.book.offered = was.book.clone().offered // also what was on its way at that moment
	if !m.blow.kill {
		w.disk = m.disk.CrashClone(vfs.Crash{Rand: w.random, Keep: m.blow.keep, Garbage: m.blow.garbage, Sector: m.blow.sector})
	}
	var again []int
	if i%2 == 0 {
		again = []int{1 + i/2%60}
	}
	if m.blow.kill { // shows nothing by itself: what it left unsynced is lost by a cut soon after
		w.start(nil, blow{})
		w.check()
		w.strike(blow{sector: 512})
		w.bury()
	}
	w.start(again, m.blow.ofPower())
	defer func() {
		if w.life != nil {
			w.bury()
		}
	}()
	w.check()
	w.eachBroker(func(b *broker) { b.down, b.script = false, nil })
	w.accept(w.envelope("a", 1))
	w.pass(1500 * time.Millisecond)
	if !w.life.alive.Load() {
		w.bury()
		w.start(nil, blow{})
	}
	w.check()
	return 1 + w.cuts + w.kills
}

// scenario does everything once: single events, batches, crowds, duplicates, every answer of the bus, dead letters, one
// of them sent again, segments that rotate and go, a restart in order and two that are none.
func scenario(w *world) {
	do := func(steps ...step) {
		for _, s := range steps {
			s.run(w)
		}
	}
	keys := []string{"a", "", "b", "a"}
	do(step{Do: "accept", Keys: keys}, step{Do: "batch", Keys: append(keys, keys...)}, step{Do: "again", Pick: 3})
	do(step{Do: "script", Acts: []action{lose, happened, slow, refuse, reject, confirm, silent}}, step{Do: "crowd", Keys: append(keys, keys...)})
	do(step{Do: "poison", Acts: []action{reject}}, step{Do: "wait", Time: 3 * time.Second}, step{Do: "down"}, step{Do: "batch", Keys: keys})
	do(step{Do: "restart"}, step{Do: "up"}, step{Do: "wait", Time: 5 * time.Second}, step{Do: "again", Pick: 1})
	do(step{Do: "redrive"}, step{Do: "wait", Time: 5 * time.Second})
	for range 6 {
		do(step{Do: "batch", Keys: append(keys, keys...), Pick: 399}, step{Do: "wait", Time: 700 * time.Millisecond})
	}
	w.strike(blow{kill: true})
	do(step{Do: "nothing"}, step{Do: "accept", Keys: keys}, step{Do: "wait", Time: time.Second})
	synctest.Wait()
}
