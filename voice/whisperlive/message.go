package whisperlive

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Speakers with a meaning of their own.
const (
	speakerSilence = -2
	speakerPending = 0 // diarization has not decided
)

// message is any message of upstream. Data has no type, and what we do not know is left out.
type message struct {
	Type    string `json:"type"`
	Error   string `json:"error"`
	Status  string `json:"status"`
	Worklet *bool  `json:"useAudioWorklet"` // config: it takes raw samples
	Mode    string `json:"mode"`            // config, since 0.2.20
	snapshot

	raw []byte // as it came
}

// snapshot is upstream's whole state at one moment.
type snapshot struct {
	Lines        []line  `json:"lines"`
	Buffer       string  `json:"buffer_transcription"`
	Unattributed string  `json:"buffer_diarization"` // comes before Buffer
	Lag          float64 `json:"remaining_time_transcription"`
	Compute      float64 `json:"remaining_time_transcription_processing"`
	SpeakerLag   float64 `json:"remaining_time_diarization"`
	modernLag    bool
}

// line is what one speaker said without a pause, or a pause.
type line struct {
	Speaker  int    `json:"speaker"`
	Text     string `json:"text"`
	Start    clock  `json:"start"`
	End      clock  `json:"end"`
	Begin    clock  `json:"beg"` // Start, up to 0.2.8
	Language string `json:"detected_language"`
}

// Kinds of messages.
const (
	kindData    = ""
	kindConfig  = "config"
	kindSession = "session_info" // the first word of the fork
	kindStop    = "ready_to_stop"
	kindError   = "error"
)

// decode reads a message. Text that is no JSON object is an error.
func decode(b []byte) (message, error) {
	m := message{raw: b}
	m.Compute = -1
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("upstream sent something that is no message of its protocol: %w", err)
	}
	m.modernLag = m.Compute >= 0
	for i := range m.Lines {
		if l := &m.Lines[i]; l.Begin.set && !l.Start.set {
			l.Start = l.Begin
		}
	}
	return m, nil
}

// lag is how far upstream is behind the audio that it has.
func (s *snapshot) lag() time.Duration {
	if s.modernLag {
		return time.Duration(s.Compute * float64(time.Second))
	}
	return time.Duration(s.Lag * float64(time.Second))
}

// clock is a time on upstream's audio clock.
type clock struct {
	time.Duration
	set    bool
	coarse bool // to the second only, rounded down
}

// UnmarshalJSON takes "H:MM:SS", "H:MM:SS.cc", "1 day, H:MM:SS" and numbers of seconds.
// A time that cannot be read is a time that is not there.
func (c *clock) UnmarshalJSON(b []byte) error {
	*c = clock{}
	text := strings.Trim(string(b), `" `)
	if days, rest, ok := strings.Cut(text, ", "); ok {
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSuffix(days, "s"), " day"))
		if err != nil || n < 0 || n > 365 {
			return nil
		}
		c.Duration, text = time.Duration(n)*24*time.Hour, rest
	}
	parts := strings.Split(text, ":")
	if len(parts) > 3 {
		return nil
	}
	var sum float64
	for _, p := range parts {
		n, err := strconv.ParseFloat(p, 64)
		if err != nil || !(n >= 0 && n < 1e7) {
			return nil
		}
		sum = sum*60 + n
	}
	c.Duration += time.Duration(sum*1000+0.5) * time.Millisecond
	c.set, c.coarse = true, !strings.Contains(text, ".")
	return nil
}
