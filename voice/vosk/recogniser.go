package vosk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/coder/websocket"
)

// checkedFor is how long a good [Recogniser.Check] holds.
const checkedFor = 5 * time.Second

// Recogniser is a [voice.Recogniser] on a Vosk server. Each stream has a connection of
// its own, which it opens when there is audio.
type Recogniser struct {
	config Config
	client *http.Client

	mu      sync.Mutex
	streams map[*stream]struct{}
	closed  bool
	checked time.Time
}

var _ voice.Recogniser = (*Recogniser)(nil)

// New makes a recogniser and does not look for the server yet. The error names every bad
// field of the configuration.
func New(c Config) (*Recogniser, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true // a connection is upgraded or of no more use
	return &Recogniser{config: c, client: &http.Client{Transport: transport}, streams: map[*stream]struct{}{}}, nil
}

// Name is "vosk".
func (r *Recogniser) Name() string { return "vosk" }

// Features says what Vosk can do.
func (r *Recogniser) Features() voice.Features {
	f := voice.Features{Interim: true, Words: true, ExactTimes: true}
	if r.config.Language == "" {
		f.AnyLanguage = true
		return f
	}
	f.Languages = []string{r.config.Language}
	return f
}

// Check opens a connection and closes it again.
func (r *Recogniser) Check(ctx context.Context) error {
	r.mu.Lock()
	closed, fresh := r.closed, !r.checked.IsZero() && time.Since(r.checked) < checkedFor
	r.mu.Unlock()
	if closed {
		return voice.ErrClosed
	}
	if fresh {
		return nil
	}
	conn, err := r.dial(ctx)
	if err != nil {
		return err
	}
	// The server that learns nothing of our leaving sees the connection end.
	_ = conn.CloseNow()
	r.mu.Lock()
	r.checked = time.Now()
	r.mu.Unlock()
	return nil
}

// dial's error wraps [voice.ErrUnavailable] and holds no secret.
func (r *Recogniser) dial(ctx context.Context) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	o := &websocket.DialOptions{HTTPClient: r.client}
	if r.config.Token != "" {
		o.HTTPHeader = http.Header{"Authorization": {"Bearer " + r.config.Token}}
	}
	conn, res, err := websocket.Dial(ctx, r.config.URL, o)
	if err == nil {
		conn.SetReadLimit(1 << 20)
		return conn, nil
	}
	where, _ := url.Parse(r.config.URL) // New has checked it
	if res != nil && (res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden) {
		return nil, fmt.Errorf("%w: the Vosk server at %s refuses our token (%s); set a right one", voice.ErrUnavailable, where.Redacted(), res.Status)
	}
	if secret, has := where.User.Password(); has && strings.Contains(err.Error(), secret) {
		err = errors.New("the connection fails")
	}
	return nil, fmt.Errorf("%w: no Vosk server at %s; start it or set its URL: %w", voice.ErrUnavailable, where.Redacted(), err)
}

// Open starts a stream. It does not look for the server. The end of utterances is the
// server's affair: of the endpoint settings only Max counts.
func (r *Recogniser) Open(ctx context.Context, o voice.StreamOptions) (voice.Stream, error) {
	if _, err := r.Features().Language(o.Language); err != nil {
		return nil, err
	}
	s := &stream{
		r: r, results: make(chan voice.Result, 16), ops: make(chan op, waitingSlices),
		most: int(audio.Samples(min(cmp.Or(o.Endpoint.Max, r.config.MaxUtterance), r.config.MaxUtterance))),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, voice.ErrClosed
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	r.streams[s] = struct{}{}
	s.work.Go(s.run)
	return s, nil
}

// Close aborts the streams and waits for them.
func (r *Recogniser) Close() error {
	r.mu.Lock()
	r.closed = true
	open := r.streams
	r.streams = map[*stream]struct{}{}
	r.mu.Unlock()
	for s := range open {
		s.abort()
	}
	r.client.CloseIdleConnections()
	return nil
}
