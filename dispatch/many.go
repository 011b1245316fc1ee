package dispatch

import (
	"context"
	"errors"
	"sync"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
)

const (
	// maxMany is how many dead letters one call redrives or discards.
	maxMany = 1000
	// manyAtOnce is how many of them are on their way to the bus together.
	manyAtOnce = 32
	// giveUpAfter is how many failures without a success between them say that the
	// bus is at fault, though it says that it works.
	giveUpAfter = 3
)

// RedriveRequest asks for many dead letters to be sent again.
type RedriveRequest struct {
	Filter Filter
	// After is the Next of an earlier report of the same filter; "" begins.
	After string
	// Limit is how many are tried at the most, up to 1000; 0 means that many.
	Limit int
	// DryRun only says which would be tried.
	DryRun bool
	// Progress is told of each outcome as it comes, from one goroutine at a time;
	// it may be nil and must not block.
	Progress func(Outcome)
}

// Outcome is what became of one dead letter.
type Outcome struct {
	DeadLetter DeadLetter // without its event
	// Err is nil where the bus has taken it. CodeConflict says among others that
	// it was not tried because an earlier one of its key stays.
	Err error
}

// RedriveReport is what became of many.
type RedriveReport struct {
	// Matched is how many the filter chose behind After.
	Matched int
	// Outcomes are those that were tried, or in a dry run would be, in the order of
	// the log.
	Outcomes []Outcome
	// Left is how many of the chosen were not tried.
	Left int
	// Next is where to go on; "" when nothing is left to try. After a stop it is
	// where this call began: what was delivered is not chosen again.
	Next string
	// Stopped is why it ended early: a bus that is down, or the end of ctx.
	Stopped error
}

// RedriveMany sends many dead letters again. Those of one target and key go in the
// order of the log, one behind the other, and none goes while an earlier chosen
// one of its key stays; the others go side by side, the oldest first. A target
// whose bus is down is left alone from then on. It ends with ctx; what is on its
// way then may still be delivered, and is closed then. What was delivered and is not
// closed yet, see [Dispatcher.Redrive], is chosen only by its number, and then it is
// a conflict.
//
// The error is CodeInvalid for a bad After; what goes wrong with single dead
// letters is in the report.
func (d *DeadLetters) RedriveMany(ctx context.Context, r RedriveRequest) (RedriveReport, error) {
	begin, err := parseMark(r.After)
	if err != nil {
		return RedriveReport{}, err
	}
	all := d.inOrder(r.Filter)
	run := redriveRun{d: d, progress: r.Progress, stuck: make(map[lane]uint64), failures: make(map[string]int), stopped: make(map[string]error)}
	skipped := 0
	for skipped < len(all) && markOf(all[skipped]).compare(begin) <= 0 {
		run.block(all[skipped])
		skipped++
	}
	all = all[skipped:]
	report := RedriveReport{Matched: len(all)}
	if r.Limit <= 0 || r.Limit > maxMany {
		r.Limit = maxMany
	}
	page := all[:min(r.Limit, len(all))]
	if len(page) < len(all) {
		report.Next = markOf(page[len(page)-1]).String()
	}
	if r.DryRun {
		for _, letter := range page {
			report.Outcomes = append(report.Outcomes, Outcome{DeadLetter: letter})
		}
		report.Left = len(all)
		return report, nil
	}
	report.Outcomes = run.run(ctx, page)
	report.Left = len(all) - len(report.Outcomes)
	if report.Stopped = run.why(ctx); report.Stopped != nil && len(report.Outcomes) < len(page) {
		report.Next = begin.String()
	}
	return report, nil
}

// lane is what is sent one behind the other.
type lane struct{ target, key string }

// redriveRun is one call of RedriveMany.
type redriveRun struct {
	d *DeadLetters

	mu       sync.Mutex
	progress func(Outcome)
	stuck    map[lane]uint64  // the number of the first one of its key that stays
	failures map[string]int   // in a row, by target
	stopped  map[string]error // targets that are left alone, with the reason
}

