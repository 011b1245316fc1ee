package client

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
)

// VoiceRequest is audio to be transcribed by the server's /asr.
type VoiceRequest struct {
	// Audio is a recording that the server knows, or raw 16-bit little-endian mono
	// samples at 16 kHz. It may be a pipe that never ends. A Read of it that gives
	// nothing is left behind when Voice returns.
	Audio io.Reader
	// Stop, when closed, ends the audio there: what was heard is still transcribed. It
	// may be nil.
	Stop <-chan struct{}
	// RealTime sends the audio as fast as it was spoken, otherwise as fast as the
	// server takes it. The pace is right for WAV files and raw samples only.
	RealTime bool
	// SessionID, Language, Source and Target go into the events; "" leaves them
	// to the server.
	SessionID, Language, Source, Target string
	// NoResume gives up when the connection is lost.
	NoResume bool
	// Patience is how long to try to come back after a connection was lost; 0 is two
	// minutes, as long as a server waits.
	Patience time.Duration

	// These are called one at a time and may be nil. The server is not read while one
	// runs.

	// OnUpdate is called for each message of the server, in order.
	OnUpdate func(VoiceUpdate)
	// Began is called when the first byte of audio may be sent: where the audio clock
	// is zero, with RealTime.
	Began func(time.Time)
	// Lost is called when a connection is lost and another will be tried, Resumed when
	// that one stands; again is how much audio is sent again.
	Lost    func(error)
	Resumed func(again time.Duration)
}

// VoiceUpdate is the whole state of a session, as WhisperLiveKit's protocol
// sends it.
type VoiceUpdate struct {
	Type      string      `json:"type,omitempty"` // config, ready_to_stop, error, or "" for an update
	SessionID string      `json:"session_id,omitempty"`
	Status    string      `json:"status,omitempty"`
	Lines     []VoiceLine `json:"lines"`
	// New are the lines that no update before had. Each line is new once, however often
	// the connection was lost.
	New []VoiceLine `json:"-"`
	// Interim is what an unfinished utterance sounds like so far.
	Interim string `json:"buffer_transcription"`
	// Error says what went wrong with an utterance; the session goes on.
	Error string `json:"error,omitempty"`

	ResumeToken   string `json:"resume_token,omitempty"`   // in config
	ReceivedBytes int64  `json:"received_bytes,omitempty"` // of the server's present stream
	AudioMS       int64  `json:"audio_ms,omitempty"`       // in config: the audio clock at ReceivedBytes
	FinishedMS    int64  `json:"finished_ms,omitempty"`    // the audio clock before which nothing can get lost
}

// VoiceLine is one finished utterance.
type VoiceLine struct {
	Speaker int    `json:"speaker"`
	Text    string `json:"text"`
	Start   string `json:"start"` // H:MM:SS.cc on the audio clock; see Times
	End     string `json:"end"`
	// Language is a code such as en, where the recogniser told it.
	Language string `json:"detected_language,omitempty"`
	// EventID names the event that the utterance became.
	EventID string `json:"event_id,omitempty"`
}

// Times are Start and End; 0 where the server sent something else.
func (l VoiceLine) Times() (start, end time.Duration) { return clock(l.Start), clock(l.End) }

// clock reads H:MM:SS or H:MM:SS.cc.
func clock(s string) time.Duration {
	hours, rest, _ := strings.Cut(s, ":")
	minutes, seconds, _ := strings.Cut(rest, ":")
	h, err := strconv.Atoi(hours)
	m, errM := strconv.Atoi(minutes)
	sec, errS := strconv.ParseFloat(seconds, 64)
	if err != nil || errM != nil || errS != nil {
		return 0
	}
	return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(sec*1000+0.5)*time.Millisecond
}

// key tells lines apart over all connections of a session.
func (l VoiceLine) key() string {
	if l.EventID != "" {
		return l.EventID
	}
	return fmt.Sprintf("%s %s %s", l.Start, l.End, l.Text)
}

// Voice streams audio and returns the last state of the session once the server
// has transcribed all of it. An error with a SessionID in the state came after the
// session began.
//
// A connection that is lost after that costs no word: what the server has not
// acknowledged is kept, and sent again to the same session over another connection. A
// server that was killed goes on from its events; that needs a recording that can be cut,
// which WAV files and raw samples are. A server that does not know sessions (an original
// WhisperLiveKit), or that refuses the first connection, is an error at once.
func (c *Client) Voice(ctx context.Context, r VoiceRequest) (VoiceUpdate, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := newVoiceSession(c, r)
	conn, err := s.dial(ctx)
	if err != nil {
		return VoiceUpdate{}, err
	}
	go s.tape.fill(ctx, r.Audio) // ends with ctx or the Read that is under way
	var hands sync.WaitGroup
	hands.Go(func() {
		select {
		case <-r.Stop:
			s.tape.end()
		case <-ctx.Done():
		}
	})
	err = s.run(ctx, conn)
	cancel()
	hands.Wait()
	return s.last, err
}
