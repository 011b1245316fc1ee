package powercut

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/gateway"
	"github.com/33god/bloodbank/wal/vfs"
)

// cutsPerPlan is how many power cuts a plan has, about.
const cutsPerPlan = 8

// plan is a run, drawn before it begins.
type plan struct {
	SafeDelay time.Duration
	Forgetful bool
	Parked    int
	Retain    int64
	LiesAside bool
	Second    bool
	Seed      uint64
	Steps     []step
}

// step is one thing that happens, with a blow that may come in the middle of it.
type step struct {
	Do    string
	Keys  []string
	Acts  []action
	Time  time.Duration
	Pick  uint64
	Fault fault
	// Blow comes before the Inth change of the disk from the beginning of the step; 0: not at all.
	In    int
	Blow  blow
	Again []int // blows during the recoveries
}

func drawPlan(t *rapid.T) plan {
	return plan{
		SafeDelay: rapid.SampledFrom([]time.Duration{0, 4 * time.Second}).Draw(t, "safe delay"),
		Forgetful: rapid.Bool().Draw(t, "forgetful"),
		Parked:    rapid.SampledFrom([]int{5, 1000}).Draw(t, "parked"),
		Retain:    rapid.SampledFrom([]int64{0, 2000, 1 << 20}).Draw(t, "retain"),
		LiesAside: rapid.Bool().Draw(t, "lies aside"),
		Second:    rapid.Bool().Draw(t, "second target"),
		Seed:      rapid.Uint64().Draw(t, "seed"),
		Steps:     rapid.SliceOfN(rapid.Custom(drawStep), 10, 40).Draw(t, "steps"),
	}
}

func (p plan) setup() setup {
	return setup{safeDelay: p.SafeDelay, forgetful: p.Forgetful, parked: p.Parked, retain: p.Retain, second: p.Second, liesAside: p.LiesAside}
}

func drawStep(t *rapid.T) step {
	s := step{Do: rapid.SampledFrom([]string{
		"accept", "accept", "accept", "batch", "batch", "crowd", "crowd", "again", "again", "script", "script", "poison",
		"wait", "wait", "wait", "down", "up", "redrive", "restart", "fault", "clock", "nothing",
	}).Draw(t, "do")}
	switch s.Do {
	case "accept", "batch", "crowd":
		s.Keys = rapid.SliceOfN(rapid.SampledFrom([]string{"", "", "a", "b"}), 1, 12).Draw(t, "keys")
	case "script":
		s.Acts = rapid.SliceOfN(rapid.SampledFrom([]action{confirm, slow, lose, happened, refuse, reject, silent}), 1, 10).Draw(t, "acts")
	case "poison":
		s.Acts = []action{rapid.SampledFrom([]action{fail, reject}).Draw(t, "act")}
	case "wait":
		s.Time = time.Duration(rapid.IntRange(1, 9000).Draw(t, "ms")) * time.Millisecond
	case "fault":
		s.Fault = drawFault(t)
	case "clock":
		s.Time = time.Duration(rapid.IntRange(-400, 400).Draw(t, "hours")) * time.Hour
	}
	s.Pick = rapid.Uint64().Draw(t, "pick")
	if rapid.IntRange(0, 9).Draw(t, "blow") < 6 {
		s.In = rapid.IntRange(1, 40).Draw(t, "in")
		s.Again = rapid.SliceOfN(rapid.IntRange(1, 30), 0, 3).Draw(t, "again")
		s.Blow = blow{
			kill:    rapid.IntRange(0, 4).Draw(t, "kill") == 3,
			keep:    rapid.SampledFrom([]float64{0, 0.1, 0.5, 0.9, 1}).Draw(t, "keep"),
			garbage: rapid.SampledFrom([]float64{0, 0.5}).Draw(t, "garbage"),
			sector:  rapid.SampledFrom([]int64{512, 4096}).Draw(t, "sector"),
		}
	}
	return s
}

func drawFault(t *rapid.T) fault {
	kind := rapid.SampledFrom([]vfs.OpKind{vfs.OpWrite, vfs.OpSync, vfs.OpSync, vfs.OpCreate, vfs.OpRename, vfs.OpRemove, vfs.OpTruncate, vfs.OpSyncDir}).Draw(t, "operation")
	f := vfs.Fault{
		Err:      rapid.SampledFrom([]error{syscall.EIO, syscall.ENOSPC}).Draw(t, "error"),
		Happened: rapid.Bool().Draw(t, "happened"),
		Short:    rapid.IntRange(0, 600).Draw(t, "short"),
	}
	f.Drop = kind == vfs.OpSync && !f.Happened
	return fault{kind, f}
}

// GoString is what rapid shows of a plan that failed.
func (s step) GoString() string {
	text := s.Do
	if len(s.Keys)+len(s.Acts) > 0 {
		text += fmt.Sprintf(" %q%q", s.Keys, s.Acts)
	}
	if s.Do == "wait" || s.Do == "clock" {
		text += " " + s.Time.String()
	}
	if s.Do == "fault" {
		text += fmt.Sprintf(" %+v", s.Fault)
	}
	if s.In > 0 {
		text += fmt.Sprintf(" blow in %d %+v, then %v", s.In, s.Blow, s.Again)
	}
	return text + "\n"
}

// run does the step, and all that a blow in it brings about.
func (s step) run(w *world) {
	if s.In > 0 {
		w.arm(s.In, s.Blow)
	}
	s.act(w)
	synctest.Wait()
	if !w.life.alive.Load() {
		w.bury()
		w.start(s.Again, s.Blow.ofPower())
	}
	w.check()
	if !w.life.alive.Load() { // struck again, after the recovery
		w.bury()
		w.start(nil, blow{})
		w.check()
	}
}

