package streamws

import (
	"math"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
)

// head begins every message.
type head struct {
	Type string `json:"type"`
	// SessionID is null when there is no session: in an error that comes instead of one.
	SessionID *string `json:"session_id"`
	Seq       uint64  `json:"seq"` // of this connection, from 1
}

// message is one of the types below.
type message interface{ stamp(h head) }

func (h *head) stamp(n head) { *h = n }

type started struct {
	head
	ResumeToken string `json:"resume_token"`
	EventID     string `json:"event_id"` // of the session's opening event
	// Bytes is where a client that came back goes on in its stream, and AudioMS the audio
	// clock there. With 0 bytes it begins a new stream at that time.
	Bytes      int64   `json:"received_bytes"`
	AudioMS    int64   `json:"audio_ms"`
	SampleRate int     `json:"sample_rate"`
	Recogniser string  `json:"recogniser"`
	Language   *string `json:"language"`
	Resumed    bool    `json:"resumed"`
}

type speechStarted struct {
	head
	Utterance int     `json:"utterance"`
	Start     seconds `json:"start"`
}

type partial struct {
	head
	Utterance int    `json:"utterance"`
	Revision  int    `json:"revision"` // of the utterance's text, rising, with gaps
	Text      string `json:"text"`
}

type utteranceEnded struct {
	head
	Utterance int     `json:"utterance"`
	End       seconds `json:"end"`
}

type final struct {
	head
	Utterance  int      `json:"utterance"`
	Text       string   `json:"text"` // "": there were no words in it
	Words      []word   `json:"words"`
	Start      seconds  `json:"start"`
	End        seconds  `json:"end"`
	Confidence *float64 `json:"confidence"`
	Language   *string  `json:"language"`
	Speaker    *string  `json:"speaker"`
	EventID    *string  `json:"event_id"`  // null when there was nothing to publish
	Truncated  bool     `json:"truncated"` // cut off by the end of a connection
}

type word struct {
	Text       string   `json:"text"`
	Start      seconds  `json:"start"`
	End        seconds  `json:"end"`
	Confidence *float64 `json:"confidence"`
}

type progress struct {
	head
	Bytes      int64 `json:"received_bytes"`
	ReceivedMS int64 `json:"received_ms"`
	FinishedMS int64 `json:"finished_ms"` // everything before has its outcome
}

// fault is an error. What follows Retryable is there when an utterance is meant; Text is
// what was heard of it but not saved.
type fault struct {
	head
	Code      code     `json:"code"`
	Message   string   `json:"message"`
	Retryable bool     `json:"retryable"` // trying, or speaking, again may help
	Utterance int      `json:"utterance,omitempty"`
	Start     *seconds `json:"start,omitempty"`
	End       *seconds `json:"end,omitempty"`
	Text      string   `json:"text,omitempty"`
}

// bare is a message that says all by its type.
type bare struct{ head }

// code says what kind of error it is: one of these, or a [bloodbank.Code].
type code string

const (
	codeAudio     code = "unsupported_audio"
	codeUtterance code = "utterance_failed"
	codeNotSaved  code = "not_saved"
	codeSlow      code = "slow_consumer"
	codeTaken     code = "taken_over"
)

type ended struct {
	head
	Totals totals `json:"totals"`
	// Reason is that of the closing event; null when the session was over before this
	// client came back.
	Reason *voice.Reason `json:"reason"`
}

type totals struct {
	Utterances int     `json:"utterances"` // published
	Failed     int     `json:"failed"`
	Audio      seconds `json:"audio"` // received
}

// seconds are on the audio clock.
type seconds float64

func inSeconds(d time.Duration) seconds { return seconds(math.Round(d.Seconds()*1000) / 1000) }

// known is nil for the zero value, which stands for unknown.
func known[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// probability is nil for what is none.
func probability(p float64) *float64 {
	if !(p > 0 && p <= 1) {
		return nil
	}
	p = math.Round(p*1000) / 1000
	return &p
}

// telling is the message for an update.
func telling(u voice.Update) (kind string, m message) {
	switch u.Kind {
	case voice.KindStarted:
		return "speech.started", &speechStarted{Utterance: u.Utterance, Start: inSeconds(u.Start)}
	case voice.KindInterim:
		return "partial", &partial{Utterance: u.Utterance, Revision: u.Revision, Text: u.Text}
	case voice.KindEnded:
		return "utterance.ended", &utteranceEnded{Utterance: u.Utterance, End: inSeconds(u.End)}
	case voice.KindFinal:
		return "final", outcome(u)
	case voice.KindAway:
		return "recogniser.away", &fault{Code: code(bloodbank.CodeUnavailable), Message: u.Err.Error(), Retryable: true}
	case voice.KindBack:
		return "recogniser.back", &bare{}
	}
	start, end := inSeconds(u.Start), inSeconds(u.End)
	f := &fault{Code: codeUtterance, Retryable: true, Utterance: u.Utterance, Start: &start, End: &end, Text: u.Text}
	f.Message = "the utterance could not be recognised: " + u.Err.Error()
	if u.Text != "" {
		f.Code, f.Message = codeNotSaved, "the utterance was heard but not saved: "+u.Err.Error()
	}
	return "error", f
}

func outcome(u voice.Update) *final {
	f := &final{
		Utterance: u.Utterance, Text: u.Text, Start: inSeconds(u.Start), End: inSeconds(u.End), Truncated: u.Truncated,
	}
	if !u.Event.IsZero() {
		f.EventID = known(u.Event.String())
	}
	t := u.Final
	if t == nil {
		return f
	}
	f.Language, f.Speaker = known(t.Language), known(t.Speaker)
	if t.Confidence != nil {
		f.Confidence = probability(*t.Confidence)
	}
	for _, w := range t.Words {
		f.Words = append(f.Words, word{w.Text, inSeconds(w.Start), inSeconds(w.End), probability(w.Confidence)})
	}
	return f
}

func greeting(l *voice.Lease, recogniser string, resumed bool) *started {
	at := l.Progress()
	return &started{
		ResumeToken: l.Token(), EventID: l.Opened().String(), Bytes: at.Bytes, AudioMS: at.Received.Milliseconds(),
		SampleRate: audio.SampleRate, Recogniser: recogniser, Language: known(l.Language()), Resumed: resumed,
	}
}

// worthRetrying are the failures that pass.
func worthRetrying(c bloodbank.Code) bool {
	switch c {
	case bloodbank.CodeUnavailable, bloodbank.CodeOverloaded, bloodbank.CodeTimeout, bloodbank.CodeConflict:
		return true
	}
	return false
}
