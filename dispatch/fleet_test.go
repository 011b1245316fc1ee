package dispatch

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/wal"
	"github.com/33god/bloodbank/wal/vfs"
)

// fleet is several dispatchers on one log, as rig is one. Its failures are panics
// with the reason, like those of rig.
type fleet struct {
	rig
	legs     []*leg
	keep     *Retention
	forgot   uint64   // what the log had forgotten when this life began
	discards []func() // what must hold in the end of what was discarded
}

// leg is a target with its bus. The bus outlives the process.
type leg struct {
	name      string
	rule      Rule
	change    func(*Options)
	broker    *broker
	off       bool // not configured at the moment
	life      *life
	d         *Dispatcher
	begin     uint64 // the first sequence that it is to get
	excused   map[bloodbank.EventID]bool
	discarded map[uint64]bool
}

const (
	typeThing = "demo.thing.happened"
	typeOther = "demo.other.happened"
)

func newFleet(ctx context.Context) *fleet {
	f := &fleet{rig: rig{ctx: ctx, mem: vfs.NewMem()}}
	f.add("", Rule{}, nil)
	return f
}

func (f *fleet) add(name string, rule Rule, change func(*Options)) *leg {
	l := &leg{name: name, rule: rule, change: change, broker: newBroker(), begin: 1, excused: make(map[bloodbank.EventID]bool), discarded: make(map[uint64]bool)}
	f.legs = append(f.legs, l)
	return l
}

// inFleet runs a scenario in virtual time.
func inFleet(t *testing.T, scenario func(*fleet)) (err error) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t.Context())
		defer func() {
			switch v := recover().(type) {
			case nil:
			case failure:
				err = v.error
			default:
				panic(v)
			}
			f.crashed()
		}()
		scenario(f)
		f.check()
	})
	return err
}

func runFleet(t *testing.T, scenario func(*fleet)) {
	t.Helper()
	if err := inFleet(t, scenario); err != nil {
		t.Fatal(err)
	}
}

// start begins a life of the process with the legs that are configured.
func (f *fleet) start() {
	f.open()
	f.forgot = max(f.log.First(), 1) - 1
	var err error
	f.keep, err = NewRetention(f.log, f.journal)
	f.must(err)
	for _, l := range f.legs {
		if !l.off {
			f.startLeg(l)
		}
	}
	synctest.Wait()
}

func (f *fleet) startLeg(l *leg) {
	l.life = &life{b: l.broker}
	var p bus.Publisher = remembering{l.life}
	if l.broker.forgetful {
		p = l.life
	}
	o := Options{Log: f.log, Publisher: p, Dead: f.dead, Target: l.name, Accepts: l.rule, Retention: f.keep, MaxAttempts: 3}
	if l.change != nil {
		l.change(&o)
	}
	var err error
	l.d, err = New(o)
	f.must(err)
	f.must(l.d.Start(f.ctx))
}

func (f *fleet) each(do func(*leg)) {
	for _, l := range f.legs {
		if l.d != nil {
			do(l)
		}
	}
}

func (f *fleet) stop() {
	f.each(func(l *leg) {
		f.must(l.d.Stop(f.ctx))
		l.life.dead.Store(true)
		l.d = nil
	})
	f.must(errors.Join(f.log.Close(), f.deadLog.Close(), f.noteLog.Close()))
}

func (f *fleet) restart() {
	f.stop()
	f.start()
}

func (f *fleet) crash(random *rand.Rand, keep float64) {
	after := f.mem.CrashClone(vfs.Crash{Keep: keep, Rand: random})
	f.crashed()
	f.mem = after
	if keep < 1 {
		for _, l := range f.legs {
			l.broker.cutPower(random)
		}
	}
	f.start()
}

func (f *fleet) crashed() {
	ctx := context.WithoutCancel(f.ctx)
	f.each(func(l *leg) { l.life.dead.Store(true) })
	f.each(func(l *leg) { _ = l.d.Stop(ctx); l.d = nil })
	for _, log := range []*wal.Log{f.log, f.deadLog, f.noteLog} {
		if log != nil {
			_ = log.Close()
		}
	}
}

