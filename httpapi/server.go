// Package httpapi is the HTTP door: publish, query, trace, watch, schemas, dead
// letters and health, one file per resource. openapi.json describes it.
//
// It turns requests into calls and errors into the one JSON shape; it decides
// nothing by itself. It knows the gateway, the roles' contracts and the live
// hub, but no driver, no log and no bus, and no other door.
package httpapi

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/gateway"
	"github.com/33god/bloodbank/live"
	"github.com/33god/bloodbank/schema"
	"github.com/33god/bloodbank/store"
)

// Gateway accepts events; *gateway.Gateway is one.
type Gateway interface {
	AcceptAll(ctx context.Context, requests []gateway.Request) ([]bloodbank.Receipt, error)
}

// Options configure a [Server]. Gateway, Store, Schemas and Live are required.
type Options struct {
	Gateway Gateway
	Store   store.Store
	Schemas *schema.Registry
	Live    *live.Hub
	// Tracker answers the questions of cause; nil answers them with 503.
	Tracker correlation.Tracker
	// DeadLetters serves /dlq; nil answers with 503.
	DeadLetters DeadLetters
	// Replayer serves /replay; nil answers with 503.
	Replayer Replayer
	// Targets serves /targets; nil answers with 503.
	Targets Targets
	// Voice serves speech; what is nil answers with 503 and what to install.
	Voice VoiceDoors
	// Page is the web page: at / for browsers, with its files below /assets/. nil
	// serves none.
	Page http.Handler
	// Metrics serves /metrics; nil answers with 404.
	Metrics http.Handler
	// Checks are what /readyz asks: a name for each part, and nil or why it
	// cannot work now. nil means always ready.
	Checks func(ctx context.Context) map[string]error
	// Status is what /status shows beside the version, as JSON; nil shows no more.
	Status func(ctx context.Context) map[string]any

	Version string
	// Database is what /health calls the store's database.
	Database string
	Logger   *slog.Logger
	// Now is the clock of relative times in filters; nil means time.Now.
	Now func() time.Time
	// Heartbeat is the longest silence of an event stream; 0 means 15 s.
	Heartbeat time.Duration
	Limits    Limits

	// Tokens, where there are any, are demanded of everybody, as
	// "Authorization: Bearer TOKEN". Without tokens only this machine may call.
	Tokens []string
	// Insecure lets everybody call without a token.
	Insecure bool
	// Hosts are names under which a caller on this machine may reach the server
	// without a token, beside localhost and loopback addresses; a reverse proxy
	// needs its name here. They keep web pages from reaching in by a name of
	// their own that points to this machine (DNS rebinding).
	Hosts []string
	// Origins are the origins of web pages that may open the live stream's
	// WebSocket, such as https://example.org, beside those of this server and of
	// this machine; * is all.
	Origins []string
}

// Limits bound what one caller can cost. Zero values mean the defaults.
type Limits struct {
	// Body is the largest request body in bytes, inflated: 8 MiB. A single
	// event has the gateway's limit.
	Body int64
	// Events is how many events one request may hold: 10,000.
	Events int
	// Streams is how many event streams may be open: 1,000.
	Streams int
	// Headers is the size of all request headers in bytes: 64 KiB.
	Headers int
	// ReadHeader, Read, Write and Idle are the times that a client may take to
	// send its headers (10 s), to send its request (60 s), to take its answer
	// (90 s), and to stay connected without a request (120 s). An event stream
	// may last for ever, but each of its writes has 30 s.
	ReadHeader, Read, Write, Idle time.Duration
}

func (l Limits) withDefaults() Limits {
	l.Body = cmp.Or(l.Body, 8<<20)
	l.Events = cmp.Or(l.Events, 10_000)
	l.Streams = cmp.Or(l.Streams, 1000)
	l.Headers = cmp.Or(l.Headers, 64<<10)
	l.ReadHeader = cmp.Or(l.ReadHeader, 10*time.Second)
	l.Read = cmp.Or(l.Read, time.Minute)
	l.Write = cmp.Or(l.Write, 90*time.Second)
	l.Idle = cmp.Or(l.Idle, 2*time.Minute)
	return l
}

// streamWrite bounds one write to an event stream.
const streamWrite = 30 * time.Second

// Server is the handler. Its goroutines are those of open streams; they end by
// [Server.Close].
type Server struct {
	o       Options
	mux     *http.ServeMux
	tokens  [][32]byte
	bodies  sync.Pool // of *body
	runID   string
	lastID  atomic.Uint64
	streams streams
	json    []string // the value of the header that nearly every answer has; never changed
}

// New returns a server.
func New(o Options) *Server {
	o.Limits = o.Limits.withDefaults()
	o.Heartbeat = cmp.Or(o.Heartbeat, 15*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, mux: http.NewServeMux(), tokens: digests(o.Tokens), json: []string{mediaJSON}}
	s.bodies.New = func() any { return new(body) }
	s.runID = strconv.FormatInt(time.Now().UnixMilli(), 36)
	s.streams.open, s.streams.idle = make(map[*context.CancelCauseFunc]struct{}), make(chan struct{})
	for _, r := range s.routes() {
		s.mux.HandleFunc(r.pattern, r.serve)
	}
	s.mountPage()
	s.mux.HandleFunc("/", s.nothingHere)
	return s
}

// HTTPServer returns an http.Server with all limits set, for a listener that the
// caller owns. Its Shutdown ends the open streams.
func (s *Server) HTTPServer() *http.Server {
	l := s.o.Limits
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: l.ReadHeader,
		ReadTimeout:       l.Read,
		WriteTimeout:      l.Write,
		IdleTimeout:       l.Idle,
		MaxHeaderBytes:    l.Headers,
		ErrorLog:          slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug),
	}
	srv.RegisterOnShutdown(s.Close)
	return srv
}

// Close ends the open event streams and refuses new ones. It is idempotent and
// does not wait: the http.Server's Shutdown does, and Drain for WebSockets.
func (s *Server) Close() { s.streams.close() }

// Drain waits, after Close, until the last stream has ended. The http.Server knows
// nothing of the connections that became WebSockets.
func (s *Server) Drain(ctx context.Context) error { return s.streams.wait(ctx) }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := s.requestID(r)
	w.Header()["X-Request-Id"] = []string{id}
	defer s.recover(w, r, id)
	if err := s.guard(r); err != nil {
		s.fail(w, r, err)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// requestID takes the caller's id where it is short and plain, else makes one.
func (s *Server) requestID(r *http.Request) string {
	if given := r.Header.Get("X-Request-Id"); given != "" && len(given) <= 64 && isPlain(given) {
		return given
	}
	return s.runID + "-" + strconv.FormatUint(s.lastID.Add(1), 36)
}

func isPlain(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '-' && c != '_' && c != '.' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// recover answers 500 for a panic of a handler. An answer that has begun cannot
// be taken back: its connection is cut, so that nobody takes it for whole.
func (s *Server) recover(w http.ResponseWriter, r *http.Request, id string) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	s.o.Logger.Error("a handler panicked", "request", id, "method", r.Method, "path", r.URL.Path, "panic", p, "stack", stack())
	if w.Header().Get("Content-Type") != "" { // set when an answer begins, never before
		panic(http.ErrAbortHandler)
	}
	s.fail(w, r, bloodbank.Errorf(bloodbank.CodeInternal, "a fault of ours; the server's log has it under request %s", id))
}

// cutOff ends the handler that calls it and breaks its connection.
func cutOff() { panic(http.ErrAbortHandler) }
