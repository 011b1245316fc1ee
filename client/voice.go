package client

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/33god/bloodbank"
)

// VoiceRequest is audio to be transcribed by the server's /asr.
type VoiceRequest struct {
	// Audio is a WAV file or raw 16-bit little-endian mono samples at 16 kHz.
	Audio io.Reader
	// RealTime sends the audio as fast as it was spoken; otherwise as fast as the
	// server takes it.
	RealTime bool
	// SessionID, Language, Source and Target go into the events; "" leaves them
	// to the server.
	SessionID, Language, Source, Target string
	// OnUpdate is called for each message of the server, in order; it may be nil.
	OnUpdate func(VoiceUpdate)
}

// VoiceUpdate is the whole state of a session, as WhisperLiveKit's protocol
// sends it.
type VoiceUpdate struct {
	Type      string      `json:"type,omitempty"` // config, ready_to_stop, error, or "" for an update
	SessionID string      `json:"session_id,omitempty"`
	Status    string      `json:"status,omitempty"`
	Lines     []VoiceLine `json:"lines"`
	// Interim is what an unfinished utterance sounds like so far.
	Interim string `json:"buffer_transcription"`
	Error   string `json:"error,omitempty"`
}

// VoiceLine is one finished utterance.
type VoiceLine struct {
	Speaker int    `json:"speaker"`
	Text    string `json:"text"`
	Start   string `json:"start"`
	End     string `json:"end"`
	// EventID names the event that the utterance became.
	EventID string `json:"event_id,omitempty"`
}

// voiceChunk is how much audio goes into one frame.
const voiceChunk = 100 * time.Millisecond

// rawByteRate is that of 16-bit mono at 16 kHz.
const rawByteRate = 32_000

// Voice streams audio and returns the last state of the session once the server
// has transcribed all of it.
func (c *Client) Voice(ctx context.Context, r VoiceRequest) (VoiceUpdate, error) {
	conn, err := c.dialVoice(ctx, r)
	if err != nil {
		return VoiceUpdate{}, err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(16 << 20)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if err := sendAudio(ctx, conn, r); err != nil {
			cancel(err)
		}
	}()
	last, err := readUpdates(ctx, conn, r.OnUpdate)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	cancel(nil)
	<-sent
	if err != nil {
		return last, err
	}
	_ = conn.Close(websocket.StatusNormalClosure, "") // all was said before
	return last, nil
}

func (c *Client) dialVoice(ctx context.Context, r VoiceRequest) (*websocket.Conn, error) {
	query := url.Values{}
	for key, value := range map[string]string{
		"session_id": r.SessionID, "language": r.Language, "source": r.Source, "target": r.Target,
	} {
		if value != "" {
			query.Set(key, value)
		}
	}
	target := c.base + "/asr?" + query.Encode()
	conn, response, err := websocket.Dial(ctx, target, &websocket.DialOptions{HTTPClient: c.http, HTTPHeader: c.headers()})
	if err == nil {
		return conn, nil
	}
	if response != nil && response.StatusCode >= http.StatusBadRequest {
		return nil, c.errorOf(response)
	}
	return nil, c.unreachable(err)
}

func readUpdates(ctx context.Context, conn *websocket.Conn, onUpdate func(VoiceUpdate)) (VoiceUpdate, error) {
	var last VoiceUpdate
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			return last, voiceEnd(err)
		}
		var u VoiceUpdate
		if err := json.Unmarshal(data, &u); err != nil {
			return last, bloodbank.Errorf(bloodbank.CodeInternal, "the server sent a message that cannot be read: %w", err)
		}
		if u.Type == "config" {
			last.SessionID = u.SessionID
		}
		u.SessionID = last.SessionID
		if onUpdate != nil {
			onUpdate(u)
		}
		switch {
		case u.Error != "":
			return last, bloodbank.Errorf(bloodbank.CodeUnavailable, "the server cannot transcribe this: %s", u.Error)
		case u.Type == "ready_to_stop":
			return last, nil
		case u.Type == "":
			last = u
		}
	}
}

func voiceEnd(err error) error {
	var closed websocket.CloseError
	if errors.As(err, &closed) {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "the server ended the session: %s (%d)", closed.Reason, closed.Code)
	}
	return bloodbank.Errorf(bloodbank.CodeUnavailable, "the session broke off: %w", err)
}

// sendAudio sends all of the audio and then the empty frame that ends it.
func sendAudio(ctx context.Context, conn *websocket.Conn, r VoiceRequest) error {
	head := make([]byte, 44)
	n, err := io.ReadFull(r.Audio, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return fmt.Errorf("cannot read the audio: %w", err)
	}
	rate := byteRate(head[:n])
	audio := io.MultiReader(strings.NewReader(string(head[:n])), r.Audio)
	chunk := make([]byte, rate*int(voiceChunk/time.Millisecond)/1000&^1)
	began, sent := time.Now(), 0
	for {
		n, err := io.ReadFull(audio, chunk)
		if n > 0 {
			if err := conn.Write(ctx, websocket.MessageBinary, chunk[:n]); err != nil {
				return nil // the reading side says why
			}
			sent += n
		}
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			return fmt.Errorf("cannot read the audio: %w", err)
		}
		if r.RealTime && !pause(ctx, time.Until(began.Add(time.Duration(sent)*time.Second/time.Duration(rate)))) {
			return nil
		}
	}
	_ = conn.Write(ctx, websocket.MessageBinary, nil) // a failure shows on the reading side
	return nil
}

// byteRate is that of a WAV file whose header says it, else that of raw audio.
func byteRate(head []byte) int {
	if len(head) >= 32 && string(head[:4]) == "RIFF" && string(head[12:16]) == "fmt " {
		if rate := binary.LittleEndian.Uint32(head[28:]); rate >= 8000 && rate <= 1<<21 {
			return int(rate)
		}
	}
	return rawByteRate
}

func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
