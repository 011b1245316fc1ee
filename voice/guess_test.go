package voice_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
)

// guesser is an engine that says how much audio each of its texts is of.
type guesser struct {
	refuse bool
	held   chan struct{} // if set, guesses wait for it or for the end of their context

	mu    sync.Mutex
	calls []string
}

func (g *guesser) note(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls = append(g.calls, fmt.Sprintf(format, args...))
}

func (g *guesser) Transcribe(_ context.Context, pcm []int16) (voice.Transcription, error) {
	g.note("transcribe %d", len(pcm))
	return voice.Transcription{Text: fmt.Sprint(len(pcm))}, nil
}

func (g *guesser) Speculate(ctx context.Context, pcm []int16) (voice.Transcription, error) {
	if g.refuse {
		return voice.Transcription{}, voice.ErrBusy
	}
	if g.held != nil {
		select {
		case <-g.held:
		case <-ctx.Done():
			g.note("dropped %d", len(pcm))
			return voice.Transcription{}, ctx.Err()
		}
	}
	g.note("guess %d", len(pcm))
	return voice.Transcription{Text: fmt.Sprint(len(pcm))}, nil
}

func (g *guesser) Interim(context.Context) (voice.InterimEngine, error) { return nil, voice.ErrBusy }

// finals sends audio in frames of 20 ms and returns the finals.
func finals(t *testing.T, g *guesser, pcm []int16) (all []voice.Final) {
	t.Helper()
	s, err := voice.NewSegmenter(t.Context(), g, audio.EndpointSettings{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for len(pcm) > 0 {
		n := min(320, len(pcm))
		if err := s.Write(t.Context(), pcm[:n]); err != nil {
			t.Fatal(err)
		}
		pcm = pcm[n:]
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	for r := range s.Results() {
		switch r := r.(type) {
		case voice.Final:
			all = append(all, r)
		case voice.Failed:
			t.Error(r.Err)
		}
	}
	return all
}

func quiet(d time.Duration) []int16 { return make([]int16, audio.Samples(d)) }

func joined(parts ...[]int16) (all []int16) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// The guess that was made in the pause is the final, and has heard the same audio.
func TestGuessBecomesTheFinal(t *testing.T) {
	t.Parallel()
	pcm := joined(quiet(time.Second), syllables(2*time.Second), quiet(time.Second))
	plain := finals(t, &guesser{refuse: true}, pcm)
	g := &guesser{}
	all := finals(t, g, pcm)
	if len(all) != 1 || len(plain) != 1 || all[0].Text != plain[0].Text || all[0].End != plain[0].End {
		t.Fatalf("finals %+v, without guesses %+v", all, plain)
	}
	if fmt.Sprint(g.calls) != "[guess "+all[0].Text+"]" {
		t.Errorf("calls %q", g.calls)
	}
}

// A guess in a pause that was too short is dropped; the whole is heard once, in the end.
func TestGuessIsDroppedWhenSpeechGoesOn(t *testing.T) {
	t.Parallel()
	g := &guesser{held: make(chan struct{})}
	pcm := joined(quiet(time.Second), syllables(time.Second), quiet(450*time.Millisecond), syllables(time.Second), quiet(200*time.Millisecond))
	all := finals(t, g, pcm)
	if len(all) != 1 || all[0].Duration() < 2400*time.Millisecond {
		t.Fatalf("finals %+v", all)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.calls) != 2 || !slices.Contains(g.calls, "transcribe "+all[0].Text) {
		t.Errorf("calls %q", g.calls)
	}
}

// An engine that is too busy to guess is asked when the utterance is over.
func TestGuessRefused(t *testing.T) {
	t.Parallel()
	g := &guesser{refuse: true}
	all := finals(t, g, joined(quiet(time.Second), syllables(time.Second), quiet(time.Second)))
	if len(all) != 1 || fmt.Sprint(g.calls) != "[transcribe "+all[0].Text+"]" {
		t.Errorf("finals %+v, calls %q", all, g.calls)
	}
}

// A stream that is closed in a guess ends it.
func TestCloseInGuess(t *testing.T) {
	t.Parallel()
	g := &guesser{held: make(chan struct{})}
	s, err := voice.NewSegmenter(t.Context(), g, audio.EndpointSettings{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Write(t.Context(), joined(quiet(time.Second), syllables(time.Second), quiet(400*time.Millisecond))), s.Close()); err != nil {
		t.Fatal(err)
	}
	for range s.Results() { // closed: everything has ended
	}
	if len(g.calls) != 1 || g.calls[0][:7] != "dropped" {
		t.Errorf("calls %q", g.calls)
	}
}
