package dispatch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"pgregory.net/rapid"
)

// fleetStep is a thing that happens to several targets, drawn before it runs.
type fleetStep struct {
	Do   string
	Leg  int
	Type bloodbank.EventType
	Keys []string
	Acts []action
	Time time.Duration
	Seed uint64
}

func drawFleetStep(t *rapid.T) fleetStep {
	s := fleetStep{
		Do: rapid.SampledFrom([]string{
			"accept", "accept", "accept", "accept", "script", "script", "wait", "wait", "poison", "odd", "down", "up", "full",
			"kill", "power cut", "restart", "redrive all", "discard", "leave out",
		}).Draw(t, "do"),
		Leg:  rapid.IntRange(0, 2).Draw(t, "leg"),
		Type: rapid.SampledFrom([]bloodbank.EventType{typeThing, typeOther}).Draw(t, "type"),
		Seed: rapid.Uint64().Draw(t, "seed"),
		Time: time.Duration(rapid.IntRange(1, 90_000).Draw(t, "ms")) * time.Millisecond,
	}
	switch s.Do {
	case "accept":
		s.Keys = rapid.SliceOfN(rapid.SampledFrom([]string{"", "", "a", "b"}), 1, 25).Draw(t, "keys")
	case "script":
		s.Acts = rapid.SliceOfN(rapid.SampledFrom([]action{confirm, slow, twice, lose, happened, refuse, reject, silent, block}), 1, 10).Draw(t, "acts")
	case "poison":
		s.Acts = []action{rapid.SampledFrom([]action{lose, happened, reject}).Draw(t, "act")}
		s.Keys = []string{rapid.SampledFrom([]string{"", "a"}).Draw(t, "key")}
	}
	return s
}

func (s fleetStep) run(f *fleet) {
	l := f.legs[s.Leg]
	switch s.Do {
	case "accept":
		f.acceptTyped(s.Type, s.Keys...)
	case "script":
		l.broker.set(func(b *broker) { b.script = append(b.script, s.Acts...) })
	case "poison":
		n := len(f.events)
		l.broker.set(func(b *broker) { b.always[eventID(n)] = s.Acts[0] })
		f.acceptTyped(s.Type, s.Keys...)
	case "odd":
		f.acceptRecord(event{id: eventID(len(f.events)), odd: true}, fmt.Appendf(nil, `{"odd":%d}`, len(f.events)))
	case "wait":
		f.pass(s.Time)
	case "down", "up", "full":
		l.broker.set(func(b *broker) { b.down, b.full = s.Do == "down", s.Do == "full" })
	case "kill":
		f.crash(rand.New(rand.NewPCG(1, 1)), 1)
	case "power cut":
		random := rand.New(rand.NewPCG(s.Seed, 7))
		f.crash(random, random.Float64())
	case "restart":
		f.restart()
	case "redrive all":
		f.redriveAll()
	case "discard":
		f.discardOne(s.Seed)
	case "leave out": // or put in again: what it has missed it gets then
		if s.Leg > 0 {
			f.stop()
			l.off = !l.off
			f.start()
		}
	}
}

func (f *fleet) redriveAll() {
	ctx, cancel := context.WithTimeout(f.ctx, time.Minute) // a bus may never answer
	defer cancel()
	report, err := f.dead.RedriveMany(ctx, RedriveRequest{})
	f.must(err)
	open := make(map[uint64]bool)
	for _, letter := range f.dead.List(0, 0) {
		open[letter.Number] = !letter.delivered()
	}
	for _, o := range report.Outcomes {
		f.require(open[o.DeadLetter.Number] == (o.Err != nil), "redriven: %+v, listed: %v", o, open[o.DeadLetter.Number])
	}
}

func (f *fleet) discardOne(seed uint64) {
	letters := f.dead.List(0, 0)
	if len(letters) == 0 {
		return
	}
	letter := letters[seed%uint64(len(letters))]
	report, err := f.dead.Discard(f.ctx, DiscardRequest{Filter: Filter{Numbers: []uint64{letter.Number}}, Reason: "no use"})
	f.must(err)
	f.require(len(report.Outcomes) == 1, "%+v", report)
	if report.Outcomes[0].Err != nil {
		return // it is being sent
	}
	for _, l := range f.legs {
		if targetName(l.name) == letter.Target {
			l.discarded[letter.Sequence] = true
			calls := l.broker.sent(letter.EventID)
			f.discards = append(f.discards, func() {
				f.require(l.broker.sent(letter.EventID) == calls || letter.EventID.IsZero(), "%s: event %d was sent after it was discarded", l.name, letter.Sequence)
			})
		}
	}
}