func (r *redriveRun) block(l DeadLetter) {
	if at := (lane{l.Target, l.Key}); l.Key != "" && !l.delivered() && r.stuck[at] == 0 {
		r.stuck[at] = l.Number
	}
}

// run tries a page: the oldest lanes first, some of them side by side.
func (r *redriveRun) run(ctx context.Context, page []DeadLetter) []Outcome {
	results := make([]*Outcome, len(page))
	lanes := make(map[lane][]int)
	for i, l := range page {
		if l.Key != "" {
			lanes[lane{l.Target, l.Key}] = append(lanes[lane{l.Target, l.Key}], i)
		}
	}
	slots := make(chan struct{}, manyAtOnce)
	var wg sync.WaitGroup
	for i, l := range page {
		chain := []int{i}
		if l.Key != "" {
			if chain = lanes[lane{l.Target, l.Key}]; chain[0] != i {
				continue // it goes with the first of its lane
			}
		}
		slots <- struct{}{} // each attempt ends with ctx, so this does not block for long
		wg.Go(func() {
			defer func() { <-slots }()
			for _, i := range chain {
				results[i] = r.try(ctx, page[i])
			}
		})
	}
	wg.Wait()
	var outcomes []Outcome
	for _, result := range results {
		if result != nil {
			outcomes = append(outcomes, *result)
		}
	}
	return outcomes
}

// try sends one; nil where it is left alone.
func (r *redriveRun) try(ctx context.Context, l DeadLetter) *Outcome {
	r.mu.Lock()
	first := r.stuck[lane{l.Target, l.Key}]
	leave := r.stopped[l.Target] != nil || ctx.Err() != nil
	r.mu.Unlock()
	if leave {
		return nil
	}
	o := &Outcome{DeadLetter: l}
	if l.Key != "" && first != 0 {
		o.Err = bloodbank.Errorf(bloodbank.CodeConflict, "dead letter %d stays, because %d of the same key, which comes before it, stays", l.Number, first)
	} else {
		o.Err = r.d.Redrive(ctx, l.Number)
	}
	down := o.Err != nil && first == 0 && r.d.isDown(ctx, l.Target)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.judge(o, down)
	if r.progress != nil {
		r.progress(*o)
	}
	return o
}

// judge tells the failure of a bus from that of a dead letter.
func (r *redriveRun) judge(o *Outcome, down bool) {
	target := o.DeadLetter.Target
	if o.Err == nil {
		r.failures[target] = 0
		return
	}
	code := bloodbank.CodeOf(o.Err)
	if code != bloodbank.CodeNotFound { // closed by somebody else meanwhile
		r.block(o.DeadLetter)
	}
	if code != bloodbank.CodeUnavailable && code != bloodbank.CodeTimeout || errors.Is(o.Err, bus.ErrRejected) {
		return
	}
	if r.failures[target]++; (down || r.failures[target] >= giveUpAfter) && r.stopped[target] == nil {
		r.stopped[target] = o.Err
	}
}

func (r *redriveRun) why(ctx context.Context) error {
	if ctx.Err() != nil {
		return bloodbank.Errorf(bloodbank.CodeTimeout, "it was ended before all were tried: %w", context.Cause(ctx))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var faults []error
	for _, err := range r.stopped {
		faults = append(faults, err)
	}
	if len(faults) == 0 {
		return nil
	}
	return bloodbank.Errorf(bloodbank.CodeUnavailable, "it was ended because the bus takes nothing at the moment; what is left stays listed: %w", errors.Join(faults...))
}

// isDown asks whether a target takes messages at all.
func (d *DeadLetters) isDown(ctx context.Context, target string) bool {
	by := d.dispatcherOf(target)
	if by == nil {
		return true
	}
	by.mu.Lock()
	faulty := by.fault.err != nil
	by.mu.Unlock()
	if faulty {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	return by.o.Publisher.Check(ctx) != nil
}
