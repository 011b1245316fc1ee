package dispatch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank"
)

// bury makes one dead letter for each key and returns them by sequence. The bus
// takes them from then on.
func (r *rig) bury(keys ...string) []DeadLetter {
	known := r.dead.Open()
	r.broker.set(func(b *broker) {
		for i := range keys {
			b.always[eventID(len(r.events)+i)] = reject
		}
	})
	r.accept(keys...)
	r.require(r.dead.Open() == known+len(keys), "%d dead letters", r.dead.Open())
	r.broker.set(func(b *broker) { clear(b.always); b.order = nil })
	return r.dead.inOrder(Filter{})
}

// excuse says that discarded events need not be on the bus.
func (r *rig) excuse(letters []DeadLetter) {
	r.broker.set(func(b *broker) {
		for _, l := range letters {
			b.stored[l.EventID] = time.Now()
		}
	})
}

func numbersOf(outcomes []Outcome, failed bool) string {
	var list []uint64
	for _, o := range outcomes {
		if failed == (o.Err != nil) {
			list = append(list, o.DeadLetter.Number)
		}
	}
	return fmt.Sprint(list)
}

func TestFilter(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 27, 10, 0, 0, 0, time.UTC)
	letter := DeadLetter{Number: 7, EventType: "llm.prompt", Target: MainTarget, Reason: "It is too Large", At: at}
	for _, c := range []struct {
		f    Filter
		want bool
	}{
		{Filter{}, true}, {Filter{Type: "llm.*"}, true}, {Filter{Type: "llm"}, false}, {Filter{Reason: "TOO l"}, true}, {Filter{Reason: "small"}, false},
		{Filter{Target: "bus"}, true}, {Filter{Target: "other"}, false}, {Filter{Since: at}, true}, {Filter{Since: at.Add(1)}, false},
		{Filter{Until: at}, false}, {Filter{Until: at.Add(1)}, true}, {Filter{Numbers: []uint64{1, 7}}, true}, {Filter{Numbers: []uint64{}}, false},
		{Filter{Type: "llm.*", Target: "other"}, false},
	} {
		if c.f.Match(letter) != c.want {
			t.Errorf("%+v: %v", c.f, !c.want)
		}
	}
	for _, bad := range []string{"x", "1", "1.", "1.2.3", "-1.2", "1.2 ", "01.2"} {
		if _, err := parseMark(bad); bloodbank.CodeOf(err) != bloodbank.CodeInvalid {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestRedriveManyKeepsOrder(t *testing.T) {
	t.Parallel()
	run(t, nil, func(r *rig) {
		var wanted []string
		for i := range 120 {
			wanted = append(wanted, []string{"", "a", "b", "c"}[i%4])
		}
		letters := r.bury(wanted...)
		r.broker.set(func(b *broker) { // answers come in any order
			for range 60 {
				b.script = append(b.script, slow, confirm)
			}
		})
		told := 0
		report, err := r.dead.RedriveMany(r.ctx, RedriveRequest{Progress: func(Outcome) { told++ }})
		r.must(err)
		r.require(report.Matched == 120 && len(report.Outcomes) == 120 && report.Left == 0 && report.Next == "" && report.Stopped == nil && told == 120, "%+v", report)
		r.require(numbersOf(report.Outcomes, true) == "[]", "%v", report.Outcomes)
		r.settled(0)
		newest := map[string]uint64{}
		for _, id := range r.broker.order {
			for _, l := range letters {
				if l.EventID == id && l.Key != "" {
					r.require(l.Sequence > newest[l.Key], "of key %s %d came after %d", l.Key, l.Sequence, newest[l.Key])
					newest[l.Key] = l.Sequence
				}
			}
		}
	})
}

// An event that the bus refuses again keeps the later ones of its key back, on
// this page and on the next.
func TestRedriveManyParksAKey(t *testing.T) {
	t.Parallel()
	run(t, nil, func(r *rig) {
		letters := r.bury("a", "a", "b", "", "a", "b")
		r.broker.set(func(b *broker) { b.always[letters[1].EventID] = reject })
		dry, err := r.dead.RedriveMany(r.ctx, RedriveRequest{DryRun: true, Limit: 4})
		r.must(err)
		r.require(len(dry.Outcomes) == 4 && dry.Left == 6 && dry.Matched == 6 && r.broker.sent(letters[0].EventID) == 1, "%+v", dry)
		first, err := r.dead.RedriveMany(r.ctx, RedriveRequest{Limit: 4})
		r.must(err)
		r.require(first.Next != "" && first.Matched == 6 && first.Left == 2 && numbersOf(first.Outcomes, true) == "[2]" && numbersOf(first.Outcomes, false) == "[1 3 4]", "%+v", first)
		second, err := r.dead.RedriveMany(r.ctx, RedriveRequest{Limit: 4, After: first.Next})
		r.must(err)
		r.require(second.Next == "" && numbersOf(second.Outcomes, true) == "[5]" && numbersOf(second.Outcomes, false) == "[6]", "%+v", second)
		r.require(bloodbank.CodeOf(second.Outcomes[0].Err) == bloodbank.CodeConflict && r.broker.sent(letters[4].EventID) == 1, "%v", second.Outcomes[0].Err)
		// Who names the later one alone means it.
		third, err := r.dead.RedriveMany(r.ctx, RedriveRequest{Filter: Filter{Numbers: []uint64{5}}})
		r.must(err)
		r.require(numbersOf(third.Outcomes, false) == "[5]", "%+v", third)
		_, err = r.dead.RedriveMany(r.ctx, RedriveRequest{After: "x"})
		r.require(bloodbank.CodeOf(err) == bloodbank.CodeInvalid, "%v", err)
	})
}

// It stops when the bus is down, whether the bus says so or not, and goes on when
// it is asked again.
func TestRedriveManyStops(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*broker, bool){
		"says it is down":    func(b *broker, v bool) { b.down = v },
		"says that it works": func(b *broker, v bool) { b.full = v },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, nil, func(r *rig) {
				r.bury(keys(300, "")...)
				r.broker.set(func(b *broker) { set(b, true) })
				before := r.broker.count()
				report, err := r.dead.RedriveMany(r.ctx, RedriveRequest{})
				r.must(err)
				tried := len(report.Outcomes)
				r.require(bloodbank.CodeOf(report.Stopped) == bloodbank.CodeUnavailable && tried <= 2*manyAtOnce && report.Left == 300-tried, "%d tried: %v", tried, report.Stopped)
				r.require(r.broker.count()-before <= tried && report.Next == "0.0", "%d sent, next %q", r.broker.count()-before, report.Next)
				r.broker.set(func(b *broker) { set(b, false) })
				r.pass(time.Minute)
				report, err = r.dead.RedriveMany(r.ctx, RedriveRequest{After: report.Next})
				r.must(err)
				r.require(report.Matched == 300 && report.Left == 0 && report.Stopped == nil, "%+v", report.Stopped)
				r.settled(0)
			})
		})
	}
	t.Run("with its context", func(t *testing.T) {
		t.Parallel()
		run(t, nil, func(r *rig) {
			r.bury(keys(100, "")...)
			r.broker.script = []action{confirm, silent}
			ctx, cancel := context.WithTimeout(r.ctx, time.Second)
			defer cancel()
			report, err := r.dead.RedriveMany(ctx, RedriveRequest{})
			r.must(err)
			r.require(bloodbank.CodeOf(report.Stopped) == bloodbank.CodeTimeout && report.Left == 0 && len(report.Outcomes) == 100, "%+v", report)
			r.require(len(r.dead.List(0, 0)) == 1, "%d stay", len(r.dead.List(0, 0)))
		})
	})
}

