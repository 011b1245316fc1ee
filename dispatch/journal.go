package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/wal"
)

const (
	// maxRemembered bounds the messages whose attempts are remembered, all targets
	// together. What comes on top counts anew after a restart.
	maxRemembered = 4096
	// compactAfter is how many records a journal grows before it is written anew,
	// and more where what it remembers is more.
	compactAfter = 256
)

// Journal remembers across restarts what neither the log nor its cursors know:
// how often a message has failed on its own and when it is due again, and which
// targets there are. It has a small log of its own; one of 1 MiB segments holds
// all it ever remembers.
//
// Law: it may be some steps behind, never ahead. It is written off the
// dispatching loops, so that no confirm waits for it; a crash loses at most the
// step that was about to be written.
type Journal struct {
	log *wal.Log

	writing sync.Mutex // held over an append; before mu
	grown   int        // records since the last whole one

	mu       sync.Mutex
	targets  map[string]bool // true: in use; false: given up
	attempts map[place]attempt
}

// place is an event on its way to a target.
type place struct {
	target string
	seq    uint64
}

// attempt is what is known of a message that failed on its own.
type attempt struct {
	count int // 0: it is not of interest any more
	due   time.Time
}

// journalRecord is a line of the log: what has changed, or with Whole all there
// is.
type journalRecord struct {
	Whole    bool            `json:"whole,omitempty"`
	Targets  map[string]bool `json:"targets,omitempty"`
	Attempts []attemptRecord `json:"attempts,omitempty"`
}

type attemptRecord struct {
	Target   string    `json:"target"`
	Sequence uint64    `json:"sequence"`
	Count    int       `json:"count"`
	Due      time.Time `json:"due,omitzero"`
}

// OpenJournal reads a journal and compacts it. The caller keeps owning the log.
func OpenJournal(ctx context.Context, log *wal.Log) (*Journal, error) {
	j := &Journal{log: log, targets: make(map[string]bool), attempts: make(map[place]attempt)}
	err := j.load(ctx)
	if err == nil && j.grown > 1 {
		err = j.compact(ctx)
	}
	if err != nil {
		return nil, bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot read the journal of attempts: %w", err)
	}
	return j, nil
}

// load takes every record in. What is damaged is stepped over: a message then
// counts its attempts anew.
func (j *Journal) load(ctx context.Context) error {
	r, err := j.log.NewReader(0)
	if err != nil {
		return err
	}
	defer r.Close()
	for ctx.Err() == nil {
		record, ok, err := r.TryNext()
		if errors.Is(err, wal.ErrCorrupt) {
			continue
		}
		if err != nil || !ok {
			return err
		}
		var entry journalRecord
		if json.Unmarshal(record.Data, &entry) == nil {
			j.apply(entry)
		}
		j.grown++
	}
	return context.Cause(ctx)
}

func (j *Journal) apply(entry journalRecord) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if entry.Whole {
		clear(j.targets)
		clear(j.attempts)
	}
	for name, used := range entry.Targets {
		j.targets[name] = used
		if !used {
			maps.DeleteFunc(j.attempts, func(p place, _ attempt) bool { return p.target == name })
		}
	}
	for _, a := range entry.Attempts {
		if p := (place{a.Target, a.Sequence}); a.Count > 0 {
			j.attempts[p] = attempt{a.Count, a.Due}
		} else {
			delete(j.attempts, p)
		}
	}
}

// target reports whether a target is in use, and whether it is known at all.
func (j *Journal) target(name string) (used, known bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	used, known = j.targets[name]
	return used, known
}

func (j *Journal) setTarget(ctx context.Context, name string, used bool) error {
	return j.write(ctx, journalRecord{Targets: map[string]bool{name: used}})
}

// allTargets returns the targets that are in use.
func (j *Journal) allTargets() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var list []string
	for name, used := range j.targets {
		if used {
			list = append(list, name)
		}
	}
	return list
}

// of returns what is remembered of a target's messages.
func (j *Journal) of(target string) map[uint64]attempt {
	j.mu.Lock()
	defer j.mu.Unlock()
	found := make(map[uint64]attempt)
	for p, a := range j.attempts {
		if p.target == target {
			found[p.seq] = a
		}
	}
	return found
}

// note writes down new attempts of a target's messages, or that there is nothing
// to remember of them any more.
func (j *Journal) note(ctx context.Context, target string, changes map[uint64]attempt) error {
	var entry journalRecord
	j.mu.Lock()
	room := maxRemembered - len(j.attempts)
	for seq, a := range changes {
		_, known := j.attempts[place{target, seq}]
		if !known && (a.count == 0 || room <= 0) {
			continue
		}
		if !known {
			room--
		}
		entry.Attempts = append(entry.Attempts, attemptRecord{target, seq, a.count, a.due})
	}
	j.mu.Unlock()
	if len(entry.Attempts) == 0 {
		return nil
	}
	return j.write(ctx, entry)
}

func (j *Journal) write(ctx context.Context, entry journalRecord) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	if err := j.append(ctx, entry); err != nil {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot write to the journal of attempts: %w", err)
	}
	if j.apply(entry); j.grown > compactAfter {
		_ = j.compact(ctx) // to save space; the next one does it as well
	}
	return nil
}

func (j *Journal) append(ctx context.Context, entry journalRecord) error {
	data, err := json.Marshal(entry)
	if err == nil {
		_, err = j.log.Append(ctx, data)
	}
	if err == nil {
		j.grown++
	}
	return err
}

// compact writes all there is in one record and lets the ones before it go.
func (j *Journal) compact(ctx context.Context) error {
	whole := journalRecord{Whole: true, Targets: make(map[string]bool)}
	j.mu.Lock()
	maps.Copy(whole.Targets, j.targets)
	for p, a := range j.attempts {
		whole.Attempts = append(whole.Attempts, attemptRecord{p.target, p.seq, a.count, a.due})
	}
	j.mu.Unlock()
	if err := j.append(ctx, whole); err != nil {
		return err
	}
	j.grown = 0
	return j.log.Truncate(ctx, j.log.Last()-1)
}
