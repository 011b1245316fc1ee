package torture

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// lying are the options for a fake with a lie.
func lying(t *testing.T, lie string) Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Command: []string{self}, Env: append(os.Environ(), fakeEnv+"="+lie), Dir: filepath.Join(t.TempDir(), "torture"),
		Events: 500, Check: 4, RoundLength: 100 * time.Millisecond, Seed: 7, Patience: 20 * time.Second,
		Kinds: []string{"bb killed", "bb stopped"}, samples: 10 * time.Millisecond, arrival: 300 * time.Millisecond, fsyncs: 10, Batch: 5,
	}
}

// TestHonestServerIsClean: the oracle finds nothing where there is nothing.
func TestHonestServerIsClean(t *testing.T) {
	t.Parallel()
	for _, lie := range []string{"nothing", "buries"} {
		o := lying(t, lie)
		o.Kinds = []string{"bb killed", "bb killed while starting", "bb stopped", "bb frozen"}
		if lie == "buries" { // its dead letters are in memory
			o.Kinds = []string{"bb frozen"}
		}
		report, err := Run(t.Context(), o)
		if err != nil || report.Verdict != Clean || report.Accepted < o.Events {
			t.Fatalf("%s: %v, %s, %v", lie, err, report.Verdict, report.Violations)
		}
		report.Samples = report.Samples[:min(len(report.Samples), 3)]
		if report.Accepted == 0 || report.Stored+report.Dead < report.Accepted || report.Duplicates == 0 || lie == "nothing" && report.Chain < 10 {
			t.Errorf("%s: %+v", lie, report)
		}
		if (report.Dead > 0) != (lie == "buries") {
			t.Errorf("%s: %d dead letters", lie, report.Dead)
		}
		if _, err := os.Stat(o.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder is left: %v", err)
		}
		if len(report.Samples) == 0 || report.PeakRSS == 0 || report.PeakFiles == 0 {
			t.Errorf("the program was not measured: %+v", report)
		}
	}
}

// TestOracleFindsEveryLie: each doctored server breaks one promise, and is found
// out for that.
func TestOracleFindsEveryLie(t *testing.T) {
	t.Parallel()
	for lie, kind := range map[string]string{
		"does not log":            "lost",
		"logs late":               "lost",
		"stores twice":            "twice",
		"invents":                 "foreign",
		"turns around":            "order",
		"writes the payload anew": "payload",
		"forgets a cause":         "parents",
		"knows no duplicates":     "duplicate",
		"refuses":                 "refused",
		"stores later":            "stored",
		"loses the way":           "chain",
		"buries without a word":   "dead",
		"dies":                    "died",
		"ends badly":              "stop",
		"never delivers":          "stuck",
	} {
		t.Run(lie, func(t *testing.T) {
			t.Parallel()
			o := lying(t, lie)
			switch lie {
			case "never delivers":
				o.Patience = 2 * time.Second
			case "dies", "refuses", "buries without a word":
				o.Kinds = []string{"none"} // it does it all by itself
			}
			report, err := Run(t.Context(), o)
			if err != nil && lie != "dies" {
				t.Fatal(err)
			}
			if report.Verdict != Broken || report.Broken[kind] == 0 {
				t.Fatalf("a server that %s is %s: %v", lie, report.Verdict, report.Violations)
			}
			if !slices.ContainsFunc(report.Violations, func(v Violation) bool { return v.Kind == kind && v.Text != "" }) {
				t.Errorf("nothing says what: %v", report.Violations)
			}
			if _, err := os.Stat(o.Dir); err != nil {
				t.Errorf("nothing is kept for a look: %v", err)
			}
		})
	}
}