// One target that is down does not keep another's dead letters.
func TestRedriveManyOfTargets(t *testing.T) {
	t.Parallel()
	runFleet(t, func(f *fleet) {
		other := f.add("other", Rule{}, nil)
		f.start()
		for _, l := range f.legs {
			l.broker.script = []action{reject, reject, reject, reject}
		}
		f.acceptTyped(typeThing, "a", "", "a", "")
		f.require(f.dead.Open() == 8 && other.d.Status().Dead == 4, "%d", f.dead.Open())
		other.broker.set(func(b *broker) { b.down = true })
		report, err := f.dead.RedriveMany(f.ctx, RedriveRequest{})
		f.must(err)
		f.require(report.Stopped != nil && f.dead.Count(Filter{Target: MainTarget}) == 0 && f.dead.Count(Filter{Target: "other"}) == 4, "%+v", report)
		letter := f.dead.List(0, 0)[0]
		err = f.legs[0].d.Redrive(f.ctx, letter.Number)
		f.require(bloodbank.CodeOf(err) == bloodbank.CodeInvalid, "%v", err)
		other.broker.set(func(b *broker) { b.down = false })
		f.pass(time.Minute)
		report, err = f.dead.RedriveMany(f.ctx, RedriveRequest{Filter: Filter{Target: "other"}})
		f.must(err)
		f.require(report.Stopped == nil && f.dead.Open() == 0 && len(other.broker.stored) == 4, "%+v", report)
	})
}