// With several targets, whatever their buses answer and however the process and
// the machine end: see fleet.check. What was discarded is never sent again.
func TestRandomTargets(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		p := fleetPlan{
			Steps:   rapid.SliceOfN(rapid.Custom(drawFleetStep), 1, 30).Draw(rt, "steps"),
			Delays:  rapid.SliceOfN(rapid.SampledFrom([]time.Duration{0, 3 * time.Second}), 3, 3).Draw(rt, "safe delays"),
			Ordered: rapid.SliceOfN(rapid.Bool(), 3, 3).Draw(rt, "ordered"),
		}
		if err := inFleet(t, p.run); err != nil {
			rt.Fatal(err)
		}
	})
}

// Plans that failed once.
func TestFixedTargets(t *testing.T) {
	t.Parallel()
	poison := fleetStep{Do: "poison", Leg: 2, Type: typeOther, Keys: []string{"a"}, Acts: []action{lose}}
	for name, p := range map[string]fleetPlan{
		"poison at the head of the only key": {Steps: []fleetStep{
			{Do: "accept", Type: typeThing, Keys: []string{"a", "", "a"}},
			{Do: "down", Leg: 2},
			{Do: "poison", Leg: 2, Type: typeOther, Keys: []string{"a"}, Acts: []action{happened}},
			{Do: "accept", Type: typeOther, Keys: []string{"", "a", "", "b", ""}},
			{Do: "odd"},
		}},
		"several in a row": {Steps: []fleetStep{poison, poison, poison, poison}},
		"a stop in the middle of a batch": {Steps: []fleetStep{
			{Do: "poison", Type: typeThing, Keys: []string{"a"}, Acts: []action{reject}},
			{Do: "script", Acts: []action{reject, block, confirm, silent, refuse, block}},
			{Do: "accept", Type: typeOther, Keys: []string{"", "a", "", "", "", "", "b", "b", "", "", "a"}},
			{Do: "accept", Type: typeThing, Keys: []string{"b", ""}},
			{Do: "leave out"},
			{Do: "leave out", Leg: 2},
			{Do: "restart"},
		}},
		"a log that is younger than a cursor": {Ordered: make([]bool, 3), Delays: make([]time.Duration, 3), Steps: []fleetStep{
			{Do: "accept", Type: typeThing, Keys: keys(70, "a")},
			{Do: "down", Leg: 1},
			{Do: "power cut"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if p.Ordered == nil {
				p.Delays, p.Ordered = []time.Duration{3 * time.Second, 0, 0}, []bool{true, true, true}
			}
			if err := inFleet(t, p.run); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// fleetPlan is a run with the main bus, a target of a type and a target of a key.
type fleetPlan struct {
	Steps   []fleetStep
	Delays  []time.Duration // the safe delay of each
	Ordered []bool
}

func (p fleetPlan) run(f *fleet) {
	f.add("things", Rule{Types: []string{"demo.thing.*"}}, nil)
	f.add("a", Rule{Match: func(e *bloodbank.Envelope) bool { return e.OrderingKey == "a" }}, nil)
	for i, l := range f.legs {
		l.broker.safeDelay, l.broker.ordered = p.Delays[i], p.Ordered[i]
	}
	f.start()
	for i, s := range p.Steps {
		s.run(f)
		func() {
			defer func() {
				if v := recover(); v != nil {
					panic(failure{fmt.Errorf("after step %d (%s %d): %v", i+1, s.Do, s.Leg, v)})
				}
			}()
			f.check()
		}()
	}
	f.comeRight()
}

// comeRight mends the world and requires that all is settled in the end.
func (f *fleet) comeRight() {
	f.stop()
	for _, l := range f.legs {
		l.broker.set(func(b *broker) { b.down, b.full, b.script = false, false, nil })
		l.off = false
	}
	f.start()
	for round := 0; round < leastRounds || round < mostRounds && !f.quiet(); round++ {
		f.acceptTyped(typeThing, "", "a", "")
		f.pass(31 * time.Second)
	}
	f.settledAll()
	for _, check := range f.discards {
		check()
	}
	f.pass(10 * time.Second)
	for _, h := range f.keep.Holds() {
		f.require(h.Position == uint64(len(f.events)) && h.Configured, "%+v of %d", h, len(f.events))
	}
}

func (f *fleet) quiet() bool {
	quiet := true
	f.each(func(l *leg) { quiet = quiet && l.d.Status().quiet() })
	return quiet
}