func (s step) act(w *world) {
	switch s.Do {
	case "accept":
		for _, key := range s.Keys {
			w.accept(w.envelope(key, s.Pick))
		}
	case "batch":
		var batch []bloodbank.Envelope
		for _, key := range s.Keys {
			batch = append(batch, w.envelope(key, s.Pick))
		}
		w.accept(batch...)
	case "crowd":
		var wg sync.WaitGroup
		for _, key := range s.Keys {
			e := w.envelope(key, s.Pick)
			wg.Go(func() { w.accept(e) })
		}
		wg.Wait()
	case "again":
		w.acceptAgain(s.Pick)
	case "script":
		w.anyBroker(s.Pick).set(func(b *broker) { b.script = append(b.script, s.Acts...) })
	case "poison":
		e := w.envelope("", s.Pick)
		w.anyBroker(s.Pick).set(func(b *broker) { b.always[e.EventID] = s.Acts[0] })
		w.accept(e)
	case "wait":
		w.pass(s.Time)
	case "down", "up":
		w.anyBroker(s.Pick).set(func(b *broker) { b.down = s.Do == "down" })
	case "redrive":
		w.redrive(s.Pick)
	case "restart":
		w.restart()
	case "clock":
		w.clock.Store(int64(s.Time))
	case "fault":
		w.mu.Lock()
		w.faults = append(w.faults, s.Fault)
		w.mu.Unlock()
	}
}

// envelope makes an event that is offered from now on: every other one with an id that holds the time.
func (w *world) envelope(key string, pick uint64) bloodbank.Envelope {
	w.book.mu.Lock()
	n := uint64(len(w.book.offered) + 1)
	w.book.mu.Unlock()
	var id bloodbank.EventID
	binary.BigEndian.PutUint64(id[8:], n)
	id[8] |= 0x80
	id[6] = 0x40
	if n%2 == 0 {
		binary.BigEndian.PutUint64(id[:8], uint64(time.Now().UnixMilli())<<16) // by a clock that is right
		id[6] = 0x70
	}
	payload := fmt.Sprintf(`{"n":%d,"pad":%q}`, n, strings.Repeat("p", int((pick+n*97)%400)))
	w.book.offer(id, offer{key, payload})
	return bloodbank.Envelope{EventID: id, EventType: "demo.thing.happened", OrderingKey: key, Payload: []byte(payload)}
}

// accept offers events to the gateway and keeps the receipts. It may fail only for a reason that was put there.
func (w *world) accept(events ...bloodbank.Envelope) { w.acceptPromised(false, events...) }

func (w *world) acceptPromised(duplicate bool, events ...bloodbank.Envelope) {
	l := w.life
	var requests []gateway.Request
	for _, e := range events {
		requests = append(requests, gateway.Request{Envelope: e})
	}
	receipts, err := l.gateway.AcceptAll(w.ctx, requests)
	if err == nil {
		for _, r := range receipts {
			w.book.ack(l, r, duplicate)
		}
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.alive.Load() && !w.failed {
		w.book.mu.Lock()
		defer w.book.mu.Unlock()
		w.book.faultLocked("events are refused without a reason: %v", err)
	}
}

// acceptAgain offers an accepted event a second time.
func (w *world) acceptAgain(pick uint64) {
	_, safe := w.brokers[0].view()
	var ids []id
	w.book.mu.Lock()
	for id := range w.book.acked {
		ids = append(ids, id)
	}
	w.book.mu.Unlock()
	if len(ids) == 0 {
		return
	}
	slices.SortFunc(ids, func(a, b id) int { return slices.Compare(a[:], b[:]) })
	which := ids[pick%uint64(len(ids))]
	records := w.readLog()
	w.book.mu.Lock()
	o := w.book.offered[which]
	known := w.life.acked[which] || safe[which]
	w.book.mu.Unlock()
	for _, id := range records {
		known = known || id == which
	}
	w.acceptPromised(known, bloodbank.Envelope{EventID: which, EventType: "demo.thing.happened", OrderingKey: o.key, Payload: []byte(o.payload)})
}

// redrive sends any dead letter again, whatever comes of it.
func (w *world) redrive(pick uint64) {
	letters := w.life.dead.List(0, 0)
	if len(letters) == 0 {
		return
	}
	letter := letters[pick%uint64(len(letters))]
	way := w.life.laneOf(letter.Target)
	if pick%2 == 0 {
		way.broker.set(func(b *broker) { delete(b.always, letter.EventID) })
	}
	ctx, cancel := context.WithTimeout(w.ctx, 3*time.Second)
	defer cancel()
	if way.disp.Redrive(ctx, letter.Number) == nil {
		for _, open := range w.life.dead.List(0, 0) {
			waits := way.broker.safeDelay > 0 && !way.broker.hides && !open.ConfirmedAt.IsZero()
			require(open.Number != letter.Number || waits || !w.life.alive.Load(), "dead letter %d was delivered and is listed", letter.Number)
		}
	}
}

// run does a whole plan and then lets the world come right.
func (p plan) run(w *world) {
	for i, s := range p.Steps {
		func() {
			defer func() {
				if v, ok := recover().(violation); ok {
					panic(violation{fmt.Errorf("step %d (%s): %w", i+1, s.Do, v.error)})
				}
			}()
			s.run(w)
		}()
	}
	w.comeRight()
}

// comeRight mends everything and requires that it comes to rest. What the bus never answered is sent again by the next
// life.
func (w *world) comeRight() {
	w.mu.Lock()
	w.faults, w.in, w.failed = nil, 0, false
	w.mu.Unlock()
	w.eachBroker(func(b *broker) { b.down, b.script = false, nil })
	w.restart()
	for range 8 {
		w.accept(w.envelope("", 1))
		w.pass(10 * time.Second)
	}
	w.checkRest()
}
