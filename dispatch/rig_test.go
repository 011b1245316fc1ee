package dispatch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/wal"
	"github.com/33god/bloodbank/wal/vfs"
)

// rig is a dispatcher between a real log in memory and a broker that does what
// it is told, in virtual time. Failures of its own stop the test by a panic with
// the reason, which run turns into an error: it also runs below rapid, which
// wants to hear of failures on its own goroutine.
type rig struct {
	ctx     context.Context
	mem     *vfs.Mem
	broker  *broker
	change  func(*Options)
	log     *wal.Log
	deadLog *wal.Log
	dead    *DeadLetters
	journal *Journal
	noteLog *wal.Log
	life    *life
	d       *Dispatcher
	events  []event                    // all that was accepted, events[i] has sequence i+1
	floor   uint64                     // where the dispatcher began
	excused map[bloodbank.EventID]bool // have been dead letters, so they come out of order when redriven
}

type event struct {
	id   bloodbank.EventID
	key  string
	kind bloodbank.EventType
	data []byte // its record
	odd  bool   // no event at all
}

type failure struct{ error }

func (r *rig) must(err error) {
	if err != nil {
		panic(failure{err})
	}
}

func (r *rig) require(ok bool, format string, args ...any) {
	if !ok {
		panic(failure{fmt.Errorf(format, args...)})
	}
}

// inBubble runs a scenario in virtual time and checks everything once more at
// its end.
func inBubble(t *testing.T, setup func(*rig), scenario func(*rig)) (err error) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{ctx: t.Context(), mem: vfs.NewMem(), broker: newBroker(), excused: make(map[bloodbank.EventID]bool), change: func(*Options) {}}
		defer func() {
			switch v := recover().(type) {
			case nil:
			case failure:
				err = v.error
			default:
				panic(v)
			}
			if r.d != nil {
				r.crashed()
			}
		}()
		if setup != nil {
			setup(r)
		}
		r.start()
		scenario(r)
		r.checkAll()
	})
	return err
}

// run is inBubble for an ordinary test.
func run(t *testing.T, setup func(*rig), scenario func(*rig)) {
	t.Helper()
	if err := inBubble(t, setup, scenario); err != nil {
		t.Fatal(err)
	}
}

// open opens the logs as app does.
func (r *rig) open() {
	var err error
	r.log, err = wal.Open(r.ctx, wal.Options{Dir: "/wal", FS: r.mem, SegmentSize: 16 << 10})
	r.must(err)
	r.deadLog, err = wal.Open(r.ctx, wal.Options{Dir: "/dead", FS: r.mem, SegmentSize: 16 << 10})
	r.must(err)
	r.dead, err = OpenDeadLetters(r.ctx, r.deadLog)
	r.must(err)
	r.noteLog, err = wal.Open(r.ctx, wal.Options{Dir: "/journal", FS: r.mem, SegmentSize: 16 << 10})
	r.must(err)
	r.journal, err = OpenJournal(r.ctx, r.noteLog)
	r.must(err)
}

// start begins a new life of the process.
func (r *rig) start() {
	r.open()
	r.begin()
}

// begin starts a dispatcher on the open logs.
func (r *rig) begin() {
	r.life = &life{b: r.broker}
	var p bus.Publisher = remembering{r.life}
	if r.broker.forgetful {
		p = r.life
	}
	keep, err := NewRetention(r.log, r.journal)
	r.must(err)
	o := Options{Log: r.log, Publisher: p, Dead: r.dead, Retention: keep}
	r.change(&o)
	r.d, err = New(o)
	r.must(err)
	r.floor = r.d.progress.position
	r.must(r.d.Start(r.ctx))
	synctest.Wait()
}

// restart stops everything in order and starts it again.
func (r *rig) restart() {
	r.must(r.d.Stop(r.ctx))
	r.life.dead.Store(true)
	r.closeLogs()
	r.start()
}

func (r *rig) closeLogs() { r.must(errors.Join(r.log.Close(), r.deadLog.Close(), r.noteLog.Close())) }

// powerCut ends the process and the machine at this moment: of the files stays
// what was synced and a random part of the rest, and the broker loses what it
// had not synced.
func (r *rig) powerCut(random *rand.Rand) {
	after := r.mem.CrashClone(vfs.Crash{Keep: random.Float64(), Rand: random})
	r.crashed()
	r.broker.cutPower(random)
	r.mem = after
	r.start()
}

// kill ends the process alone: files and broker stay as they are.
func (r *rig) kill() {
	after := r.mem.CrashClone(vfs.Crash{Keep: 1, Rand: rand.New(rand.NewPCG(1, 1))})
	r.crashed()
	r.mem = after
	r.start()
}

// crashed buries the process of which a copy of the files was taken. What it
// still does reaches nobody.
func (r *rig) crashed() {
	r.life.dead.Store(true)
	ctx := context.WithoutCancel(r.ctx)
	_ = r.d.Stop(ctx)
	for _, log := range []*wal.Log{r.log, r.deadLog, r.noteLog} {
		if log != nil { // the next life did not get as far
			_ = log.Close()
		}
	}
	r.d = nil
}

