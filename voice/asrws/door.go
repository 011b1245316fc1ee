package asrws

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/coder/websocket"
)

// Options configure a [Door]. Recogniser and Emitter are required.
type Options struct {
	Recogniser voice.Recogniser
	Emitter    voice.Emitter
	// MaxSessions is the most clients at once; 0 is 8. More are refused with 503.
	MaxSessions int
	// Origins are the origins of web pages that may connect besides those of the same
	// host, of localhost and of browser extensions, such as "https://example.org"; "*"
	// is all.
	Origins []string
	// Token, if not empty, must be given as ?token= or as Authorization: Bearer.
	Token string
	// MaxFrame is the largest frame in bytes; 0 is 16 MiB. A larger one ends the session.
	MaxFrame int64
	// FlushTimeout bounds the transcription of what was spoken before a session's end;
	// 0 is 2 minutes.
	FlushTimeout time.Duration
	// Endpoint tunes the end of utterances.
	Endpoint audio.EndpointSettings
	// Origin is the source of the envelopes; the zero value leaves it to the Emitter.
	Origin bloodbank.Source
	Logger *slog.Logger // nil logs nothing
}

// Door serves the WebSocket. It is an [http.Handler] for the path /asr.
type Door struct {
	o        Options
	stop     chan struct{}   // closed: sessions end politely
	life     context.Context // ended: sessions are given up
	giveUp   context.CancelFunc
	sessions sync.WaitGroup

	mu     sync.Mutex
	open   int
	closed bool
}

// New makes a door. ctx is the life of its sessions: when it ends they are given up.
// Call [Door.Close] in any case.
func New(ctx context.Context, o Options) *Door {
	if o.MaxSessions == 0 {
		o.MaxSessions = 8
	}
	if o.MaxFrame == 0 {
		o.MaxFrame = 16 << 20
	}
	if o.FlushTimeout == 0 {
		o.FlushTimeout = 2 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Door{o: o, stop: make(chan struct{})}
	d.life, d.giveUp = context.WithCancel(ctx)
	return d
}

// Sessions is the number of clients that are connected or still being transcribed.
func (d *Door) Sessions() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

// Close ends the sessions: what was spoken is transcribed and published, clients are told,
// and all is waited for. When ctx ends first, the rest is given up and its error returned.
func (d *Door) Close(ctx context.Context) error {
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		close(d.stop)
	}
	d.mu.Unlock()
	release := context.AfterFunc(ctx, d.giveUp)
	d.sessions.Wait()
	d.giveUp()
	if !release() {
		return context.Cause(ctx)
	}
	return nil
}

// enter counts a session in, or says why not.
func (d *Door) enter() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "the server is going down; connect again later")
	case d.open >= d.o.MaxSessions:
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "all %d voice sessions are taken; connect again later", d.o.MaxSessions)
	}
	d.open++
	d.sessions.Add(1)
	return nil
}

func (d *Door) leave() {
	d.mu.Lock()
	d.open--
	d.mu.Unlock()
	d.sessions.Done()
}

// ServeHTTP serves one client until its session is over, which may be after it is gone.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := d.admit(r); err != nil {
		refuse(w, err)
		return
	}
	if err := d.enter(); err != nil {
		refuse(w, err)
		return
	}
	defer d.leave()
	if err := d.o.Recogniser.Check(r.Context()); err != nil {
		refuse(w, bloodbank.Errorf(bloodbank.CodeUnavailable, "speech cannot be recognised now: %w", err))
		return
	}
	p, invalid := parseParams(r.URL.Query(), d.o.Recogniser.Features())
	if invalid == nil {
		w.Header().Set("X-Session-Id", p.id.String())
	}
	// The origin was checked in admit, by a wider rule than the library's.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // answered by Accept
	}
	defer conn.CloseNow()
	conn.SetReadLimit(d.o.MaxFrame)
	c := &connection{door: d, conn: conn, params: p, log: d.o.Logger.With("session_id", p.id.String())}
	if invalid != nil {
		c.reject(r.Context(), invalid)
		return
	}
	// The session outlives the request: what was said is published even when the client is gone.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()
	c.serve(ctx)
}

// admit checks what needs no session.
func (d *Door) admit(r *http.Request) error {
	switch {
	case !strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		return bloodbank.Errorf(bloodbank.CodeInvalid, "this is a WebSocket; connect with ws:// and send audio in binary frames")
	case !trusted(r, d.o.Origins):
		return bloodbank.Errorf(bloodbank.CodeForbidden, "pages of this origin may not connect; add it to the allowed origins")
	case !authorised(r, d.o.Token):
		return bloodbank.Errorf(bloodbank.CodeForbidden, "the token is missing or wrong; give it as ?token= or as Authorization: Bearer")
	}
	return nil
}

// refusal has the shape of all errors over HTTP; Detail is for the original's clients.
type refusal struct {
	Error  *bloodbank.Error `json:"error"`
	Detail string           `json:"detail"`
}

// refuse answers before the upgrade.
func refuse(w http.ResponseWriter, err error) {
	var e *bloodbank.Error
	if !errors.As(err, &e) {
		e = bloodbank.Errorf(bloodbank.CodeInternal, "%w", err)
	}
	status := e.Code.HTTPStatus()
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(refusal{Error: e, Detail: e.Message})
}
