package asrws

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/33god/bloodbank/voice"
)

const (
	// maxLines is how many lines a client is shown; the events hold all of them.
	maxLines = 1000
	// maxSpeakers is how many names of speakers are told apart.
	maxSpeakers = 64
)

// board is the state that a session's client sees. Its owner locks it.
//
// Law: what lines holds is never changed, only appended to or cut off in front. So a
// state may be written while the board goes on.
type board struct {
	lines    []line
	dropped  int
	heard    int // the last utterance with an outcome
	interim  string
	err      string
	fatal    string // stays
	speakers []string
}

// apply takes in one update and reports whether the client sees a difference.
func (b *board) apply(u voice.Update) bool {
	switch u.Kind {
	case voice.KindInterim:
		b.interim = u.Text
		return true
	case voice.KindFinal:
		b.settle(u, "")
		return true
	case voice.KindFailed:
		text := u.Err.Error()
		if u.Text != "" {
			text = fmt.Sprintf("the utterance from %s was heard but not saved: %s", clock(u.Start), text)
		}
		b.settle(u, text)
		return true
	case voice.KindAway:
		b.err = u.Err.Error()
		return true
	case voice.KindBack:
		b.err = ""
		return true
	}
	return false
}

func (b *board) settle(u voice.Update, err string) {
	b.interim, b.err, b.heard = "", err, max(b.heard, u.Utterance)
	if u.Text == "" {
		return
	}
	l := line{Speaker: 1, Text: u.Text, Start: clock(u.Start), End: clock(u.End), from: u.Start, to: u.End}
	if u.Final != nil {
		l.Speaker = b.speaker(u.Final.Speaker)
		l.Language, _, _ = strings.Cut(u.Final.Language, "-")
	}
	if !u.Event.IsZero() {
		l.EventID = u.Event.String()
	}
	b.lines = append(b.lines, l)
	if over := len(b.lines) - maxLines; over > 0 {
		b.lines = b.lines[over:]
		b.dropped += over
	}
}

// speaker is the number for a name: itself where it is one, else in the order of speaking.
func (b *board) speaker(name string) int {
	if name == "" {
		return 1
	}
	if n, err := strconv.Atoi(name); err == nil && n > 0 {
		return n
	}
	if at := slices.Index(b.speakers, name); at >= 0 {
		return at + 1
	}
	if len(b.speakers) == maxSpeakers {
		return 1
	}
	b.speakers = append(b.speakers, name)
	return len(b.speakers)
}

func (b *board) state(p voice.Progress) state {
	s := state{Status: statusActive, Lines: b.lines}
	s.Interim = b.interim
	s.Lag = seconds(p.Received - p.Finished)
	s.Compute = s.Lag
	s.extras = extras{
		Error: b.err, Bytes: p.Bytes, FinishedMS: p.Finished.Milliseconds(), Utterance: b.heard, Dropped: b.dropped,
	}
	if s.Lines == nil {
		s.Lines = []line{}
		if b.interim == "" {
			s.Status = statusNone
		}
	}
	if b.fatal != "" {
		s.Status, s.Error = statusError, b.fatal
	}
	return s
}
