package torture

import (
	"math/rand/v2"
	"slices"
	"time"
)

// The kinds of faults that torture causes by itself. Those of a way stand behind
// the name of the target: "bus cut".
const (
	kindKill      = "killed"                // SIGKILL
	kindKillStart = "killed while starting" //
	kindStop      = "stopped"               // SIGTERM, and a clean end is expected
	kindFreeze    = "frozen"                // SIGSTOP and SIGCONT
	kindNone      = ""

	wayCut       = "cut"          // connections reset, new ones refused
	wayBlackHole = "black hole"   // no byte arrives
	waySlow      = "slow"         // latency
	wayReset     = "reset"        // in the middle of a frame
	wayMute      = "lost answers" // done, but the answer never comes
	wayHalfOpen  = "half open"    // the other side is gone and does not say so
	wayStall     = "stalled"      // bandwidth 0, then everything arrives
	wayDown      = "down at start"
)

func localKinds() []string { return []string{kindKill, kindKill, kindKillStart, kindStop, kindFreeze} }

func wayKinds() []string {
	return []string{wayCut, wayBlackHole, waySlow, wayReset, wayMute, wayHalfOpen, wayStall, wayDown}
}

// round is what happens in one round, at moments counted from its beginning.
type round struct {
	// local is what becomes of the program at the moment at, for hold.
	local    string
	at, hold time.Duration
	// steps happen one after the other, beside the local one.
	steps []step
}

// step is a fault of a way, or one of the caller's.
type step struct {
	name     string // "bus cut", or that of the caller's fault
	target   string // "" for the caller's
	kind     string
	own      int // index of the caller's fault
	at, hold time.Duration
	n        int // how many bytes or milliseconds, where the kind wants a number
}

// Plan returns the names of the faults of each round for a seed: it depends on
// nothing else but targets (bus, store, correlation, those that are remote) and
// the other options.
func Plan(o Options, targets []string, rounds int) [][]string {
	o = o.withDefaults()
	all := make([][]string, rounds)
	for i := range all {
		all[i] = planRound(o, targets, i).names()
	}
	return all
}

func (r round) names() []string {
	var names []string
	for _, s := range r.steps {
		names = append(names, s.name)
	}
	if r.local != kindNone {
		names = append(names, "bb "+r.local)
	}
	return names
}

// planRound draws a round from a source of its own, so that how long other rounds
// took changes nothing.
func planRound(o Options, targets []string, number int) round {
	rng := rand.New(rand.NewPCG(o.Seed, uint64(number)))
	menu := o.menu(targets)
	local := o.allowed(localKinds(), "bb ")
	r := round{at: part(rng, o.RoundLength, 0, 100), hold: part(rng, o.RoundLength, 10, 150)}
	if len(local) > 0 && (len(menu) == 0 || rng.IntN(100) < 55) {
		r.local = local[rng.IntN(len(local))]
	}
	if len(menu) > 0 && (r.local == kindNone || rng.IntN(100) < 50) {
		for range 1 + rng.IntN(2) {
			r.steps = append(r.steps, o.draw(rng, menu))
		}
	}
	slices.SortStableFunc(r.steps, func(a, b step) int { return int(a.at - b.at) })
	return r
}

func (o Options) draw(rng *rand.Rand, menu []step) step {
	s := menu[rng.IntN(len(menu))]
	s.at, s.hold = part(rng, o.RoundLength, 0, 60), part(rng, o.RoundLength, 20, 120)
	switch s.kind {
	case waySlow:
		s.n = 5 + rng.IntN(100)
	case wayReset:
		s.n = 1 + rng.IntN(20_000)
	}
	if s.target != "" && rng.IntN(25) == 0 {
		s.hold = 12 * time.Second // longer than drivers wait for an answer
	}
	if s.kind == wayDown {
		s.at = 0
	}
	return s
}

// menu lists the faults beside those of the program. A fault of the caller counts
// as much as all those of a way together: there are few, and they are the worst.
func (o Options) menu(targets []string) []step {
	var menu []step
	for _, t := range targets {
		for _, kind := range o.allowed(wayKinds(), t+" ") {
			menu = append(menu, step{name: t + " " + kind, target: t, kind: kind})
		}
	}
	for i, f := range o.Faults {
		for range 3 {
			menu = append(menu, step{name: f.Name, own: i})
		}
	}
	return menu
}

func (o Options) allowed(kinds []string, prefix string) []string {
	if o.Kinds == nil {
		return kinds
	}
	return slices.DeleteFunc(slices.Clone(kinds), func(k string) bool { return !slices.Contains(o.Kinds, prefix+k) })
}

// part is a random share of d, from..to percent.
func part(rng *rand.Rand, d time.Duration, from, to int) time.Duration {
	return d * time.Duration(from+rng.IntN(to-from+1)) / 100
}
