package torture

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// Options say what is tortured, and how long.
type Options struct {
	// Command starts the program, such as the path of bb; what comes behind it is
	// added here: up and its flags. Required.
	Command []string
	// Env is the environment of the program, KEY=VALUE. Settings that torture needs
	// (where data, bus, store and tracker are) are added behind it, and win.
	Env []string
	// Dir is a folder of torture's own, best on the disk that is to be examined. It
	// must be empty or missing. It is removed at the end unless something is wrong.
	Dir string
	// Beside is the user's own data folder, which is only compared: does it lie on
	// the same file system? "" compares nothing.
	Beside string
	// Bus, Store and Correlation are the addresses as in BB_BUS, BB_STORE and
	// BB_CORRELATION. Empty ones are the built-in bus, SQLite in Dir, and the store.
	Bus, Store, Correlation string
	// Shared allows a bus on which torture cannot have names of its own; see
	// [Isolation].
	Shared bool

	// Rounds, Duration and Events end the torture: whichever comes first. All zero
	// means 30 rounds.
	Rounds   int
	Duration time.Duration
	Events   int // accepted
	// Seed decides the faults: the same seed and set-up plan the same ones at the
	// same moments. 0 is a seed like any other.
	Seed uint64
	// RoundLength is how long events flow in a round; 0 means 400 ms, or a second
	// where a server is remote.
	RoundLength time.Duration
	// Publishers is how many clients publish at once; 0 means 4.
	Publishers int
	// Batch is the most events in one request; 0 means 20.
	Batch int
	// PerRound is about how many events one publisher sends in a round, so that a
	// slow machine is not drowned; 0 means 150, below 0 no limit.
	PerRound int
	// Pause is the longest pause of a publisher between two requests; 0 means a
	// fiftieth of the round, at most 20 ms.
	Pause time.Duration
	// Check is how many rounds lie between two checks of everything; 0 means 10.
	Check int
	// Patience is how long a healed set-up may take to deliver and store all that
	// waits, and the program to start or stop; 0 means two minutes.
	Patience time.Duration
	// Kinds are the kinds of faults to use, by the names of [Plan]; nil means all
	// that the set-up allows.
	Kinds []string
	// Faults are further ones that only the caller can cause, such as the death of a
	// server that belongs to a test.
	Faults []Fault
	// Progress is told after each round; it may be nil.
	Progress func(Progress)

	// samples is how often memory and descriptors are looked at; tests shorten it.
	samples time.Duration
	// arrival is how long an event may be missing while all lags are 0, which are
	// counted a moment late; tests shorten it.
	arrival time.Duration
	// fsyncs is how often the disk is asked; tests ask less.
	fsyncs int
}

// Fault is something that the caller does to the surroundings of the program.
type Fault struct {
	// Name says what happens, such as "broker killed".
	Name string
	// Begin does it, and End mends it; both may take their time. What fails is an
	// error of the whole run. End is called once for each Begin.
	Begin, End func(ctx context.Context) error
}

// Progress is where a run is.
type Progress struct {
	Round, Rounds int // Rounds is 0 when something else ends the run
	// Faults are those of the round.
	Faults   []string
	Accepted int
	// Checked says that everything was checked after this round; Broken counts
	// what was found so far.
	Checked bool
	Broken  int
}

var errOptions = errors.New("torture")

func (o Options) withDefaults() Options {
	if o.Rounds == 0 && o.Duration == 0 && o.Events == 0 {
		o.Rounds = 30
	}
	if o.RoundLength == 0 {
		o.RoundLength = 400 * time.Millisecond
		if isRemote(o.Bus) || isRemote(o.Store) || isRemote(o.Correlation) {
			o.RoundLength = time.Second
		}
	}
	o.Publishers = cmp.Or(o.Publishers, 4)
	o.Batch = cmp.Or(o.Batch, 20)
	o.PerRound = cmp.Or(o.PerRound, 150)
	o.Pause = cmp.Or(o.Pause, min(o.RoundLength/50, 20*time.Millisecond))
	o.Check = cmp.Or(o.Check, 10)
	o.Patience = cmp.Or(o.Patience, 2*time.Minute)
	o.samples = cmp.Or(o.samples, 200*time.Millisecond)
	o.fsyncs = cmp.Or(o.fsyncs, 200)
	o.arrival = cmp.Or(o.arrival, 10*time.Second)
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	return o
}