// What was discarded is never sent again, whenever the process ends; its reason
// is kept.
func TestDiscard(t *testing.T) {
	t.Parallel()
	run(t, nil, func(r *rig) {
		r.broker.script = []action{vanish} // keeps the position where it is
		r.accept("")
		letters := r.bury(keys(40, "")...)
		_, err := r.dead.Discard(r.ctx, DiscardRequest{Reason: " "})
		r.require(bloodbank.CodeOf(err) == bloodbank.CodeInvalid, "%v", err)
		dry, err := r.dead.Discard(r.ctx, DiscardRequest{Reason: "x", DryRun: true, Limit: 3})
		r.must(err)
		r.require(len(dry.Outcomes) == 3 && dry.Matched == 40 && dry.Left == 40 && r.dead.Open() == 40, "%+v", dry)

		r.broker.script = []action{slow} // one is being sent at this moment
		sent := make(chan error, 1)
		go func() { sent <- r.dead.Redrive(r.ctx, letters[0].Number) }()
		synctest.Wait()
		report, err := r.dead.Discard(r.ctx, DiscardRequest{Reason: "no use"})
		r.must(err)
		r.require(report.Left == 1 && len(report.Outcomes) == 40 && bloodbank.CodeOf(report.Outcomes[0].Err) == bloodbank.CodeConflict, "%+v", report)
		r.must(<-sent)
		r.require(r.dead.Open() == 0, "%d are open", r.dead.Open())
		for round := range 3 {
			r.broker.script = []action{vanish}
			if round == 1 {
				r.restart()
			} else {
				r.kill()
			}
			r.pass(time.Minute)
			for _, l := range letters[1:] {
				r.require(r.broker.sent(l.EventID) == 1, "event %d was sent after it was discarded", l.Sequence)
			}
		}
		reader, err := r.deadLog.NewReader(0)
		r.must(err)
		defer reader.Close()
		kept := 0
		for record, ok, err := reader.TryNext(); ok; record, ok, err = reader.TryNext() {
			r.must(err)
			if strings.Contains(string(record.Data), `"reason":"no use"`) {
				kept++
			}
		}
		r.require(kept == 39, "%d reasons are kept", kept)
		r.excuse(letters)
	})
}

// The log of dead letters does not grow with what was discarded.
func TestDiscardLetsTheLogGo(t *testing.T) {
	t.Parallel()
	run(t, nil, func(r *rig) {
		for range 20 {
			letters := r.bury(keys(40, "")...)
			r.pass(time.Second)
			r.excuse(letters)
			report, err := r.dead.Discard(r.ctx, DiscardRequest{Reason: "no use"})
			r.must(err)
			r.require(report.Left == 0, "%+v", report)
		}
		r.require(len(r.dead.discarded) == 0, "%d are remembered", len(r.dead.discarded))
		r.settled(0)
		s := r.deadLog.Status()
		r.require(s.Bytes <= 64<<10, "%d bytes", s.Bytes)
	})
}

// A log of dead letters of the version before targets.
func TestOldDeadLetters(t *testing.T) {
	t.Parallel()
	run(t, nil, func(r *rig) {
		e := bloodbank.Envelope{
			EventID: eventID(900), EventType: typeThing, Timestamp: time.Now(), Version: bloodbank.Version, OrderingKey: "k",
			Source: bloodbank.Source{Host: "h", Type: bloodbank.SourceManual}, Payload: []byte(`{}`),
		}
		event, err := e.AppendJSON(nil)
		r.must(err)
		for _, record := range []string{
			`{"dead":{"number":0,"event_id":"` + e.EventID.String() + `","event_type":"` + typeThing + `","sequence":1,"reason":"too large","attempts":1,"at":"2026-01-27T10:00:00Z"},"event":` + string(event) + `}`,
			`{"dead":{"number":0,"event_id":"00000000-0000-0000-0000-000000000000","event_type":"","sequence":2,"reason":"no event","attempts":0,"at":"2026-01-27T10:00:00Z","raw":"/w=="}}`,
			`{"closed":2}`,
		} {
			_, err := r.deadLog.Append(r.ctx, []byte(record))
			r.must(err)
		}
		r.restart()
		letters := r.dead.List(0, 0)
		r.require(len(letters) == 1 && letters[0].Target == MainTarget && letters[0].Key == "k", "%+v", letters)
		r.must(r.dead.Redrive(r.ctx, letters[0].Number))
		r.require(r.dead.Open() == 0, "it stays")
		r.broker.set(func(b *broker) { b.order, b.toldOrder = nil, nil })
	})
}

// A dead letter of a power cut in the middle is listed or not, never half.
func TestDiscardThroughPowerCuts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		err := inBubble(t, nil, func(r *rig) {
			random := rand.New(rand.NewPCG(seed, 5))
			r.broker.script = []action{vanish}
			r.accept("")
			letters := r.bury(keys(10, "")...)
			some := Filter{Numbers: []uint64{letters[1].Number, letters[4].Number}}
			_, err := r.dead.Discard(r.ctx, DiscardRequest{Filter: some, Reason: "no use"})
			r.must(err)
			r.broker.script = []action{vanish}
			r.powerCut(random)
			r.pass(time.Second)
			r.require(r.dead.Open() == 8 && r.dead.Count(some) == 0, "%d are open", r.dead.Open())
			for _, l := range letters {
				r.require(r.broker.sent(l.EventID) == 1, "event %d was sent %d times", l.Sequence, r.broker.sent(l.EventID))
			}
			r.excuse(letters)
		})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}
