package powercut

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank/wal/vfs"
)

const segmentSize = 8192

// setup is what stays the same during a run.
type setup struct {
	safeDelay time.Duration
	forgetful bool
	parked    int
	second    bool  // a target beside the main bus, which loses what the main bus does not
	retain    int64 // bytes of archives
	liesAside bool  // the disk lies where no promise depends on it: cursors and archives
	onlyLoss  bool  // does not care that the bus could lose something, only that it has

	// Mutations: each takes away what a promise rests on.
	hidesDelay bool
	early      bool
	lie        func(op vfs.Op, opening bool) vfs.Fault
}

// blow is a power cut, or the death of the process alone, to come.
type blow struct {
	kill    bool
	keep    float64
	garbage float64
	sector  int64
}

// ofPower is the power cut that follows a blow.
func (b blow) ofPower() blow {
	b.kill = false
	return b
}

// world is everything: what survives (disk, bus, book) and the life that runs on it.
type world struct {
	ctx     context.Context
	setup   setup
	random  *rand.Rand // guarded by mu while a life runs
	brokers []*broker  // the first is the main bus
	book    *book
	life    *life
	cuts    int // of power
	kills   int
	clock   atomic.Int64 // nanoseconds by which the clock is wrong

	mu      sync.Mutex
	disk    *vfs.Mem
	left    *vfs.Mem // of the disk, after a blow
	in      int      // operations until the next blow; 0: none is to come
	blow    blow
	faults  []fault // to come, each once
	failed  bool    // a fault has hit since this was cleared
	onWrite func()  // called before each change of the disk
}

// fault is an operation that fails.
type fault struct {
	kind  vfs.OpKind
	fault vfs.Fault
}

func newWorld(ctx context.Context, s setup, seed uint64) *world {
	w := &world{ctx: ctx, setup: s, random: rand.New(rand.NewPCG(seed, 1)), book: newBook(), disk: vfs.NewMem()}
	b := newBroker()
	b.safeDelay, b.hides, b.forgetful = s.safeDelay, s.hidesDelay, s.forgetful
	w.brokers = append(w.brokers, b)
	if s.second {
		b := newBroker()
		b.target, b.forgetful = "second", !s.forgetful
		if s.safeDelay == 0 {
			b.safeDelay = 3 * time.Second
		}
		w.brokers = append(w.brokers, b)
	}
	return w
}

// hook is asked before every operation of one life on the disk.
func (w *world) hook(l *life) func(vfs.Op) vfs.Fault {
	return func(op vfs.Op) vfs.Fault {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !l.alive.Load() {
			return vfs.Fault{Err: errPowerOff}
		}
		if !op.Kind.Changes() {
			return vfs.Fault{}
		}
		if w.onWrite != nil && w.life == l {
			w.onWrite()
		}
		if w.in > 0 {
			if w.in--; w.in == 0 {
				w.strikeLocked(l)
				return vfs.Fault{Err: errPowerOff}
			}
		}
		return w.faultLocked(l, op)
	}
}

func (w *world) faultLocked(l *life, op vfs.Op) vfs.Fault {
	if len(w.faults) > 0 && w.faults[0].kind == op.Kind {
		f := w.faults[0].fault
		w.faults, w.failed = w.faults[1:], true
		return f
	}
	if w.setup.liesAside && (inFolder(op, walDir+"/cursors") || inFolder(op, walDir+"/archive")) {
		return vfs.Fault{Lie: true}
	}
	if w.setup.lie != nil {
		return w.setup.lie(op, l.opening.Load())
	}
	return vfs.Fault{}
}

// strikeLocked ends a life. What it has told the world until now counts.
func (w *world) strikeLocked(l *life) {
	l.alive.Store(false)
	if w.blow.kill {
		w.left = w.disk.KillClone()
		w.kills++
		return
	}
	w.left = w.disk.CrashClone(vfs.Crash{Rand: w.random, Keep: w.blow.keep, Garbage: w.blow.garbage, Sector: w.blow.sector})
	for _, b := range w.brokers {
		b.cutPower(w.random)
	}
	w.cuts++
}

// arm has a blow come before the nth change of the disk from now on.
func (w *world) arm(n int, b blow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.in, w.blow = n, b
}

// strike is a blow at this moment.
func (w *world) strike(b blow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.life.alive.Load() {
		w.in, w.blow = 0, b
		w.strikeLocked(w.life)
	}
}

// start begins a new life on what is left. While it recovers it is struck again, after as many operations as again says.
func (w *world) start(again []int, b blow) {
	for try := 0; ; try++ {
		require(try < 100, "no recovery has come through in %d tries", try)
		l := &life{acked: map[id]bool{}}
		l.alive.Store(true)
		w.life = l
		w.eachBroker(func(b *broker) { b.losing = 0 })
		w.disk.SetHook(w.hook(l))
		if len(again) > 0 {
			w.arm(again[0], b)
			again = again[1:]
		}
		err := l.open(w.ctx, w, w.disk)
		if err == nil {
			w.adopt()
			if err = l.start(w.ctx); err == nil {
				synctest.Wait()
				if l.alive.Load() {
					return
				}
			}
		}
		w.mu.Lock()
		excused := !l.alive.Load() || w.failed
		w.failed = false
		w.mu.Unlock()
		require(excused, "the recovery failed: %v", err)
		w.bury()
	}
}

// bury ends the process that was struck, or failed to start, and makes what is left the disk of the next one.
func (w *world) bury() {
	if w.life.alive.Load() {
		w.strike(blow{kill: true})
	}
	_ = w.life.end(context.WithoutCancel(w.ctx)) // its errors reach nobody
	w.life = nil
	w.mu.Lock()
	defer w.mu.Unlock()
	w.disk, w.left, w.in = w.left, nil, 0
}

// restart stops a life in order and begins another.
func (w *world) restart() {
	err := w.life.end(w.ctx)
	w.mu.Lock()
	struck := !w.life.alive.Load()
	excused := w.failed
	w.failed = false
	w.mu.Unlock()
	if !struck {
		require(err == nil || excused, "the end failed: %v", err)
		w.life.alive.Store(false)
		w.disk.SetHook(nil)
		w.life, w.in = nil, 0
	} else {
		w.bury()
	}
	w.start(nil, blow{})
}

// eachBroker changes all brokers under their locks.
func (w *world) eachBroker(change func(*broker)) {
	for _, b := range w.brokers {
		b.set(change)
	}
}

// anyBroker is the one that pick says.
func (w *world) anyBroker(pick uint64) *broker { return w.brokers[pick%uint64(len(w.brokers))] }

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// inBubble runs a scenario in virtual time, in a world of its own, and returns the promise that was broken.
func inBubble(t *testing.T, s setup, seed uint64, scenario func(*world)) (w *world, err error) {
	t.Helper()
	return inEmptyBubble(t, s, seed, func(w *world) {
		w.start(nil, blow{})
		scenario(w)
	})
}

// inEmptyBubble is inBubble before the first life.
func inEmptyBubble(t *testing.T, s setup, seed uint64, scenario func(*world)) (w *world, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(t.Context(), s, seed)
		defer func() {
			switch v := recover().(type) {
			case nil:
			case violation:
				err = v.error
			default:
				panic(v)
			}
			if w.life != nil {
				w.bury()
			}
		}()
		scenario(w)
	})
	return w, err
}
