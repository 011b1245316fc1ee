package dispatch

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/33god/bloodbank"
)

const (
	// maxWhy is the longest reason for a discard, in bytes.
	maxWhy = 1000
	// discardBatch is how many are written at once.
	discardBatch = 32
)

// DiscardRequest asks for dead letters to be closed without being sent.
type DiscardRequest struct {
	Filter Filter
	// Reason is why, in 1 to 1,000 bytes. It is kept in the log with the closed
	// dead letters.
	Reason string
	// Limit is how many are discarded at the most, up to 1000; 0 means that many.
	Limit int
	// DryRun only says which would be discarded.
	DryRun bool
}

// DiscardReport is what became of them.
type DiscardReport struct {
	// Matched is how many the filter chose.
	Matched int
	// Outcomes are those that were discarded, or in a dry run would be, oldest in
	// the log first. Err is nil for a discarded one, CodeConflict for one that is
	// being sent at this moment, or was named and has been delivered.
	Outcomes []Outcome
	// Left is how many of the chosen stay: those over the limit and those with an
	// error.
	Left int
}

// Discard closes dead letters for good. Their target never gets them; what other
// targets have of them stays.
//
// Codes: invalid for a missing or overlong reason; unavailable when it cannot be
// written down: the report says how far it got, and what could not be written
// stays listed.
func (d *DeadLetters) Discard(ctx context.Context, r DiscardRequest) (DiscardReport, error) {
	r.Reason = strings.TrimSpace(r.Reason)
	if r.Reason == "" || len(r.Reason) > maxWhy {
		return DiscardReport{}, bloodbank.Errorf(bloodbank.CodeInvalid, "a discard needs a reason of 1 to %d bytes, not %d", maxWhy, len(r.Reason))
	}
	all := d.inOrder(r.Filter)
	report := DiscardReport{Matched: len(all), Left: len(all)}
	if r.Limit <= 0 || r.Limit > maxMany {
		r.Limit = maxMany
	}
	all = all[:min(r.Limit, len(all))]
	for _, letter := range all {
		report.Outcomes = append(report.Outcomes, Outcome{DeadLetter: letter})
	}
	if r.DryRun || len(all) == 0 {
		return report, nil
	}
	positions := d.positions(ctx, all)
	for batch := range slices.Chunk(report.Outcomes, discardBatch) {
		gone, err := d.discard(ctx, batch, r.Reason)
		report.Left -= gone
		if err != nil {
			return report, err
		}
	}
	for target, position := range positions {
		d.passed(target, position)
	}
	d.trim(ctx)
	return report, nil
}

// positions returns positions of the targets that are on disk: what is discarded
// up to there cannot come again.
func (d *DeadLetters) positions(ctx context.Context, of []DeadLetter) map[string]uint64 {
	found := make(map[string]uint64)
	for _, letter := range of {
		if _, known := found[letter.Target]; known {
			continue
		}
		found[letter.Target] = 0
		if by := d.dispatcherOf(letter.Target); by != nil {
			found[letter.Target] = by.durable(ctx)
		}
	}
	return found
}

// discard closes the dead letters of the outcomes and sets their errors. It
// returns how many it closed.
func (d *DeadLetters) discard(ctx context.Context, outcomes []Outcome, reason string) (int, error) {
	var records [][]byte
	var gone []DeadLetter
	for i := range outcomes {
		l := outcomes[i].DeadLetter
		if outcomes[i].Err = d.claim(l.Number, 2*maxMany); outcomes[i].Err != nil {
			continue
		}
		defer d.unclaim(l.Number)
		record, err := json.Marshal(deadRecord{Closed: l.Number, Discarded: &discarded{
			Target: l.Target, Sequence: l.Sequence, EventID: l.EventID, Reason: reason, At: d.now().UTC(),
		}})
		if err != nil {
			return 0, err
		}
		records, gone = append(records, record), append(gone, l)
	}
	if len(records) == 0 {
		return 0, nil
	}
	first, err := d.log.AppendBatch(ctx, records)
	if err != nil {
		return 0, bloodbank.Errorf(bloodbank.CodeUnavailable, "the discard cannot be written down, so they stay listed: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, l := range gone {
		d.closeLocked(l.Number)
		d.discarded[l.place()] = first + uint64(i)
	}
	return len(gone), nil
}

// durable returns a position that is on disk; 0 where it cannot be written.
func (d *Dispatcher) durable(ctx context.Context) uint64 {
	at := d.cur.Position()
	if d.cur.Sync(ctx) != nil {
		return 0
	}
	return at
}
