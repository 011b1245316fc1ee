package voice

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/google/uuid"
)

// Emitter accepts events. A receipt means that the event is durable; after an error it
// is not, and the session tells its client so.
type Emitter interface {
	Emit(ctx context.Context, e bloodbank.Envelope) (bloodbank.Receipt, error)
}

// SessionOptions is what a [Session] needs. Recogniser and Emitter are required.
type SessionOptions struct {
	Recogniser Recogniser
	Emitter    Emitter
	ID         uuid.UUID              // the zero value makes a new one
	Source     Source                 // "" is [SourceWhisperLiveKit]
	Target     string                 // who is spoken to; "" is left out of the events
	Language   string                 // as the client named it; "" or "auto" for the recogniser's default
	Endpoint   audio.EndpointSettings // zero fields take the defaults
	Origin     bloodbank.Source       // of the envelopes; the zero value leaves it to the Emitter
	Now        func() time.Time       // nil is time.Now
	// Translate is the language to translate into, where the recogniser can; "" is none.
	Translate string
	// Audio is how the client's bytes are decoded. With the zero value the first bytes
	// tell, and formats that need ffmpeg are refused.
	Audio audio.Options

	past  *PastSession // goes on where an earlier process was
	meter *meter       // counts beside the session; may be nil
}

// Reason says why a session ended. It is published, so its values are for ever.
type Reason string

// The reasons.
const (
	ReasonEnd          Reason = "end"          // the client said so
	ReasonDisconnected Reason = "disconnected" // the client vanished
	ReasonShutdown     Reason = "shutdown"     // we are going down
	ReasonError        Reason = "error"        // audio that cannot be decoded, or a broken recogniser
)

// Totals sums a session up.
type Totals struct {
	Utterances int           // published
	Failed     int           // spoken, but lost: not recognised or not accepted
	Audio      time.Duration // received
}

// Session is one client speaking. Write, Finalize and End are called by one goroutine at a
// time; the rest is safe for all.
type Session struct {
	o        SessionOptions
	language string
	stream   Stream
	opened   bloodbank.EventID
	feed     *feed
	mirror   *Mirror
	run      sync.WaitGroup
	base     struct { // what an earlier process had of the session
		utterances int
		audio      time.Duration
	}
	cancel context.CancelFunc
	ctx    context.Context

	decoder *audio.Decoder
	scratch []int16
	ended   bool
	endErr  error

	mu     sync.Mutex
	bytes  int64
	totals Totals
	cutOff bool                  // the audio ended without the client's wish
	open   map[int]time.Duration // where the utterances without an outcome start
}

// Open publishes the session's opening event and starts to listen. ctx is the session's
// life: when it ends, what is not transcribed yet is given up. End the session in any case.
func Open(ctx context.Context, o SessionOptions) (*Session, error) {
	language, err := o.prepare()
	if err != nil {
		return nil, err
	}
	s := &Session{o: o, language: language, feed: newFeed(), mirror: newMirror(), open: map[int]time.Duration{}}
	s.ctx, s.cancel = context.WithCancel(ctx)
	if s.decoder, err = audio.NewDecoder(s.ctx, o.Audio); err != nil {
		s.cancel()
		return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "%w", err)
	}
	so := StreamOptions{Language: o.Language, Endpoint: o.Endpoint, Translate: o.Translate}
	if o.past == nil { // else upstream knows only the rest
		so.Mirror = s.mirror.show
	}
	if s.stream, err = o.Recogniser.Open(s.ctx, so); err != nil {
		s.cancel()
		return nil, err
	}
	if err := s.begins(ctx); err != nil {
		s.cancel()
		return nil, errors.Join(err, s.stream.Close())
	}
	s.run.Go(s.listen)
	return s, nil
}

// begins announces a new session, or takes up one of an earlier process.
func (s *Session) begins(ctx context.Context) error {
	past := s.o.past
	if past == nil {
		return s.announce(ctx)
	}
	s.opened = past.Opened
	s.base.utterances, s.base.audio = past.Utterances, past.Audio
	s.totals = Totals{Utterances: len(past.Finals), Audio: past.Audio}
	for _, u := range past.Finals {
		s.feed.tell(u)
	}
	return nil
}

