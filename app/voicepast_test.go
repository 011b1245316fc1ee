package app

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/gateway"
)

// What a dead process published of a session is all that another needs to go on.
func TestVoicePast(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	id := uuid.New()
	publish := func(eventType bloodbank.EventType, session uuid.UUID, more string) bloodbank.EventID {
		t.Helper()
		r := gateway.Request{Envelope: bloodbank.Envelope{EventType: eventType, OrderingKey: session.String(), Payload: fmt.Appendf(nil,
			`{"timestamp":"2026-01-27T10:00:00Z","source":"mobile-client","session_id":%q,"target":"tonny"%s}`, session, more)}}
		receipt, err := a.gateway.Accept(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return receipt.EventID
	}
	publish(bloodbank.TypeSessionOpened, uuid.New(), "")
	opened := publish(bloodbank.TypeSessionOpened, id, `,"language":"en-US"`)
	publish(bloodbank.TypeVoiceCompleted, id, `,"text":"one","utterance":1,"audio_metadata":{"start_seconds":0.3,"end_seconds":1.5}`)
	last := publish(bloodbank.TypeVoiceCompleted, id, `,"text":"two","utterance":3,"audio_metadata":{"start_seconds":4,"end_seconds":5.25}`)
	past, err := voicePast{a}.Session(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if past.Opened != opened || past.Source != "mobile-client" || past.Target != "tonny" || past.Language != "en-US" ||
		past.Utterances != 3 || past.Audio != 5250*time.Millisecond || len(past.Finals) != 2 {
		t.Errorf("got %+v", past)
	}
	if f := past.Finals[1]; f.Text != "two" || f.Event != last || f.Start != 4*time.Second {
		t.Errorf("the second final: %+v", f)
	}
	if _, err := (voicePast{a}).Session(t.Context(), uuid.New()); bloodbank.CodeOf(err) != bloodbank.CodeNotFound {
		t.Errorf("an unknown session: %v", err)
	}
	publish(bloodbank.TypeSessionClosed, id, `,"reason":"shutdown"`)
	if _, err := (voicePast{a}).Session(t.Context(), id); err != nil {
		t.Errorf("after we went down: %v", err)
	}
	publish(bloodbank.TypeSessionClosed, id, `,"reason":"end"`)
	if _, err := (voicePast{a}).Session(t.Context(), id); bloodbank.CodeOf(err) != bloodbank.CodeNotFound {
		t.Errorf("after its end: %v", err)
	}
}

func TestVoiceSecretStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := voiceSecret(dir)
	if err != nil || len(first) != secretLength {
		t.Fatalf("%d bytes, %v", len(first), err)
	}
	if again, err := voiceSecret(dir); err != nil || !bytes.Equal(first, again) {
		t.Errorf("another secret: %v", err)
	}
}
