package asrws

import (
	"fmt"
	"time"
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
	Bytes       int64  `json:"received_bytes"`
	AudioMS     int64  `json:"audio_ms"`
	EventID     string `json:"event_id"` // of the session's opening event
	SampleRate  int    `json:"sample_rate"`
	Language    string `json:"language,omitempty"`
	Recogniser  string `json:"recogniser"`
	Approximate bool   `json:"approximate,omitempty"` // expect many wrong words
}

// state is every other message of mode full but the last. It has no type, and never
// gets one.
type state struct {
	Status string `json:"status"`
	Lines  []line `json:"lines"`
	current
	extras
}

// current is what changes all the time, in every shape of a state.
type current struct {
	Interim     string  `json:"buffer_transcription"`
	Diarization string  `json:"buffer_diarization"`
	Translation string  `json:"buffer_translation"`
	Lag         seconds `json:"remaining_time_transcription"`
	Compute     seconds `json:"remaining_time_transcription_processing"`
	Policy      seconds `json:"remaining_time_transcription_policy"`
	DiarizeLag  seconds `json:"remaining_time_diarization"`
}

// extras are left out while they say nothing. All but Error are ours.
type extras struct {
	Error string `json:"error,omitempty"`
	// Bytes are taken: a client that comes back to this process sends on behind them.
	Bytes int64 `json:"received_bytes,omitempty"`
	// FinishedMS is the audio clock before which no word is lost even if the process dies.
	FinishedMS int64 `json:"finished_ms,omitempty"`
	// Utterance is the last one whose outcome is in this state: the parameter after.
	Utterance int `json:"last_utterance,omitempty"`
	// Dropped are the lines that this connection was told and that went to make room.
	Dropped int `json:"lines_dropped,omitempty"`
}

// snapshot is the first state of mode diff.
type snapshot struct {
	Type string `json:"type"`
	Seq  int    `json:"seq"`
	state
}

// difference is every other state of mode diff.
type difference struct {
	Type   string `json:"type"`
	Seq    int    `json:"seq"`
	Status string `json:"status"`
	Count  int    `json:"n_lines"`
	current
	Pruned int    `json:"lines_pruned,omitempty"`
	New    []line `json:"new_lines,omitempty"`
	extras
}

const (
	statusActive = "active_transcription"
	statusNone   = "no_audio_detected"
	statusError  = "error"
)

// line is one finished utterance. Its times are text, for clients that insist on it.
type line struct {
	Speaker  int    `json:"speaker"` // from 1
	Text     string `json:"text"`
	Start    string `json:"start"`
	End      string `json:"end"`
	Language string `json:"detected_language,omitempty"`
	EventID  string `json:"event_id,omitempty"` // of the published event; ours

	from, to time.Duration // for clients that want them in another form
}

// failure refuses a session.
type failure struct {
	Type  string `json:"type"`
	Error string `json:"error"`
}

// stopped is the last message.
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
