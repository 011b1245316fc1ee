package cli_test

import (
	"context"
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/33god/bloodbank/internal/testenv"
	"github.com/33god/bloodbank/torture"
)

// A run of make soak has a million; the default is for every day.
var soakEvents = flag.Int("soak.events", 20_000, "how many events go through each soak")

// soakOptions let so many events flow in each round that the rounds are as many as
// the restarts that are wanted, and leave the program alone: its memory is
// watched from the first to the last event.
func soakOptions(t *testing.T) torture.Options {
	t.Helper()
	o := tortureOptions(t)
	o.Kinds, o.Events, o.Rounds = []string{"none"}, *soakEvents, 0
	o.Batch, o.PerRound, o.Check, o.Patience = 100, 10_000, 10, 10*time.Minute
	o.RoundLength = 10 * time.Second
	if *soakEvents < 200_000 {
		o.PerRound, o.RoundLength = *soakEvents/12, time.Second
	}
	return o
}

// TestSoakEmbedded sends many events through one process: it stays as small as it
// was, and the store has each once and in order.
func TestSoakEmbedded(t *testing.T) {
	o := soakOptions(t)
	o.RoundLength /= 2
	flat(t, tortured(t, o))
}

// TestSoakRabbitMQ does the same while RabbitMQ is restarted again and again.
func TestSoakRabbitMQ(t *testing.T) {
	o := soakOptions(t)
	rabbit := testenv.PrivateRabbitMQ(t)
	o.Bus = rabbit.URL()
	o.Faults = []torture.Fault{{
		Name:  "broker restarted",
		Begin: func(context.Context) error { rabbit.Restart(); return nil },
		End:   func(context.Context) error { return nil },
	}}
	report := tortured(t, o)
	if n := report.Faults["broker restarted"]; n < 3 {
		t.Errorf("the broker was restarted %d times only", n)
	}
	flat(t, report)
}

// judgedEvents is from how many events on a run says something about memory.
const judgedEvents = 200_000

// flat fails if the program grew between the second and the last third of its
// run; the first is for warming up.
func flat(t *testing.T, r torture.Report) {
	t.Helper()
	if r.Accepted < *soakEvents {
		t.Errorf("%d events were accepted, want %d", r.Accepted, *soakEvents)
	}
	third := len(r.Samples) / 3
	if third < 5 {
		t.Fatalf("there are only %d samples", len(r.Samples))
	}
	middle, end := r.Samples[third:2*third], r.Samples[2*third:]
	rss := func(s torture.Sample) int64 { return s.RSS }
	files := func(s torture.Sample) int64 { return int64(s.Files) }
	const growth = 32 << 20 // garbage that was not collected yet
	for i := range 10 {
		s := r.Samples[i*len(r.Samples)/10]
		t.Logf("at %s: %d MiB, %d files", s.At, s.RSS>>20, s.Files)
	}
	t.Logf("memory %d MiB, then %d MiB; open files %d, then %d",
		median(middle, rss)>>20, median(end, rss)>>20, median(middle, files), median(end, files))
	// A short run is mostly its beginning, and the race detector keeps what the program
	// has long let go: there the memory is shown, and judged by make soak.
	if a, b := median(middle, rss), median(end, rss); *soakEvents >= judgedEvents && b > a+a/4+growth {
		t.Errorf("the memory grew from %d to %d MiB", a>>20, b>>20)
	}
	if a, b := median(middle, files), median(end, files); b > a+10 {
		t.Errorf("the open files grew from %d to %d", a, b)
	}
}

func median(samples []torture.Sample, of func(torture.Sample) int64) int64 {
	all := make([]int64, len(samples))
	for i, s := range samples {
		all[i] = of(s)
	}
	slices.Sort(all)
	return all[len(all)/2]
}
