package wal

import (
	"cmp"
	"slices"
)

// Status is a picture of the log at one moment.
type Status struct {
	Dir           string         `json:"dir"`
	Owner         string         `json:"owner"`
	First         uint64         `json:"first"` // oldest readable record; 0 = none
	Last          uint64         `json:"last"`  // newest durable record; 0 = none
	Segments      int            `json:"segments"`
	Bytes         int64          `json:"bytes"` // of records in those segments, with their lines
	Waiting       int            `json:"waiting"`
	Commits       uint64         `json:"commits"` // batches made durable since the log was opened
	Archived      int            `json:"archived"`
	ArchivedBytes int64          `json:"archived_bytes"`
	Quarantined   int            `json:"quarantined"`
	CutAtOpen     int64          `json:"cut_at_open_bytes"` // torn tail, copied to the quarantine
	Faults        []Fault        `json:"faults"`            // the first 100, found at open and by readers
	FaultCount    int            `json:"fault_count"`
	Cursors       []CursorStatus `json:"cursors"`
	FsyncMicros   float64        `json:"fsync_us"` // moving average
	SealedByError int            `json:"sealed_by_error"`
	LastError     string         `json:"last_error,omitempty"`
	Closed        bool           `json:"closed"`
}

// CursorStatus is where a follower is.
type CursorStatus struct {
	Name     string `json:"name"`
	Position uint64 `json:"position"`
	Lag      uint64 `json:"lag"` // records behind the newest
}

const maxFaults = 100

// addFaultLocked keeps a fault for Status; of too many only the count is kept.
func (l *Log) addFaultLocked(f Fault) {
	l.faultCount++
	if len(l.faults) < maxFaults {
		l.faults = append(l.faults, f)
	}
}

// Status returns what the log knows of itself. Counting archives and quarantined files reads their folders; an error
// there is told in LastError.
func (l *Log) Status() Status {
	archives, archiveErr := listArchives(l.fs, l.opt.Dir)
	quarantined, quarantineErr := listQuarantine(l.fs, l.opt.Dir)

	l.mu.Lock()
	s := Status{Dir: l.opt.Dir, Owner: l.opt.Owner, Last: l.last, Commits: l.commits, Segments: len(l.segments), CutAtOpen: l.cut,
		Faults: slices.Clone(l.faults), FaultCount: l.faultCount, SealedByError: l.badSeals, Closed: l.closed,
		FsyncMicros: float64(l.fsync.Load()) / 1000, Archived: len(archives), Quarantined: len(quarantined)}
	if len(l.segments) > 0 {
		s.First = l.segments[0].first
	}
	for _, ref := range l.segments {
		s.Bytes += ref.end
	}
	if l.pending != nil {
		s.Waiting = l.pending.n
	}
	for _, err := range []error{l.lastErr, archiveErr, quarantineErr} {
		if err != nil {
			s.LastError = err.Error()
		}
	}
	l.mu.Unlock()

	for _, a := range archives {
		s.ArchivedBytes += a.Bytes
	}
	for _, c := range l.cursorList() {
		at := c.Position()
		s.Cursors = append(s.Cursors, CursorStatus{Name: c.name, Position: at, Lag: s.Last - min(at, s.Last)})
	}
	sortCursors(s.Cursors)
	return s
}

func sortCursors(list []CursorStatus) {
	slices.SortFunc(list, func(a, b CursorStatus) int { return cmp.Compare(a.Name, b.Name) })
}
