package openai

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
)

// Recogniser is a [voice.Recogniser] on a transcription server.
type Recogniser struct {
	config Config
	client *http.Client
	turns  chan struct{} // one token for each request under way
	plain  atomic.Bool   // the server refused verbose_json and takes json

	mu      sync.Mutex
	streams map[*stream]struct{}
	closed  bool
	checked time.Time // of the last good answer
}

var _ voice.Recogniser = (*Recogniser)(nil)

// New makes a recogniser and asks nothing of the server yet. The error names every bad
// field of the configuration.
func New(c Config) (*Recogniser, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = c.Concurrent
	transport.MaxResponseHeaderBytes = 64 << 10
	return &Recogniser{
		config:  c,
		turns:   make(chan struct{}, c.Concurrent),
		streams: map[*stream]struct{}{},
		client: &http.Client{
			Transport: transport,
			// Speech goes only where the configuration sends it.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Name is "openai".
func (r *Recogniser) Name() string { return "openai" }

// Features says what the configuration promises of the server.
func (r *Recogniser) Features() voice.Features {
	f := voice.Features{Languages: slices.Clone(r.config.Languages), Interim: r.config.Interim > 0, Words: r.config.Words, ExactTimes: true}
	if len(f.Languages) == 0 {
		f.AnyLanguage = true
	}
	if d := r.config.Language; d != "" {
		at := slices.Index(f.Languages, d)
		if at >= 0 {
			f.Languages = slices.Delete(f.Languages, at, at+1)
		}
		f.Languages = slices.Insert(f.Languages, 0, d)
	}
	return f
}

// Open starts a stream. It does not ask the server.
func (r *Recogniser) Open(ctx context.Context, o voice.StreamOptions) (voice.Stream, error) {
	language, err := r.Features().Language(o.Language)
	if err != nil {
		return nil, err
	}
	if most := r.config.MaxUtterance; most > 0 {
		o.Endpoint.Max = min(cmp.Or(o.Endpoint.Max, most), most)
	}
	s := &stream{recogniser: r}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, voice.ErrClosed
	}
	if s.Segmenter, err = voice.NewSegmenter(ctx, &engine{r: r, language: language}, o.Endpoint); err != nil {
		return nil, err
	}
	r.streams[s] = struct{}{}
	return s, nil
}

// Close aborts the streams with their requests and waits for both.
func (r *Recogniser) Close() error {
	r.mu.Lock()
	r.closed = true
	open := r.streams
	r.streams = map[*stream]struct{}{}
	r.mu.Unlock()
	for s := range open {
		_ = s.Segmenter.Close()
	}
	r.client.CloseIdleConnections()
	return nil
}

type stream struct {
	*voice.Segmenter
	recogniser *Recogniser
}

func (s *stream) Close() error {
	s.recogniser.mu.Lock()
	delete(s.recogniser.streams, s)
	s.recogniser.mu.Unlock()
	return s.Segmenter.Close()
}

// engine hears the utterances of one stream.
type engine struct {
	r        *Recogniser
	language string // as the client or the configuration named it; "" if the server finds out
}

func (e *engine) Transcribe(ctx context.Context, pcm []int16) (voice.Transcription, error) {
	t, err := e.r.insist(ctx, wav(pcm), e.language)
	if err == nil {
		fit(&t, audio.Duration(int64(len(pcm))))
	}
	return t, err
}

func (e *engine) Interim(context.Context) (voice.InterimEngine, error) {
	if e.r.config.Interim == 0 {
		return nil, voice.ErrBusy
	}
	return &interim{engine: e}, nil
}

// interim posts what was said so far, again and again. Finals go first: it never waits
// for a turn and never tries twice.
type interim struct {
	engine *engine
	pcm    []int16
	last   time.Time
}

// Every is the configuration's Interim.
func (i *interim) Every() time.Duration { return i.engine.r.config.Interim }

func (i *interim) Feed(ctx context.Context, pcm []int16) (string, error) {
	i.pcm = append(i.pcm, pcm...)
	r := i.engine.r
	// Audio that comes faster than it is spoken must not bring more requests.
	if err := sleep(ctx, time.Until(i.last.Add(r.config.Interim))); err != nil {
		return "", err
	}
	select {
	case r.turns <- struct{}{}:
	default:
		return "", voice.ErrBusy
	}
	defer func() { <-r.turns }()
	i.last = time.Now()
	t, err := r.post(ctx, wav(i.pcm), i.engine.language)
	return t.Text, err
}

func (i *interim) Close() error { return nil }

// fit keeps the times of words within the utterance, whatever the server says.
func fit(t *voice.Transcription, length time.Duration) {
	at := time.Duration(0)
	for i := range t.Words {
		w := &t.Words[i]
		w.Start = min(max(w.Start, at), length-time.Millisecond)
		w.End = min(max(w.End, w.Start+time.Millisecond), length)
		at = w.Start
	}
}

// primary is the part of a language that these servers know: "en" of "en-US".
func primary(language string) string {
	p, _, _ := strings.Cut(language, "-")
	return strings.ToLower(p)
}
