package recognisertest

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/33god/bloodbank/voice"
)

// Script is what a [Scripted] recogniser does.
type Script struct {
	// Finals are the texts of the utterances, in order over all streams; after the last
	// one every utterance has no words.
	Finals []string
	// Failures maps utterances, from 1, to errors.
	Failures map[int]error
	// Interim is told word by word, one more at each look; "" means no interim text.
	Interim string
	// Hold, if set, is received from before each final.
	Hold <-chan struct{}
	// Unavailable is what Check and Open answer.
	Unavailable error
	// Result is copied to each transcription, for its confidence and the like.
	Result voice.Transcription
}

// Scripted is a recogniser for fast tests: it finds utterances like a real one and takes
// their words from a script.
type Scripted struct {
	script Script
	mu     sync.Mutex
	heard  int
	open   map[*voice.Segmenter]struct{}
	closed bool
}

// NewScripted makes a recogniser that follows s.
func NewScripted(s Script) *Scripted {
	return &Scripted{script: s, open: map[*voice.Segmenter]struct{}{}}
}

// Name is "scripted".
func (r *Scripted) Name() string { return "scripted" }

// Features says that it speaks English with interim text.
func (r *Scripted) Features() voice.Features {
	return voice.Features{Languages: []string{"en-US"}, Interim: r.script.Interim != ""}
}

// Check answers what the script says.
func (r *Scripted) Check(context.Context) error { return r.script.Unavailable }

// Open starts a stream.
func (r *Scripted) Open(ctx context.Context, o voice.StreamOptions) (voice.Stream, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, voice.ErrClosed
	}
	if r.script.Unavailable != nil {
		return nil, r.script.Unavailable
	}
	if _, err := r.Features().Language(o.Language); err != nil {
		return nil, err
	}
	s, err := voice.NewSegmenter(ctx, r, o.Endpoint)
	if err != nil {
		return nil, err
	}
	r.open[s] = struct{}{}
	return s, nil
}

// Close aborts the streams.
func (r *Scripted) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for s := range r.open {
		s.Close()
	}
	clear(r.open)
	return nil
}

// Transcribe takes the next line of the script.
func (r *Scripted) Transcribe(ctx context.Context, _ []int16) (voice.Transcription, error) {
	if r.script.Hold != nil {
		select {
		case <-r.script.Hold:
		case <-ctx.Done():
			return voice.Transcription{}, ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard++
	if err := r.script.Failures[r.heard]; err != nil {
		return voice.Transcription{}, err
	}
	t := r.script.Result
	t.Words = slices.Clone(t.Words) // whose times the caller moves
	if r.heard <= len(r.script.Finals) {
		t.Text = r.script.Finals[r.heard-1]
	}
	return t, nil
}

// Interim begins to tell the script's interim text.
func (r *Scripted) Interim(context.Context) (voice.InterimEngine, error) {
	if r.script.Interim == "" {
		return nil, voice.ErrBusy
	}
	return &scriptedInterim{words: strings.Fields(r.script.Interim)}, nil
}

type scriptedInterim struct {
	words []string
	told  int
}

func (i *scriptedInterim) Feed(context.Context, []int16) (string, error) {
	i.told = min(i.told+1, len(i.words))
	return strings.Join(i.words[:i.told], " "), nil
}

func (i *scriptedInterim) Close() error { return nil }
