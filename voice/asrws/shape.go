package asrws

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// shape makes the message for a state, as the client wants it. It sees every state that
// is sent, in order.
type shape interface {
	message(s state) any
}

func newShape(p params) shape {
	switch {
	case p.legacy:
		return legacy{}
	case p.mode == modeDiff:
		return &differ{}
	}
	return full{}
}

// full is the default: every state as it is.
type full struct{}

func (full) message(s state) any { return s }

// differ makes the messages of mode diff.
//
// Upstream's server and its documented client disagree: to the documented client
// new_lines are always appended, while the rule that fits upstream's server first cuts
// what is kept to n_lines-len(new_lines). So here lines are only ever cut off in front
// or appended; where they changed otherwise, all are cut off and sent again. Both rules
// then give the same.
type differ struct {
	seq  int
	told []line // never changed by anyone
}

func (d *differ) message(s state) any {
	d.seq++
	before := d.told
	d.told = s.Lines
	if d.seq == 1 {
		return snapshot{Type: "snapshot", Seq: d.seq, state: s}
	}
	pruned := pruning(before, s.Lines)
	return difference{
		Type: "diff", Seq: d.seq, Status: s.Status, Count: len(s.Lines), current: s.current,
		Pruned: pruned, New: s.Lines[len(before)-pruned:], extras: s.extras,
	}
}

// pruning is the number of lines to cut off in front of before, so that the rest is
// what after begins with.
func pruning(before, after []line) int {
	if len(after) == 0 {
		return len(before)
	}
	at := slices.Index(before, after[0])
	if at < 0 || len(before)-at > len(after) || !slices.Equal(before[at:], after[:len(before)-at]) {
		return len(before)
	}
	return at
}

// legacy makes states as version 0.2.8 had them, whose clients know no config and no
// other keys. Its lines have the names of both generations.
type legacy struct{}

type legacyState struct {
	Status      string       `json:"status"`
	Lines       []legacyLine `json:"lines"`
	Interim     string       `json:"buffer_transcription"`
	Diarization string       `json:"buffer_diarization"`
	Lag         seconds      `json:"remaining_time_transcription"`
	DiarizeLag  seconds      `json:"remaining_time_diarization"`
	Error       string       `json:"error,omitempty"`
}

type legacyLine struct {
	Speaker int    `json:"speaker"`
	Text    string `json:"text"`
	Start   string `json:"start"`
	End     string `json:"end"`
	Begin   string `json:"beg"`
	// Diff is the time in seconds for which nobody has told the speakers apart: here all.
	Diff float64 `json:"diff"`
}

func (legacy) message(s state) any {
	m := legacyState{Status: s.Status, Lines: make([]legacyLine, 0, max(1, len(s.Lines))), Interim: s.Interim, Lag: s.Lag, Error: s.Error}
	for _, l := range s.Lines {
		from := oldClock(l.from)
		m.Lines = append(m.Lines, legacyLine{
			Speaker: l.Speaker, Text: l.Text, Start: from, End: oldClock(l.to), Begin: from,
			Diff: math.Round(l.to.Seconds()*100) / 100,
		})
	}
	if s.Status == statusActive && len(m.Lines) == 0 {
		now := oldClock(time.Duration(s.FinishedMS) * time.Millisecond)
		m.Lines = append(m.Lines, legacyLine{Speaker: 1, Start: now, End: now, Begin: now})
	}
	return m
}

// oldClock formats a time as H:MM:SS.
func oldClock(d time.Duration) string {
	s := max(0, d) / time.Second
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}