// TestSameSeedSamePlan: a seed is worth repeating.
func TestSameSeedSamePlan(t *testing.T) {
	t.Parallel()
	targets := []string{targetBus, targetStore, targetCorrelation}
	o := Options{Seed: 42, Bus: "amqp://x/", Faults: []Fault{{Name: "broker killed"}}}
	const rounds = 400
	first := Plan(o, targets, rounds)
	if again := Plan(o, targets, rounds); !reflect.DeepEqual(first, again) {
		t.Error("the same seed planned something else")
	}
	if a, b := planRound(o.withDefaults(), targets, 9), planRound(o.withDefaults(), targets, 9); !reflect.DeepEqual(a, b) {
		t.Errorf("the moments differ: %+v %+v", a, b)
	}
	o.Seed = 43
	if other := Plan(o, targets, rounds); reflect.DeepEqual(first, other) {
		t.Error("another seed planned the same")
	}
	count := map[string]int{}
	for _, names := range first {
		if len(names) == 0 {
			t.Fatal("a round without a fault")
		}
		for _, n := range names {
			count[n]++
		}
	}
	want := []string{"broker killed"}
	for _, k := range localKinds() {
		want = append(want, "bb "+k)
	}
	for _, target := range targets {
		for _, k := range wayKinds() {
			want = append(want, target+" "+k)
		}
	}
	for _, name := range want {
		if count[name] == 0 {
			t.Errorf("in %d rounds never: %s", rounds, name)
		}
	}
}

// TestInterrupted: the end of the context ends everything, and leaves nothing.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	o := lying(t, "nothing")
	o.Rounds, o.Events = 1000, 0
	o.Progress = func(p Progress) {
		if p.Round == 2 {
			cancel()
		}
	}
	report, err := Run(ctx, o)
	if !errors.Is(err, context.Canceled) || report.Verdict != Unfinished || report.Rounds > 3 {
		t.Errorf("%v, %+v", err, report)
	}
	if _, err := os.Stat(o.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
}

// TestLimits: events and time end a run too.
func TestLimits(t *testing.T) {
	t.Parallel()
	o := lying(t, "nothing")
	o.Events = 300
	report, err := Run(t.Context(), o)
	if err != nil || report.Verdict != Clean || report.Accepted < 300 || report.Accepted > 1500 {
		t.Errorf("%v, %+v", err, report)
	}
	o = lying(t, "nothing")
	o.Events, o.Duration = 0, 500*time.Millisecond
	report, err = Run(t.Context(), o)
	if err != nil || report.Verdict != Clean || report.Rounds == 0 || time.Duration(report.Took) < o.Duration {
		t.Errorf("%v, %+v", err, report)
	}
}

// TestCannotBegin: what is wrong with the options is said, and nothing is made.
func TestCannotBegin(t *testing.T) {
	t.Parallel()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Options)
		says   string
	}{
		"no program":        {func(o *Options) { o.Command = nil }, "Command"},
		"absent program":    {func(o *Options) { o.Command = []string{"/nonexistent/bb"} }, "/nonexistent/bb"},
		"program that ends": {func(o *Options) { o.Command = []string{"false"} }, "ended by itself"},
		"full folder":       {func(o *Options) { o.Dir = full }, "not empty"},
		"shared bus":        {func(o *Options) { o.Bus = "nats://127.0.0.1:1" }, "--yes"},
		"bad address":       {func(o *Options) { o.Bus = "amqp://u:secret@[::1" }, "bus"},
	} {
		o := lying(t, "nothing")
		c.change(&o)
		report, err := Run(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
		if report.Verdict != Unfinished {
			t.Errorf("%s: %s", name, report.Verdict)
		}
	}
	if _, err := os.Stat(filepath.Join(full, "mine")); err != nil {
		t.Error("it has removed what is not its own")
	}
}

// TestReport: both forms say everything, and no form a password.
func TestReport(t *testing.T) {
	t.Parallel()
	r := Report{
		Verdict: Broken, Seed: 12, Setup: Setup{Bus: shown("amqp://u:secret@h:1/v?x=secret", "")},
		Faults: map[string]int{"bb killed": 3}, Broken: map[string]int{"lost": 1},
		Violations: []Violation{{Kind: "lost", Text: "gone"}}, SlowestStart: Milliseconds(1500 * time.Millisecond),
		Disk: examineDisk(t.TempDir(), "", 5), Notes: []string{"a note"},
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"BROKEN", "12", "3 × bb killed", "lost: 1", "gone", "1.5s", "a note", "amqp://h:1/v", "fsync p50"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
	var back Report
	if err := json.Unmarshal(data, &back); err != nil || back.SlowestStart != r.SlowestStart || back.Setup != r.Setup || !reflect.DeepEqual(back.Violations, r.Violations) {
		t.Errorf("%v %+v", err, back)
	}
	if strings.Contains(text.String()+string(data), "secret") {
		t.Error("it shows a password")
	}
}
