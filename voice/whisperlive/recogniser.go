package whisperlive

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"github.com/33god/bloodbank/voice"
)

// Recogniser is a [voice.Recogniser] on a WhisperLiveKit server. It connects to nothing
// before it is used.
type Recogniser struct {
	config   Config
	endpoint *url.URL
	client   *http.Client

	mu      sync.Mutex
	streams map[*stream]struct{}
	closed  bool
	idle    sync.WaitGroup // streams and attempts to open one
}

var _ voice.Recogniser = (*Recogniser)(nil)

// New makes a recogniser; the error names every bad field of the configuration.
func New(c Config) (*Recogniser, error) {
	c, u, err := c.complete()
	if err != nil {
		return nil, err
	}
	r := &Recogniser{config: c, endpoint: u, client: c.HTTPClient, streams: map[*stream]struct{}{}}
	if r.client == nil {
		r.client = &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}}
	}
	return r, nil
}

// Name is "whisperlive".
func (r *Recogniser) Name() string { return "whisperlive" }

// Features says what WhisperLiveKit can do: it tells neither words nor confidences.
func (r *Recogniser) Features() voice.Features {
	return voice.Features{Languages: languages(r.config.Language), Interim: true}
}

// Check connects to the server and lets it go again; while a stream is connected it asks
// nothing.
func (r *Recogniser) Check(ctx context.Context) error {
	r.mu.Lock()
	closed, connected := r.closed, false
	for s := range r.streams {
		connected = connected || s.connected.Load()
	}
	r.mu.Unlock()
	switch {
	case closed:
		return voice.ErrClosed
	case connected:
		return nil
	}
	l, err := r.dial(ctx, ctx, wishes{language: r.config.Language})
	if err != nil {
		if errors.Is(err, voice.ErrUnavailable) {
			return err
		}
		return fmt.Errorf("%w: %w", voice.ErrUnavailable, err)
	}
	l.sayEnd(ctx)
	l.close()
	return nil
}

// Open connects to the server and starts a stream.
func (r *Recogniser) Open(ctx context.Context, o voice.StreamOptions) (voice.Stream, error) {
	if _, err := r.Features().Language(o.Language); err != nil {
		return nil, err
	}
	s := newStream(ctx, r, wishes{r.asked(o.Language), o.Translate})
	s.mirror = o.Mirror
	if err := r.register(s); err != nil {
		s.cancel()
		return nil, err
	}
	l, err := r.dial(ctx, s.ctx, s.wishes)
	if err != nil {
		s.cancel()
		return nil, r.unopened(s, err)
	}
	s.start(l)
	return s, nil
}

// unopened forgets a stream that could not connect, and says why it could not.
func (r *Recogniser) unopened(s *stream, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.streams, s)
	r.idle.Done()
	if r.closed {
		return voice.ErrClosed
	}
	return err
}

// asked is the language to ask the server for; "" asks for nothing, which leaves it to the
// server's own setting.
func (r *Recogniser) asked(wish string) string {
	switch {
	case wish == "":
		return r.config.Language
	case wish == "auto" && r.config.Language == "":
		return ""
	}
	return wish
}

// register takes a place for one more stream, so that Close can find it.
func (r *Recogniser) register(s *stream) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return voice.ErrClosed
	}
	if n := len(r.streams); n >= r.config.Streams {
		return fmt.Errorf("%w: %d streams are open, which is the limit for this server", voice.ErrBusy, n)
	}
	r.streams[s] = struct{}{}
	r.idle.Add(1)
	return nil
}

// release forgets a stream whose goroutines have ended.
func (r *Recogniser) release(s *stream) {
	r.mu.Lock()
	delete(r.streams, s)
	r.mu.Unlock()
	r.idle.Done()
}

// Close aborts the streams and waits for them.
func (r *Recogniser) Close() error {
	r.mu.Lock()
	r.closed = true
	for s := range r.streams {
		s.cancel()
	}
	r.mu.Unlock()
	r.idle.Wait()
	r.client.CloseIdleConnections()
	return nil
}
