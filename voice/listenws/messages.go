package listenws

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/33god/bloodbank/voice"
)

type metadata struct {
	Type           string   `json:"type"`
	TransactionKey string   `json:"transaction_key"`
	RequestID      string   `json:"request_id"`
	SHA256         string   `json:"sha256"`
	Created        string   `json:"created"`
	Duration       seconds  `json:"duration"`
	Channels       int      `json:"channels"`
	Models         []string `json:"models"`
}

type results struct {
	Type         string       `json:"type"`
	ChannelIndex [2]int       `json:"channel_index"`
	Duration     seconds      `json:"duration"`
	Start        seconds      `json:"start"`
	IsFinal      bool         `json:"is_final"`
	SpeechFinal  bool         `json:"speech_final"`
	FromFinalize bool         `json:"from_finalize"`
	Channel      channel      `json:"channel"`
	Metadata     resultSource `json:"metadata"`
}

type channel struct {
	Alternatives []alternative `json:"alternatives"`
}

type alternative struct {
	Transcript string  `json:"transcript"`
	Confidence float64 `json:"confidence"`
	Words      []word  `json:"words"`
}

type word struct {
	Word       string  `json:"word"` // in small letters, without punctuation
	Start      seconds `json:"start"`
	End        seconds `json:"end"`
	Confidence float64 `json:"confidence"`
	Punctuated string  `json:"punctuated_word"`
	Speaker    *int    `json:"speaker,omitempty"`
}

type resultSource struct {
	RequestID string    `json:"request_id"`
	Model     modelInfo `json:"model_info"`
	ModelUUID string    `json:"model_uuid"`
}

type modelInfo struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
}

type speechStarted struct {
	Type      string  `json:"type"`
	Channel   [2]int  `json:"channel"`
	Timestamp seconds `json:"timestamp"`
}

type utteranceEnd struct {
	Type        string  `json:"type"`
	Channel     [2]int  `json:"channel"`
	LastWordEnd seconds `json:"last_word_end"`
}

type failure struct {
	Type        string `json:"type"`
	Description string `json:"description"`
	RequestID   string `json:"request_id"`
}

// seconds are on the audio clock, to the millisecond.
type seconds float64

func inSeconds(d time.Duration) seconds { return seconds(rounded(d.Seconds())) }

func rounded(v float64) float64 { return math.Round(v*1000) / 1000 }

// theChannel is the only one, of one.
func theChannel() [2]int { return [2]int{0, 1} }

// heard is what a finished utterance says. This protocol has no word for unknown.
func heard(t *voice.Transcription) alternative {
	a := alternative{Transcript: t.Text, Words: []word{}}
	if t.Confidence != nil {
		a.Confidence = probability(*t.Confidence)
	}
	var speaker *int
	if n, err := strconv.Atoi(t.Speaker); err == nil {
		speaker = &n
	}
	for _, w := range t.Words {
		a.Words = append(a.Words, word{
			Word: bare(w.Text), Start: inSeconds(w.Start), End: inSeconds(w.End),
			Confidence: probability(w.Confidence), Punctuated: w.Text, Speaker: speaker,
		})
	}
	return a
}

// probability is 0 for what is none.
func probability(p float64) float64 {
	if !(p >= 0 && p <= 1) {
		return 0
	}
	return rounded(p)
}

// bare is a word without what stands around it; a word that is nothing else stays.
func bare(text string) string {
	edge := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }
	if w := strings.TrimFunc(text, edge); w != "" {
		text = w
	}
	return strings.ToLower(text)
}