// accept writes events with the given keys into the log, as the gateway does.
func (r *rig) accept(keys ...string) []event {
	for i, key := range keys {
		e := bloodbank.Envelope{
			EventID: eventID(len(r.events)), EventType: "demo.thing.happened",
			Timestamp: time.Now(), Version: bloodbank.Version, OrderingKey: key,
			Source: bloodbank.Source{Host: "h", Type: bloodbank.SourceManual}, Payload: []byte(`{"n":1}`),
		}
		record, err := e.AppendJSON(nil)
		r.must(err)
		r.acceptRecord(event{id: e.EventID, key: keys[i]}, record)
	}
	synctest.Wait()
	return r.events[len(r.events)-len(keys):]
}

// poison accepts an event that the broker always treats in the same way.
func (r *rig) poison(key string, a action) event {
	n := len(r.events)
	r.broker.set(func(b *broker) { b.always[eventID(n)] = a })
	return r.accept(key)[0]
}

// eventID is the id of the nth event, from 0.
func eventID(n int) bloodbank.EventID { return bloodbank.EventID{7, byte(n >> 8), byte(n), 1} }

func (r *rig) acceptRecord(e event, record []byte) {
	seq, err := r.log.Append(r.ctx, record)
	r.must(err)
	r.require(seq == uint64(len(r.events)+1), "sequence %d after %d", seq, len(r.events))
	e.data = record
	r.events = append(r.events, e)
}

// pass lets time go by.
func (r *rig) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// checkAll re-reads everything and requires all that must hold at any moment at
// which nobody is in the middle of something.
func (r *rig) checkAll() {
	synctest.Wait()
	d, b := r.d, r.broker
	d.mu.Lock()
	defer d.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	last, cursor := r.log.Last(), d.cur.Position()
	r.require(last == uint64(len(r.events)), "the log ends at %d, %d were accepted", last, len(r.events))
	r.require(cursor <= d.progress.position && d.progress.position <= last, "cursor %d, position %d, last %d", cursor, d.progress.position, last)
	r.require(r.log.First() <= max(cursor, r.floor)+1, "the log begins at %d, the cursor is %d", r.log.First(), cursor)
	open := make(map[uint64]int)
	for _, letter := range r.dead.List(0, 0) {
		open[letter.Sequence]++
		r.excused[letter.EventID] = true
	}
	pending := uint64(0)
	for i, e := range r.events {
		seq := uint64(i + 1)
		_, stored := b.stored[e.id]
		settled, dead := d.progress.settled(seq), open[seq]
		r.require(dead <= 1, "event %d is listed %d times", seq, dead)
		r.require(dead == 0 || settled, "event %d is dead and pending", seq)
		r.require(!settled || dead == 1 || stored, "event %d is settled, not dead and not on the bus", seq)
		if !settled {
			pending++
		}
		if seq <= cursor && dead == 0 {
			r.require(time.Since(b.stored[e.id]) >= b.safeDelay, "the cursor passed event %d, which the bus can lose", seq)
		}
	}
	r.require(last-d.progress.position-d.progress.countAhead() == pending, "the lag is not %d", pending)
	for i, a := range d.progress.ahead {
		before := d.progress.position
		if i > 0 {
			before = d.progress.ahead[i-1].to
		}
		r.require(a.from > before+1 && a.to >= a.from, "runs %v behind %d", d.progress.ahead, d.progress.position)
	}
	r.checkOrder(b.order, "stored")
	if !b.ordered { // there a confirm may get lost that one behind it did not
		r.checkOrder(b.toldOrder, "confirmed")
	}
}

// checkOrder requires that the events of each key came in the order accepted.
func (r *rig) checkOrder(ids []bloodbank.EventID, what string) {
	newest := make(map[string]int)
	for _, id := range ids {
		seq := int(id[1])<<8 + int(id[2])
		key := r.events[seq].key
		if key == "" || r.excused[id] || r.broker.rejected[id] {
			continue
		}
		if before, any := newest[key]; any {
			r.require(seq > before, "of key %q event %d was first %s after %d", key, seq+1, what, before+1)
		}
		newest[key] = seq
	}
}

// settled requires that all is confirmed but what is listed, and that the log
// may forget it.
func (r *rig) settled(dead int) {
	r.checkAll()
	s := r.d.Status()
	r.require(s.Lag == 0 && s.Position == uint64(len(r.events)) && s.Fault == "", "not all is settled: %+v of %d", s, len(r.events))
	r.require(s.Dead == dead, "%d dead letters, want %d: %+v", s.Dead, dead, r.dead.List(0, 0))
	r.pass(r.broker.safeDelay + r.broker.safeDelay/4)
	r.checkAll()
	s = r.d.Status()
	r.require(s.Safe == s.Position, "not safe: %+v", s)
}

func keys(n int, key string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = key
	}
	return all
}
