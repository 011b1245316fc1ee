package asrws

import (
	"fmt"
	"strings"
	"time"

	"github.com/33god/bloodbank/voice"
)

// config is the first message. Clients wait for it before they record; the keys after
// mode are ours.
type config struct {
	Type        string `json:"type"`
	UseWorklet  bool   `json:"useAudioWorklet"`
	Mode        string `json:"mode"`
	SessionID   string `json:"session_id"`
	ResumeToken string `json:"resume_token"`
	// Bytes is where a client that came back goes on in its stream, and AudioMS the
	// audio clock there. With 0 bytes it begins a new stream at that time.
	Bytes       int64  `json:"received_bytes,omitempty"`
	AudioMS     int64  `json:"audio_ms,omitempty"`
	EventID     string `json:"event_id"` // of the session's opening event
	SampleRate  int    `json:"sample_rate"`
	Language    string `json:"language,omitempty"`
	Recogniser  string `json:"recogniser"`
	Approximate bool   `json:"approximate,omitempty"` // expect many wrong words
}

// state is every other message but the last. It has no type, and never gets one.
type state struct {
	Status      string  `json:"status"`
	Lines       []line  `json:"lines"`
	Interim     string  `json:"buffer_transcription"`
	Diarization string  `json:"buffer_diarization"`
	Translation string  `json:"buffer_translation"`
	Lag         seconds `json:"remaining_time_transcription"`
	Compute     seconds `json:"remaining_time_transcription_processing"`
	Policy      seconds `json:"remaining_time_transcription_policy"`
	DiarizeLag  seconds `json:"remaining_time_diarization"`
	Error       string  `json:"error,omitempty"`
}

const (
	statusActive = "active_transcription"
	statusNone   = "no_audio_detected"
	statusError  = "error"
)

// line is one finished utterance. Its times are text, for clients that insist on it.
type line struct {
	Speaker  int    `json:"speaker"`
	Text     string `json:"text"`
	Start    string `json:"start"`
	End      string `json:"end"`
	Language string `json:"detected_language,omitempty"`
	EventID  string `json:"event_id,omitempty"` // of the published event; ours
}

type failure struct {
	Type  string `json:"type"`
	Error string `json:"error"`
}

type stopped struct {
	Type string `json:"type"`
}

// seconds is written with one decimal.
type seconds time.Duration

// MarshalJSON writes a number; lags are never negative.
func (s seconds) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%.1f", max(0, time.Duration(s)).Seconds()), nil
}

// clock formats a time of the audio clock as H:MM:SS.cc, with hours that may grow.
func clock(d time.Duration) string {
	c := max(0, d.Round(10*time.Millisecond)) / (10 * time.Millisecond)
	return fmt.Sprintf("%d:%02d:%02d.%02d", c/360_000, c/6000%60, c/100%60, c%100)
}

// board is the state that a session's client sees. Its owner locks it.
type board struct {
	lines   []line
	interim string
	err     string
}

// apply takes in one update and reports whether the client sees a difference.
func (b *board) apply(u voice.Update) bool {
	switch u.Kind {
	case voice.KindInterim:
		b.interim = u.Text
		return true
	case voice.KindFinal:
		b.interim, b.err = "", ""
		if u.Text != "" {
			b.add(u)
		}
		return true
	case voice.KindFailed:
		b.interim, b.err = "", u.Err.Error()
		if u.Text != "" {
			b.err = fmt.Sprintf("the utterance from %s was heard but not saved: %v", clock(u.Start), u.Err)
			b.add(u)
		}
		return true
	}
	return false
}

func (b *board) add(u voice.Update) {
	l := line{Speaker: 1, Text: u.Text, Start: clock(u.Start), End: clock(u.End)}
	if u.Final != nil {
		l.Language, _, _ = strings.Cut(u.Final.Language, "-")
		l.EventID = u.Event.String()
	}
	b.lines = append(b.lines, l)
}

func (b *board) state(p voice.Progress) state {
	s := state{Status: statusActive, Lines: b.lines, Interim: b.interim, Error: b.err}
	s.Lag = seconds(p.Received - p.Finished)
	s.Compute = s.Lag
	if s.Lines == nil {
		s.Lines = []line{}
		if b.interim == "" {
			s.Status = statusNone
		}
	}
	return s
}
