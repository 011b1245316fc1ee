package dispatch

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
)

// A target whose bus is down holds up nobody but the log.
func TestStuckTargetHoldsUpNobody(t *testing.T) {
	t.Parallel()
	runFleet(t, func(f *fleet) {
		stuck := f.add("stuck", Rule{}, nil)
		f.start()
		stuck.broker.set(func(b *broker) { b.down = true })
		f.acceptTyped(typeThing, keys(400, "k")...)
		f.pass(10 * time.Second)
		f.check()
		s := f.legs[0].d.Status()
		f.require(s.Lag == 0 && s.Safe == 400 && s.Target == MainTarget && s.Dead == 0, "%+v", s)
		f.require(f.log.First() == 1, "the log forgot what the stuck target needs")
		f.require(stuck.d.Status().Lag == 400 && stuck.d.Status().Fault != "" && stuck.d.Name() == "dispatch stuck", "%+v", stuck.d.Status())
		stuck.broker.set(func(b *broker) { b.down = false })
		f.pass(31 * time.Second)
		f.settledAll()
		f.require(f.log.First() > 300, "the log begins at %d", f.log.First())
	})
}

// What a target does not take never crosses the wire and costs no decoding where
// the type decides.
func TestFilteringAtTheSource(t *testing.T) {
	t.Parallel()
	runFleet(t, func(f *fleet) {
		asked := 0
		l := f.add("some", Rule{Types: []string{"x.*", "demo.thing.*"}, Match: func(e *bloodbank.Envelope) bool { asked++; return e.OrderingKey != "no" }}, nil)
		f.start()
		f.acceptTyped(typeOther, keys(3000, "")...) // longer than a batch of the feeder
		f.acceptTyped(typeThing, "yes", "no", "", "no", "no")
		f.acceptRecord(event{id: eventID(len(f.events)), odd: true}, []byte(`{"odd":1}`))
		f.pass(time.Second)
		f.require(l.broker.count() == 2 && asked == 5, "%d were sent, %d decoded", l.broker.count(), asked)
		f.settledAll()
		f.require(l.d.Status().Dead == 0 && f.legs[0].d.Status().Dead == 1, "the odd one is the main bus's")
		f.must(l.d.Confirmed(f.ctx, 1))
	})
}

func TestNewTargetBeginsAtTheEnd(t *testing.T) {
	t.Parallel()
	runFleet(t, func(f *fleet) {
		f.start()
		f.acceptTyped(typeThing, "", "")
		f.stop()
		end := f.add("end", Rule{}, nil)
		start := f.add("start", Rule{}, func(o *Options) { o.FromStart = true })
		end.begin = 3
		end.broker.down = true
		f.start()
		f.acceptTyped(typeThing, "", "")
		f.require(end.broker.count() > 0 && start.broker.count() == 4, "%d were sent", start.broker.count())
		// It is known from its first start on: nothing is skipped though its position
		// was never moved.
		f.crash(rand.New(rand.NewPCG(1, 1)), 1)
		end.broker.set(func(b *broker) { b.down = false })
		f.pass(31 * time.Second)
		f.settledAll()
		f.require(len(end.broker.stored) == 2 && len(start.broker.stored) == 4, "%d and %d", len(end.broker.stored), len(start.broker.stored))
	})
}

// A target that begins with an empty log is known, too.
func TestNewTargetOnAnEmptyLog(t *testing.T) {
	t.Parallel()
	runFleet(t, func(f *fleet) {
		l := f.add("new", Rule{}, nil)
		l.broker.down = true
		f.start()
		f.acceptTyped(typeThing, "", "")
		f.crash(rand.New(rand.NewPCG(1, 1)), 1)
		l.broker.set(func(b *broker) { b.down = false })
		f.pass(31 * time.Second)
		f.settledAll()
		f.require(len(l.broker.stored) == 2, "%d are there", len(l.broker.stored))
	})
}

// A target that is left out holds the log until it is given up; then it is new.
func TestGiveUp(t *testing.T) {
	t.Parallel()
	runFleet(t, func(f *fleet) {
		l := f.add("old", Rule{}, nil)
		f.start()
		f.acceptTyped(typeThing, "")
		for name, code := range map[string]bloodbank.Code{"old": bloodbank.CodeConflict, "": bloodbank.CodeInvalid, MainTarget: bloodbank.CodeInvalid, "who": bloodbank.CodeNotFound} {
			err := f.keep.GiveUp(f.ctx, name)
			f.require(bloodbank.CodeOf(err) == code, "giving up %q: %v", name, err)
		}
		l.broker.script = []action{reject}
		f.acceptTyped(typeThing, "")
		f.stop()
		l.off = true
		f.start()
		f.acceptTyped(typeThing, keys(400, "")...)
		f.pass(time.Second)
		f.require(f.log.First() == 1, "the log forgot what the target may still get")
		holds := f.keep.Holds()
		f.require(len(holds) == 2 && holds[1] == Hold{Target: "old", Position: 2}, "%+v", holds)
		f.must(f.keep.GiveUp(f.ctx, "old"))
		f.require(f.log.First() > 300, "the log begins at %d", f.log.First())
		f.restart() // it stays given up
		f.acceptTyped(typeThing, keys(400, "")...)
		f.pass(time.Second)
		f.require(f.log.First() > 700 && len(f.keep.Holds()) == 1, "the log begins at %d: %+v", f.log.First(), f.keep.Holds())
		// Its dead letters stay until they are discarded.
		letter := f.dead.List(0, 0)[0]
		f.require(letter.Target == "old", "%+v", letter)
		err := f.dead.Redrive(f.ctx, letter.Number)
		f.require(bloodbank.CodeOf(err) == bloodbank.CodeUnavailable && strings.Contains(err.Error(), "configure"), "%v", err)
		f.stop()
		l.off, l.begin = false, uint64(len(f.events)+1)
		f.start()
		f.acceptTyped(typeThing, "")
		f.pass(time.Second)
		f.settledAll()
		f.require(len(l.broker.stored) == 2, "%d are there", len(l.broker.stored))
		f.must(f.dead.Redrive(f.ctx, letter.Number))
		f.require(len(l.broker.stored) == 3, "the dead letter went elsewhere")
	})
}

