package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/voice"
)

const (
	// secretFile holds what signs the tokens of voice sessions.
	secretFile   = "voice.secret"
	secretLength = 32
	// levelWithin is how long a resumed session waits for the store to be level.
	levelWithin = 8 * time.Second
	levelEvery  = 50 * time.Millisecond
)

// voiceSecret reads the secret of the data folder, or makes it.
func voiceSecret(dir string) ([]byte, error) {
	path := filepath.Join(dir, secretFile)
	secret, err := os.ReadFile(path)
	if err == nil && len(secret) == secretLength {
		return secret, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot read the secret of voice sessions: %w", err)
	}
	secret = make([]byte, secretLength)
	_, _ = rand.Read(secret) // never fails
	if err := os.WriteFile(path, secret, 0o600); err != nil {
		return nil, bloodbank.Errorf(bloodbank.CodeUnavailable, "cannot keep the secret of voice sessions: %w", err)
	}
	return secret, nil
}

// voicePast finds the sessions of earlier processes in the store.
type voicePast struct{ app *App }

// Session implements voice.Past.
func (p voicePast) Session(ctx context.Context, id uuid.UUID) (voice.PastSession, error) {
	if err := p.level(ctx); err != nil {
		return voice.PastSession{}, err
	}
	past := voice.PastSession{}
	q := store.Query{Order: store.OldestFirst, Limit: store.MaxLimit, Filter: store.Filter{Terms: []store.Term{
		{Field: store.FieldSession, Values: []store.Value{{Text: id.String(), Phrase: true}}},
	}}}
	for first := true; first || q.Cursor != ""; first = false {
		page, err := p.app.store.Query(ctx, q)
		if err != nil {
			return past, err
		}
		for _, e := range page.Events {
			if err := addPast(&past, &e.Envelope); err != nil {
				return past, err
			}
		}
		q.Cursor = page.Next
	}
	if past.Opened.IsZero() {
		return past, bloodbank.Errorf(bloodbank.CodeNotFound, "session %s is not known; open a new one", id)
	}
	return past, nil
}

// level waits until what an earlier process accepted is in the store.
func (p voicePast) level(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, levelWithin)
	defer cancel()
	last := p.app.wal.Last()
	tick := time.NewTicker(levelEvery)
	defer tick.Stop()
	for p.app.dispatch.Status().Position < last || p.app.recorder.Status(ctx).Lag != 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return bloodbank.Errorf(bloodbank.CodeUnavailable, "the session's events are still on their way to the store; try again in a moment")
		}
	}
	return nil
}

// addPast takes one event of the session into account. A session that was closed is
// over, unless that was our own going down.
func addPast(past *voice.PastSession, e *bloodbank.Envelope) error {
	var p struct {
		Source    voice.Source `json:"source"`
		Target    string       `json:"target"`
		Language  string       `json:"language"`
		Reason    voice.Reason `json:"reason"`
		Text      string       `json:"text"`
		Utterance int          `json:"utterance"`
		Audio     struct {
			Start float64 `json:"start_seconds"`
			End   float64 `json:"end_seconds"`
		} `json:"audio_metadata"`
	}
	switch e.EventType {
	case bloodbank.TypeSessionOpened, bloodbank.TypeSessionClosed, bloodbank.TypeVoiceCompleted:
	default:
		return nil
	}
	if err := json.Unmarshal(e.Payload, &p); err != nil {
		return bloodbank.Errorf(bloodbank.CodeInternal, "cannot read event %s of the session: %w", e.EventID, err)
	}
	switch e.EventType {
	case bloodbank.TypeSessionOpened:
		past.Opened, past.Source, past.Target, past.Language = e.EventID, p.Source, p.Target, p.Language
	case bloodbank.TypeSessionClosed:
		if p.Reason != voice.ReasonShutdown {
			return bloodbank.Errorf(bloodbank.CodeNotFound, "the session is over; open a new one")
		}
	default:
		start, end := fromSeconds(p.Audio.Start), fromSeconds(p.Audio.End)
		past.Utterances, past.Audio = max(past.Utterances, p.Utterance), max(past.Audio, end)
		past.Finals = append(past.Finals, voice.Update{
			Kind: voice.KindFinal, Utterance: p.Utterance, Revision: 1, Start: start, End: end, Text: p.Text, Event: e.EventID,
		})
	}
	return nil
}

func fromSeconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
