package pocketsphinx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
)

// Recogniser is a [voice.Recogniser] on PocketSphinx. It starts nothing before it is used.
type Recogniser struct {
	pool *pool

	mu      sync.Mutex
	streams map[*stream]struct{}
	closed  bool
}

var _ voice.Recogniser = (*Recogniser)(nil)

// New makes a recogniser; the error names a bad field of the configuration.
func New(c Config) (*Recogniser, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	return &Recogniser{pool: newPool(c), streams: map[*stream]struct{}{}}, nil
}

// Name is "pocketsphinx".
func (r *Recogniser) Name() string { return "pocketsphinx" }

// Features says what PocketSphinx can do: not much, but anywhere.
func (r *Recogniser) Features() voice.Features {
	return voice.Features{Languages: []string{"en-US"}, Interim: true, Words: true, ExactTimes: true, Process: true, Basic: true}
}

// Check makes sure that a worker runs. The first time that takes up to a second.
func (r *Recogniser) Check(ctx context.Context) error { return r.pool.check(ctx) }

// Workers lists the process ids of the workers that run now.
func (r *Recogniser) Workers() []int { return r.pool.pids() }

// Open starts a stream. It does not wait for a worker.
func (r *Recogniser) Open(ctx context.Context, o voice.StreamOptions) (voice.Stream, error) {
	language, err := r.Features().Language(o.Language)
	if err != nil {
		return nil, err
	}
	s := &stream{recogniser: r}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, voice.ErrClosed
	}
	if s.Segmenter, err = voice.NewSegmenter(ctx, &engine{pool: r.pool, language: language}, o.Endpoint); err != nil {
		return nil, err
	}
	r.streams[s] = struct{}{}
	return s, nil
}

// Close aborts the streams, kills the workers and waits for both.
func (r *Recogniser) Close() error {
	r.mu.Lock()
	r.closed = true
	open := r.streams
	r.streams = map[*stream]struct{}{}
	r.mu.Unlock()
	for s := range open {
		_ = s.Segmenter.Close()
	}
	r.pool.close()
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

// engine hears utterances of one stream.
type engine struct {
	pool     *pool
	language string
}

// limit is when a worker that has not answered for pcm will never do.
func (p *pool) limit(pcm []int16) time.Duration {
	return p.config.HangTimeout + 10*audio.Duration(int64(len(pcm)))
}

// Transcribe waits for a decoder and has it hear pcm.
func (e *engine) Transcribe(ctx context.Context, pcm []int16) (voice.Transcription, error) {
	p, release, err := e.pool.final(ctx)
	if err != nil {
		return voice.Transcription{}, err
	}
	return e.hear(ctx, p, release, pcm)
}

// Speculate does the same with a decoder that nobody else needs now.
func (e *engine) Speculate(ctx context.Context, pcm []int16) (voice.Transcription, error) {
	p, release, err := e.pool.spare(ctx)
	if err != nil {
		return voice.Transcription{}, err
	}
	return e.hear(ctx, p, release, pcm)
}

func (e *engine) hear(ctx context.Context, p *process, release func(), pcm []int16) (voice.Transcription, error) {
	f, err := p.call(ctx.Done(), kindTranscribe, audio.Bytes(nil, pcm), e.pool.limit(pcm), release)
	switch {
	case errors.Is(err, errGivenUp):
		return voice.Transcription{}, context.Cause(ctx)
	case err != nil:
		return voice.Transcription{}, fmt.Errorf("this utterance was not recognised: %w", err)
	}
	var h hypothesis
	if err := json.Unmarshal(f.body, &h); err != nil {
		return voice.Transcription{}, fmt.Errorf("read the worker's answer: %w", err)
	}
	t := voice.Transcription{Text: h.Text, Confidence: h.Confidence, Language: e.language}
	for _, w := range h.Words {
		t.Words = append(t.Words, voice.Word{
			Text: w.Text, Confidence: w.Confidence,
			Start: time.Duration(w.Start) * 10 * time.Millisecond,
			End:   time.Duration(w.End) * 10 * time.Millisecond,
		})
	}
	return t, nil
}

func (e *engine) Interim(ctx context.Context) (voice.InterimEngine, error) {
	p, release, err := e.pool.interim(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.send(kindBegin, nil, nil); err != nil {
		release()
		return nil, err
	}
	return &interim{pool: e.pool, process: p, release: release}, nil
}

// interim leases a decoder from begin to end. A feed that was given up may still be at
// work then; frames keep their order, so the next utterance simply comes after it.
type interim struct {
	pool    *pool
	process *process
	release func()
}

func (i *interim) Feed(ctx context.Context, pcm []int16) (string, error) {
	f, err := i.process.call(ctx.Done(), kindFeed, audio.Bytes(nil, pcm), i.pool.limit(pcm), func() {})
	if errors.Is(err, errGivenUp) {
		return "", context.Cause(ctx)
	}
	return string(f.body), err
}

func (i *interim) Close() error {
	err := i.process.send(kindEnd, nil, nil)
	i.release()
	return err
}