func (o *SessionOptions) prepare() (language string, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Source == "" {
		o.Source = SourceWhisperLiveKit
	}
	if !o.Source.Valid() {
		return "", bloodbank.Errorf(bloodbank.CodeInvalid, "unknown source %q: use whisperlivekit, mobile-client, desktop-client or chrome-extension", string(o.Source))
	}
	if o.ID == uuid.Nil {
		if o.ID, err = uuid.NewV7(); err != nil {
			return "", fmt.Errorf("make a session id: %w", err)
		}
	}
	return o.Recogniser.Features().Language(o.Language)
}

// ID is the session's id, as its events carry it.
func (s *Session) ID() uuid.UUID { return s.o.ID }

// Opened is the id of the opening event, the parent of all others of the session.
func (s *Session) Opened() bloodbank.EventID { return s.opened }

// Language is what the recogniser listens for; "" if it has no say in that.
func (s *Session) Language() string { return s.language }

// Mirror is what an upstream tells of the session in its own words.
func (s *Session) Mirror() *Mirror { return s.mirror }

// Format is what the client's audio turned out to be. For the goroutine that writes.
func (s *Session) Format() audio.Format { return s.decoder.Format() }

// Ready tells that the decoder has samples that no write is needed for: call Write
// without bytes then. Ask for it anew each time; nil is a decoder that works in step.
// For the goroutine that writes.
func (s *Session) Ready() <-chan struct{} { return s.decoder.Ready() }

// Write takes bytes of the client's audio, cut anywhere. It waits while more than
// [MaxWaiting] of speech is not transcribed yet, until ctx ends. An error that wraps
// [audio.ErrFormat] is for the client; after any error the session can only be ended.
func (s *Session) Write(ctx context.Context, p []byte) error {
	if s.ended {
		return ErrClosed
	}
	pcm, err := s.decoder.Decode(s.scratch[:0], p)
	s.scratch = pcm
	s.mu.Lock()
	s.bytes += int64(len(p))
	s.mu.Unlock()
	return errors.Join(s.hear(ctx, pcm), err)
}

// Finalize ends the utterance that is open, if there is one; the session goes on.
func (s *Session) Finalize() error {
	if s.ended {
		return ErrClosed
	}
	return s.stream.Finalize()
}

func (s *Session) hear(ctx context.Context, pcm []int16) error {
	if len(pcm) == 0 {
		return nil
	}
	s.mu.Lock()
	s.totals.Audio += audio.Duration(int64(len(pcm)))
	s.mu.Unlock()
	s.o.meter.count(func(c *Counts) { c.Audio += audio.Duration(int64(len(pcm))).Seconds() })
	return s.stream.Write(ctx, pcm)
}

// End ends the audio, waits until every utterance is published or has failed, and
// publishes the closing event. When ctx ends first, what is left is given up and the
// closing event is still tried. Calling it again returns the first call's answer.
func (s *Session) End(ctx context.Context, why Reason) (Totals, error) {
	if s.ended {
		return s.Totals(), s.endErr
	}
	s.ended = true
	s.mu.Lock()
	s.cutOff = why != ReasonEnd
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, s.cancel)
	defer stop()
	tail, err := s.decoder.Flush(s.scratch[:0])
	if why == ReasonError {
		err = nil // told before, by Write
	}
	err = errors.Join(err, s.decoder.Close(), s.hear(ctx, tail), s.stream.CloseWrite())
	s.run.Wait()
	s.giveUp()
	err = errors.Join(err, s.stream.Close(), s.conclude(ctx, why))
	s.cancel()
	s.endErr = err
	return s.Totals(), err
}

// giveUp counts the utterances that will never have an outcome.
func (s *Session) giveUp() {
	s.mu.Lock()
	left := len(s.open)
	s.totals.Failed += left
	clear(s.open)
	s.mu.Unlock()
	s.o.meter.count(func(c *Counts) { c.Failed += uint64(left) })
}

// Totals is the sum so far.
func (s *Session) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.totals
}

// Progress is how far the session has come.
type Progress struct {
	// Bytes counts what was taken of the client's stream; a client that comes back goes
	// on behind them.
	Bytes    int64
	Received time.Duration // audio taken in: the audio clock
	// Finished is where everything before has its outcome. Even if this process dies,
	// no word before it is lost.
	Finished time.Duration
}

// Progress is the state of the session's clocks.
func (s *Session) Progress() Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := Progress{Bytes: s.bytes, Received: s.totals.Audio, Finished: s.totals.Audio}
	for _, start := range s.open {
		p.Finished = min(p.Finished, start)
	}
	return p
}
