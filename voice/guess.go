package voice

import (
	"context"
	"time"

	"github.com/33god/bloodbank/voice/audio"
)

// guessAfter is the silence after which a [SpeculativeEngine] begins with an utterance
// that is not over yet.
const guessAfter = 300 * time.Millisecond

// SpeculativeEngine is an [Engine] that can begin before an utterance is over, so that
// its final comes sooner.
type SpeculativeEngine interface {
	Engine
	// Speculate is Transcribe for speech that may go on. It is called in a pause, with all
	// that was said so far, and its outcome counts only if the pause lasts; else ctx ends.
	// Any error, such as [ErrBusy] when others need the engine more, means that
	// Transcribe is called when the utterance is over.
	Speculate(ctx context.Context, pcm []int16) (Transcription, error)
}

// guess is the outcome of an utterance in case that it has ended.
type guess struct {
	samples int // of the utterance when it was made
	drop    context.CancelFunc
	done    chan struct{} // closed when the rest is set
	text    Transcription
	err     error
}

// speculate starts a guess when the open utterance pauses and nothing else is waiting:
// a guess that proves wrong must not hold up finals.
func (s *Segmenter) speculate() {
	engine, able := s.engine.(SpeculativeEngine)
	u := s.open
	if !able || u == nil || u.guess != nil {
		return
	}
	n := len(u.pcm)
	// What follows the post-roll is not part of the utterance unless speech goes on.
	silent := audio.Duration(s.ends.Position() - u.start - int64(n))
	if silent < max(guessAfter-s.postRoll, 40*time.Millisecond) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sealed || s.waiting > int64(n) {
		return
	}
	g := &guess{samples: n, done: make(chan struct{})}
	ctx, drop := context.WithCancel(s.ctx)
	g.drop, u.guess = drop, g
	pcm := u.pcm[:n:n]
	s.looks.Go(func() {
		defer close(g.done)
		g.text, g.err = engine.Speculate(ctx, pcm)
	})
}

// outcome is the guess at u if it was right, else what the engine makes of it now.
func (s *Segmenter) outcome(u *utterance) (Transcription, error) {
	g := u.guess
	if g == nil {
		return s.engine.Transcribe(s.ctx, u.pcm)
	}
	defer g.drop()
	if g.samples == len(u.pcm) {
		<-g.done
		if g.err == nil {
			return g.text, nil
		}
	}
	return s.engine.Transcribe(s.ctx, u.pcm)
}