// acceptTyped accepts events of a type with the given keys.
func (f *fleet) acceptTyped(eventType bloodbank.EventType, keys ...string) []event {
	for _, key := range keys {
		e := bloodbank.Envelope{
			EventID: eventID(len(f.events)), EventType: eventType, Timestamp: time.Now(), Version: bloodbank.Version, OrderingKey: key,
			Source: bloodbank.Source{Host: "h", Type: bloodbank.SourceManual}, Payload: []byte(`{"n":1}`),
		}
		record, err := e.AppendJSON(nil)
		f.must(err)
		f.acceptRecord(event{id: e.EventID, key: key, kind: eventType}, record)
	}
	synctest.Wait()
	return f.events[len(f.events)-len(keys):]
}

func (l *leg) takes(e event) bool {
	return l.rule.all() || !e.odd && l.rule.takes(&message{bus: bus.Message{Type: e.kind, Data: e.data}})
}

// check requires what must hold at any quiet moment: for each target every
// sequence that it takes is in exactly one of pending, confirmed, dead and
// discarded, keys are in order, and nobody misses what the log has forgotten.
func (f *fleet) check() {
	synctest.Wait()
	open := make(map[place]int)
	for _, letter := range f.dead.List(0, 0) {
		open[letter.place()]++
	}
	for _, l := range f.legs {
		name := targetName(l.name)
		if l.d == nil {
			continue
		}
		f.checkLeg(l, name, open)
	}
	least := f.log.Last()
	for _, h := range f.keep.Holds() {
		least = min(least, h.Position)
	}
	// After a power cut a cursor may stand before what was rightly forgotten.
	f.require(f.log.First() <= max(least, f.forgot)+1, "the log begins at %d, somebody is at %d", f.log.First(), least)
}

func (f *fleet) checkLeg(l *leg, name string, open map[place]int) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	l.broker.mu.Lock()
	defer l.broker.mu.Unlock()
	f.require(l.d.cur.Position() <= l.d.progress.position, "%s: cursor %d behind position %d", name, l.d.cur.Position(), l.d.progress.position)
	pending := uint64(0)
	for i, e := range f.events {
		seq := uint64(i + 1)
		settled, dead := l.d.progress.settled(seq), open[place{name, seq}]
		if !settled {
			pending++
		}
		if seq < l.begin {
			continue
		}
		_, stored := l.broker.stored[e.id]
		if dead == 1 {
			l.excused[e.id] = true
		}
		f.require(dead <= 1, "%s: event %d is listed %d times", name, seq, dead)
		f.require(dead == 0 || settled, "%s: event %d is dead and pending", name, seq)
		if !l.takes(e) {
			f.require(l.broker.calls[e.id] == 0 && dead == 0, "%s: event %d was sent though it is not taken", name, seq)
			continue
		}
		f.require(!settled || dead == 1 || stored || l.discarded[seq], "%s: event %d is settled, not dead and not on the bus", name, seq)
	}
	f.require(f.log.Last()-l.d.progress.position-l.d.progress.countAhead() == pending, "%s: the lag is not %d", name, pending)
	newest := make(map[string]int)
	for _, id := range l.broker.order {
		seq := int(id[1])<<8 + int(id[2])
		key := f.events[seq].key
		if key == "" || l.excused[id] || l.broker.rejected[id] {
			continue
		}
		if before, any := newest[key]; any {
			f.require(seq > before, "%s: of key %q event %d came after %d", name, key, seq+1, before+1)
		}
		newest[key] = seq
	}
}

// settled requires that all is settled for the legs that run, and that the log
// may forget it where nobody else holds it.
func (f *fleet) settledAll() {
	f.check()
	f.each(func(l *leg) {
		s := l.d.Status()
		f.require(s.Lag == 0 && s.Position == uint64(len(f.events)) && s.Fault == "", "not all is settled: %+v of %d", s, len(f.events))
	})
}
