package voice

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/google/uuid"
)

// DeskOptions configure a [Desk]. Recogniser and Emitter are required.
type DeskOptions struct {
	Recogniser Recogniser
	Emitter    Emitter
	// MaxSessions is the most sessions at once, those whose client is away included; 0
	// is 8. When all are taken, one whose client is away gives way, the longest gone
	// first; else nobody is let in.
	MaxSessions int
	// MaxLag is the audio of all sessions together that may wait to be transcribed, what
	// is being spoken included, before nobody more is let in; 0 is 15 s for each of
	// MaxSessions.
	MaxLag time.Duration
	// Grace is how long a session waits for a client that vanished; 0 is 2 minutes,
	// negative not at all.
	Grace time.Duration
	// FlushTimeout bounds the transcription of what was spoken before a session's end;
	// 0 is 2 minutes.
	FlushTimeout time.Duration
	// Secret signs resume tokens. Who keeps it, 32 random bytes, over a restart lets
	// sessions be resumed after it. Empty is a secret of this process.
	Secret []byte
	// Past knows the sessions of earlier processes; nil knows none.
	Past Past
	// Endpoint is where a session's own settings are zero.
	Endpoint audio.EndpointSettings
	// Transcoder decodes what package audio does not; nil refuses that by name.
	Transcoder *audio.Transcoder
	// Origin is the source of the envelopes; the zero value leaves it to the Emitter.
	Origin bloodbank.Source
	Now    func() time.Time // nil is time.Now
	Logger *slog.Logger     // nil logs nothing
}

// Desk keeps the sessions of all doors: it lets clients in, lets them come back after a
// lost connection, and ends what nobody comes back for.
//
// Law: a session has one holder at a time, see [Lease]; whoever resumes it waits until
// the one before has let go. So no byte of audio is taken twice.
type Desk struct {
	o      DeskOptions
	life   context.Context // ended: sessions are given up
	giveUp context.CancelFunc
	stop   chan struct{} // closed: holders end their sessions
	ending sync.WaitGroup

	mu     sync.Mutex
	seats  map[uuid.UUID]*seat
	places int // taken by tickets and sessions
	meter  meter
	closed bool
}

// NewDesk makes a desk. ctx is the life of its sessions: when it ends they are given up.
// Call [Desk.Close] in any case.
func NewDesk(ctx context.Context, o DeskOptions) *Desk {
	orDefault(&o.MaxSessions, 8)
	orDefault(&o.MaxLag, 15*time.Second*time.Duration(o.MaxSessions))
	orDefault(&o.Grace, 2*time.Minute)
	orDefault(&o.FlushTimeout, 2*time.Minute)
	if len(o.Secret) == 0 {
		o.Secret = make([]byte, 32)
		_, _ = rand.Read(o.Secret) // never fails
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Desk{o: o, stop: make(chan struct{}), seats: make(map[uuid.UUID]*seat)}
	d.life, d.giveUp = context.WithCancel(ctx)
	return d
}

func orDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

// Recogniser is what the sessions use.
func (d *Desk) Recogniser() Recogniser { return d.o.Recogniser }

// Transcoder is what the sessions use, nil if there is none.
func (d *Desk) Transcoder() *audio.Transcoder { return d.o.Transcoder }

// Closing is closed when the desk closes: holders end their sessions then.
func (d *Desk) Closing() <-chan struct{} { return d.stop }

// Close ends all sessions: what was spoken is transcribed and published, and all is
// waited for. When ctx ends first, the rest is given up and its error returned.
func (d *Desk) Close(ctx context.Context) error {
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		close(d.stop)
		for _, s := range d.seats {
			d.dismiss(s, ReasonShutdown)
		}
	}
	d.mu.Unlock()
	release := context.AfterFunc(ctx, d.giveUp)
	d.ending.Wait()
	d.giveUp()
	if !release() {
		return context.Cause(ctx)
	}
	return nil
}

// Status describes a desk.
type Status struct {
	// Sessions are open; Waiting of them have no client at the moment.
	Sessions    int `json:"sessions"`
	Waiting     int `json:"waiting"`
	MaxSessions int `json:"max_sessions"`
	// Lag is the audio of all sessions that waits to be transcribed, in seconds.
	Lag float64 `json:"lag_seconds"`
	// MaxLag is from where on nobody more is let in.
	MaxLag float64 `json:"max_lag_seconds"`
	Counts Counts  `json:"counts"`
}

// Status returns a snapshot.
func (d *Desk) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Status{MaxSessions: d.o.MaxSessions, Lag: seconds(d.lag()), MaxLag: seconds(d.o.MaxLag), Counts: d.meter.snapshot()}
	for _, seat := range d.seats {
		if !seat.over {
			s.Sessions++
			if seat.holder == nil {
				s.Waiting++
			}
		}
	}
	return s
}

func (d *Desk) lag() (sum time.Duration) {
	for _, seat := range d.seats {
		if !seat.over {
			p := seat.session.Progress()
			sum += p.Received - p.Finished
		}
	}
	return sum
}
