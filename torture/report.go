package torture

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Verdict is what a run says in the end.
type Verdict string

// The verdicts.
const (
	// Clean: every promise was kept.
	Clean Verdict = "clean"
	// Broken: a promise was broken; see the violations.
	Broken Verdict = "broken"
	// Unfinished: the run ended early, and nothing is known to be broken.
	Unfinished Verdict = "unfinished"
)

// Milliseconds is a duration that is written as a number of milliseconds.
type Milliseconds time.Duration

// MarshalJSON writes whole milliseconds.
func (m Milliseconds) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(m).Milliseconds())
}

// UnmarshalJSON reads milliseconds.
func (m *Milliseconds) UnmarshalJSON(b []byte) error {
	var n int64
	err := json.Unmarshal(b, &n)
	*m = Milliseconds(time.Duration(n) * time.Millisecond)
	return err
}

// String is for people, such as 1.5s.
func (m Milliseconds) String() string { return time.Duration(m).Round(time.Millisecond).String() }

// Setup is what was tortured, without secrets.
type Setup struct {
	Bus         string `json:"bus"`
	Store       string `json:"store"`
	Correlation string `json:"correlation"`
}

// Report is the outcome of a run.
type Report struct {
	Verdict Verdict `json:"verdict"`
	Seed    uint64  `json:"seed"`
	Setup   Setup   `json:"setup"`
	// Rounds were gone through to their end, with so many faults of each name.
	Rounds int            `json:"rounds"`
	Faults map[string]int `json:"faults"`
	// Offered events were sent at least once; Accepted ones have a receipt; Stored
	// ones were found in the store; Dead ones are open dead letters.
	Offered  int `json:"offered"`
	Accepted int `json:"accepted"`
	Stored   int `json:"stored"`
	Dead     int `json:"dead"`
	// Duplicates were sent on purpose and answered as such. Anew were accepted like
	// new events, which is allowed while a remote store is down; it keeps one.
	Duplicates int `json:"duplicates"`
	Anew       int `json:"duplicates_anew"`
	// Reordered events stood in the store behind younger ones of their key. It is
	// only counted where the bus does not promise otherwise; elsewhere it is a
	// violation.
	Reordered int `json:"reordered"`
	// Chain is the length of the longest chain of causes that was walked. Degraded
	// counts the walks on which a tracker beside the store did not know it whole.
	Chain    int `json:"chain"`
	Degraded int `json:"chain_degraded"`
	// Broken counts violations by kind; Violations holds the first of each kind.
	Broken     map[string]int `json:"broken"`
	Violations []Violation    `json:"violations"`
	// SlowestStart is from the start of the process until it served; SlowestRecovery
	// is from the end of all faults until all that was accepted was stored.
	SlowestStart    Milliseconds `json:"slowest_start_ms"`
	SlowestRecovery Milliseconds `json:"slowest_recovery_ms"`
	Took            Milliseconds `json:"took_ms"`
	// PeakRSS and PeakFiles are the most memory in bytes and open descriptors of the
	// program; 0 where the system does not say. Samples are the course of both.
	PeakRSS   int64    `json:"peak_rss_bytes"`
	PeakFiles int      `json:"peak_files"`
	Samples   []Sample `json:"-"`
	Disk      Disk     `json:"disk"`
	// Notes say what could not be tortured or removed.
	Notes []string `json:"notes"`
}

// finish fills in what is known at the end.
func (r *run) finish(failed error) {
	p := &r.report
	p.Offered, p.Accepted = r.ledger.counts()
	p.Stored, p.Duplicates, p.Anew = r.ledger.stored(), r.ledger.answered, r.ledger.anew
	p.Reordered = r.ledger.outside
	p.Broken, p.Violations = r.broken.count, r.broken.list
	p.Took = Milliseconds(time.Since(r.began))
	if r.meter != nil {
		var peak Sample
		p.Samples, peak = r.meter.result()
		p.PeakRSS, p.PeakFiles = peak.RSS, peak.Files
	}
	switch {
	case r.broken.total() > 0:
		p.Verdict = Broken
	case failed != nil:
		p.Verdict = Unfinished
	default:
		p.Verdict = Clean
	}
}

// WriteText writes the report for people.
func (r Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) error {
		_, err := fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
		return err
	}
	errs := []error{
		line("verdict", "%s", strings.ToUpper(string(r.Verdict))),
		line("set-up", "bus %s, store %s, correlation %s", r.Setup.Bus, r.Setup.Store, r.Setup.Correlation),
		line("rounds", "%d in %s, seed %d", r.Rounds, r.Took, r.Seed),
		line("events", "%d accepted, %d stored, %d dead letters (%d offered)", r.Accepted, r.Stored, r.Dead, r.Offered),
		line("duplicates", "%d answered as duplicates, %d taken anew", r.Duplicates, r.Anew),
		line("order", "%d events behind younger ones of their key", r.Reordered),
		line("causes", "a chain of %d walked; %d times in part", r.Chain, r.Degraded),
		line("slowest", "start %s, recovery %s", r.SlowestStart, r.SlowestRecovery),
		line("most used", "%d MiB of memory, %d open files", r.PeakRSS>>20, r.PeakFiles),
	}
	for i, name := range slices.Sorted(maps.Keys(r.Faults)) {
		head := ""
		if i == 0 {
			head = "faults"
		}
		errs = append(errs, line(head, "%d × %s", r.Faults[name], name))
	}
	for _, s := range r.Disk.lines() {
		errs = append(errs, line("disk", "%s", s))
	}
	for _, s := range r.Notes {
		errs = append(errs, line("note", "%s", s))
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Broken)) {
		errs = append(errs, line("BROKEN", "%s: %d", kind, r.Broken[kind]))
	}
	errs = append(errs, t.Flush())
	for _, v := range r.Violations {
		at := ""
		if v.EventID != zero() {
			at = v.EventID.String() + ": "
		}
		_, err := fmt.Fprintf(w, "%s: %s%s\n", v.Kind, at, v.Text)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
