package voice

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice/audio"
)

// emitTimeout bounds publishing where the session's own life does not. What fails for
// the moment is tried again within it, with the same id: it cannot come twice.
const emitTimeout = 10 * time.Second

// The pauses between attempts to publish.
const (
	emitPause    = 100 * time.Millisecond
	emitMaxPause = 2 * time.Second
)

// Source is the kind of client, as the schema of transcription.voice.completed lists it.
type Source string

// The schema's sources.
const (
	SourceWhisperLiveKit  Source = "whisperlivekit"
	SourceMobileClient    Source = "mobile-client"
	SourceDesktopClient   Source = "desktop-client"
	SourceChromeExtension Source = "chrome-extension"
)

// Valid reports whether the schema knows the source.
func (s Source) Valid() bool {
	switch s {
	case SourceWhisperLiveKit, SourceMobileClient, SourceDesktopClient, SourceChromeExtension:
		return true
	}
	return false
}

// head is what all events of a session say, in this order. Absent means left out: the
// schema takes no nulls.
type head struct {
	Timestamp string `json:"timestamp"`
	Source    Source `json:"source"`
	SessionID string `json:"session_id"`
	Target    string `json:"target,omitempty"`
}

type openedPayload struct {
	head
	Recogniser string     `json:"recogniser"`
	Language   string     `json:"language,omitempty"`
	Audio      audioShape `json:"audio"`
}

type audioShape struct {
	SampleRate int `json:"sample_rate"`
	Channels   int `json:"channels"`
}

type completedPayload struct {
	Text string `json:"text"`
	head
	// Utterance and Truncated are ours; others pass over them.
	Utterance int           `json:"utterance"`
	Truncated bool          `json:"truncated,omitempty"`
	Audio     audioMetadata `json:"audio_metadata"`
}

type audioMetadata struct {
	Duration   float64  `json:"duration_seconds"`
	SampleRate int      `json:"sample_rate"`
	Confidence *float64 `json:"confidence,omitempty"`
	Language   string   `json:"language,omitempty"`
	Model      string   `json:"model,omitempty"`
	Speaker    string   `json:"speaker_id,omitempty"`
	Start      float64  `json:"start_seconds"` // on the session's audio clock
	End        float64  `json:"end_seconds"`
}

type closedPayload struct {
	head
	Reason     Reason  `json:"reason"`
	Utterances int     `json:"utterances"`
	Failed     int     `json:"failed"`
	Audio      float64 `json:"audio_seconds"`
}

func (s *Session) head(now time.Time) head {
	return head{
		Timestamp: bloodbank.FormatTimestamp(now), Source: s.o.Source,
		SessionID: s.o.ID.String(), Target: s.o.Target,
	}
}

func (s *Session) announce(ctx context.Context) (err error) {
	now := s.o.Now()
	s.opened, err = s.emit(ctx, bloodbank.TypeSessionOpened, now, openedPayload{
		head: s.head(now), Recogniser: s.o.Recogniser.Name(), Language: s.language,
		Audio: audioShape{SampleRate: audio.SampleRate, Channels: 1},
	})
	return err
}

func (s *Session) publish(t Transcription) Update {
	t.Text = unloop(strings.TrimSpace(t.Text))
	u := Update{Kind: KindFinal, Utterance: t.Utterance, Revision: 1, Start: t.Start, End: t.End, Text: t.Text, Final: &t}
	if t.Text == "" {
		s.settle(t.Utterance, func(*Totals) {})
		return u
	}
	// What is written down already is published even while the session is given up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), emitTimeout)
	defer cancel()
	now := s.o.Now()
	s.mu.Lock()
	u.Truncated = s.cutOff && t.Reason == audio.EndStream
	s.mu.Unlock()
	id, err := s.emit(ctx, bloodbank.TypeVoiceCompleted, now, completedPayload{
		Text: t.Text, head: s.head(now), Utterance: t.Utterance, Truncated: u.Truncated, Audio: metadata(&t),
	})
	if err != nil {
		s.settle(t.Utterance, func(n *Totals) { n.Failed++ })
		u.Kind, u.Final, u.Err = KindFailed, nil, err
		return u
	}
	s.settle(t.Utterance, func(n *Totals) { n.Utterances++ })
	u.Event = id
	return u
}

// conclude publishes the closing event, even for a session whose time is over: the
// opening event is out and should not stay alone.
func (s *Session) conclude(ctx context.Context, why Reason) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), emitTimeout)
	defer cancel()
	now, sum := s.o.Now(), s.Totals()
	_, err := s.emit(ctx, bloodbank.TypeSessionClosed, now, closedPayload{
		head: s.head(now), Reason: why,
		Utterances: sum.Utterances, Failed: sum.Failed, Audio: seconds(sum.Audio),
	})
	return err
}

// emit publishes one event of the session; all but the first have the first as parent,
// and all keep their order.
func (s *Session) emit(ctx context.Context, t bloodbank.EventType, now time.Time, payload any) (bloodbank.EventID, error) {
	body, err := encode(payload)
	if err != nil {
		return bloodbank.EventID{}, fmt.Errorf("write the payload of %s: %w", t, err)
	}
	id, err := bloodbank.NewEventID()
	if err != nil {
		return id, err
	}
	e := bloodbank.Envelope{
		EventID: id, EventType: t, Timestamp: now, Version: bloodbank.Version,
		Source: s.o.Origin, Payload: body, OrderingKey: s.o.ID.String(),
	}
	if !s.opened.IsZero() {
		e.CorrelationIDs = []bloodbank.EventID{s.opened}
	}
	if err := s.insist(ctx, e); err != nil {
		return id, fmt.Errorf("publish %s: %w", t, err)
	}
	return id, nil
}

// insist tries again what may work a moment later; all but the opening event, since a
// client can as well connect again.
func (s *Session) insist(ctx context.Context, e bloodbank.Envelope) error {
	for pause := emitPause; ; pause = min(2*pause, emitMaxPause) {
		_, err := s.o.Emitter.Emit(ctx, e)
		switch bloodbank.CodeOf(err) {
		case bloodbank.CodeUnavailable, bloodbank.CodeTimeout, bloodbank.CodeOverloaded:
		default:
			return err
		}
		if s.opened.IsZero() {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// encode writes JSON without turning <, > and & into escapes.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// metadata leaves out what the schema would refuse: better no model name than no event.
func metadata(t *Transcription) audioMetadata {
	m := audioMetadata{
		Duration: seconds(t.Duration()), SampleRate: audio.SampleRate, Speaker: t.Speaker,
		Start: seconds(t.Start), End: seconds(t.End),
	}
	if c := t.Confidence; c != nil && *c >= 0 && *c <= 1 {
		rounded := math.Round(*c*1000) / 1000
		m.Confidence = &rounded
	}
	if validLanguage(t.Language) {
		m.Language = t.Language
	}
	switch t.Model {
	case "tiny", "base", "small", "medium", "large-v2", "large-v3":
		m.Model = t.Model
	}
	return m
}

// validLanguage is the schema's ^[a-z]{2}(-[A-Z]{2})?$.
func validLanguage(l string) bool {
	within := func(s string, low, high byte) bool {
		return len(s) == 2 && low <= s[0] && s[0] <= high && low <= s[1] && s[1] <= high
	}
	short, region, found := strings.Cut(l, "-")
	return within(short, 'a', 'z') && (!found || within(region, 'A', 'Z'))
}

func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*1000) / 1000 }