func TestTargetRefusals(t *testing.T) {
	t.Parallel()
	run(t, nil, func(r *rig) {
		for _, name := range []string{MainTarget, "a b", strings.Repeat("x", 41), "ä"} {
			err := CheckTarget(name)
			r.require(bloodbank.CodeOf(err) == bloodbank.CodeInvalid, "%q: %v", name, err)
		}
		_, err := New(Options{Log: r.log, Publisher: r.life, Dead: r.dead, Target: "a/b"})
		r.require(bloodbank.CodeOf(err) == bloodbank.CodeInvalid, "%v", err)
		_, err = New(Options{Log: r.log, Publisher: r.life, Dead: r.dead, Target: "a"})
		r.require(bloodbank.CodeOf(err) == bloodbank.CodeInvalid && strings.Contains(err.Error(), "journal"), "%v", err)
		r.require(CursorOf("") == "bus" && CursorOf("bus") == "bus" && CursorOf("a") == "bus-a", "cursors")
	})
}

// The bus goes down, one event comes, the bus comes back: it is delivered without
// another event.
func TestLowRate(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"", "k"} {
		run(t, nil, func(r *rig) {
			r.broker.set(func(b *broker) { b.down = true })
			e := r.accept(key)[0]
			r.pass(time.Hour)
			r.broker.set(func(b *broker) { b.down = false })
			r.pass(31 * time.Second)
			r.settled(0)
			r.require(len(r.broker.stored) == 1 && r.broker.sent(e.id) > 1, "not delivered")
		})
	}
}

// A large event goes out compressed; as a dead letter it is plain.
func TestCompression(t *testing.T) {
	t.Parallel()
	run(t, func(r *rig) { r.change = func(o *Options) { o.CompressAbove = 600 } }, func(r *rig) {
		var sent []bus.Message
		r.broker.seen = func(m bus.Message) { sent = append(sent, m) }
		long := bloodbank.Envelope{
			EventID: eventID(0), EventType: typeThing, Timestamp: time.Now(), Version: bloodbank.Version,
			Source: bloodbank.Source{Host: "h", Type: bloodbank.SourceManual}, Payload: []byte(`{"text":"` + strings.Repeat("word ", 200) + `"}`),
		}
		record, err := long.AppendJSON(nil)
		r.must(err)
		r.broker.script = []action{reject}
		r.acceptRecord(event{id: eventID(0)}, record)
		r.accept("")
		r.settled(1)
		r.require(len(sent) == 2 && sent[0].Encoding == bus.EncodingGzip && len(sent[0].Data) < len(record)/2 && sent[1].Encoding == "", "%+v", sent)
		letter, err := r.dead.Get(r.dead.List(0, 0)[0].Number)
		r.must(err)
		r.require(bytes.Equal(letter.Event, record), "%s", letter.Event)
		r.must(r.d.Redrive(r.ctx, letter.Number))
		plain, err := bus.Unpack(sent[2], 0)
		r.require(err == nil && sent[2].Encoding == bus.EncodingGzip && bytes.Equal(plain, record), "%v", err)
		r.settled(0)
	})
}

// All that there is waits behind a message that the bus never takes and that
// makes it drop the connection: it becomes a dead letter, and the rest goes.
func TestPoisonInTheOnlyKey(t *testing.T) {
	t.Parallel()
	run(t, func(r *rig) { r.broker.ordered = true; r.change = func(o *Options) { o.MaxAttempts = 3 } }, func(r *rig) {
		r.accept("k")
		r.broker.set(func(b *broker) { b.always[eventID(1)], b.always[eventID(3)] = lose, lose })
		r.accept(keys(10, "k")...)
		r.pass(10 * time.Minute)
		r.settled(2)
	})
	// A bus that fails everything and says that it works costs few dead letters.
	run(t, func(r *rig) { r.broker.ordered = true }, func(r *rig) {
		r.broker.set(func(b *broker) { b.full = true })
		r.accept(keys(50, "k")...)
		r.pass(24 * time.Hour)
		r.checkAll()
		dead := r.d.Status().Dead
		r.require(dead > 0 && dead < 15, "%d dead letters", dead)
		r.broker.set(func(b *broker) { b.full = false })
		r.pass(time.Minute)
		r.settled(dead)
	})
}
