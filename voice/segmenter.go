package voice

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/33god/bloodbank/voice/audio"
)

// Engine is a recogniser that hears one utterance at a time. It is safe for several
// goroutines; how many it serves at once is its own affair.
type Engine interface {
	// Transcribe writes down a whole utterance. It fills Text, Words (with times from
	// the start of pcm), Confidence, Language, Speaker and Model; the rest is the caller's.
	Transcribe(ctx context.Context, pcm []int16) (Transcription, error)
	// Interim starts to listen to an utterance that is still open. [ErrBusy] means that
	// this utterance does without interim text.
	Interim(ctx context.Context) (InterimEngine, error)
}

// InterimEngine listens to one open utterance.
type InterimEngine interface {
	// Feed takes the audio since the last call and returns the text of all so far.
	Feed(ctx context.Context, pcm []int16) (string, error)
	// Close ends it. It may be called at any time, once.
	Close() error
}

// PacedEngine is an [InterimEngine] that wants to be fed seldom, since each look is dear.
type PacedEngine interface {
	InterimEngine
	// Every is the least audio between two looks.
	Every() time.Duration
}

const (
	// MaxWaiting is the audio that may wait to be transcribed before Write waits too.
	MaxWaiting = 30 * time.Second

	interimAfter = time.Second            // speech before the first interim text
	interimEvery = 300 * time.Millisecond // audio between two looks
	// Writes are taken in slices of this length, so that one huge write waits like many small ones.
	sliceSamples = audio.SampleRate / 10
)

// Segmenter makes a [Stream] of an [Engine]: it cuts the audio into utterances and has
// the engine transcribe each as a whole, with interim text meanwhile.
type Segmenter struct {
	engine  Engine
	ctx     context.Context
	cancel  context.CancelFunc
	results chan Result
	ended   chan *utterance // finished speaking, not yet transcribed
	freed   chan struct{}   // a signal that waiting audio became less
	workers sync.WaitGroup
	looks   sync.WaitGroup // goroutines that make interim text or guesses

	postRoll time.Duration // of the endpointer

	ends  *audio.Endpointer // used by the writer alone
	count int
	open  *utterance
	done  bool

	mu      sync.Mutex
	waiting int64 // samples of utterances that are open or not yet transcribed
	sealed  bool  // results is about to be closed: no new goroutine may send to it
}

// NewSegmenter starts a stream that lives until Close or until ctx ends.
func NewSegmenter(ctx context.Context, e Engine, settings audio.EndpointSettings) (*Segmenter, error) {
	settings = settings.WithDefaults()
	if settings.Max > MaxWaiting-time.Second {
		return nil, fmt.Errorf("endpoint Max %s: utterances may last at most %s", settings.Max, MaxWaiting-time.Second)
	}
	ends, err := audio.NewEndpointer(settings)
	if err != nil {
		return nil, err
	}
	s := &Segmenter{
		engine: e, ends: ends, postRoll: settings.PostRoll,
		results: make(chan Result, 16),
		// With the usual settings so many short utterances never wait; with others, Write does.
		ended: make(chan *utterance, MaxWaiting/(100*time.Millisecond)),
		freed: make(chan struct{}, 1),
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.workers.Go(s.transcribe)
	return s, nil
}

// Results is closed when the last utterance is told.
func (s *Segmenter) Results() <-chan Result { return s.results }

// Write takes samples and waits while [MaxWaiting] of speech is not transcribed yet.
func (s *Segmenter) Write(ctx context.Context, pcm []int16) error {
	for len(pcm) > 0 {
		if err := s.room(ctx); err != nil {
			return err
		}
		n := min(len(pcm), sliceSamples)
		s.ends.Write(pcm[:n], (*listener)(s))
		s.speculate()
		pcm = pcm[n:]
	}
	return nil
}

// room waits until a slice more may be held.
func (s *Segmenter) room(ctx context.Context) error {
	for {
		if s.done || s.ctx.Err() != nil {
			return ErrClosed
		}
		s.mu.Lock()
		fits := s.waiting+2*sliceSamples <= audio.Samples(MaxWaiting)
		s.mu.Unlock()
		if fits {
			return nil
		}
		select {
		case <-s.freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.ctx.Done():
		}
	}
}

func (s *Segmenter) hold(samples int64) {
	s.mu.Lock()
	s.waiting += samples
	s.mu.Unlock()
	if samples < 0 {
		select {
		case s.freed <- struct{}{}:
		default:
		}
	}
}

// Finalize ends the utterance that is open, if there is one.
func (s *Segmenter) Finalize() error {
	if s.done || s.ctx.Err() != nil {
		return ErrClosed
	}
	s.ends.Cut((*listener)(s))
	return nil
}

// CloseWrite ends the audio. Speech that is still open ends with it.
func (s *Segmenter) CloseWrite() error {
	if s.done {
		return ErrClosed
	}
	s.ends.Flush((*listener)(s))
	s.done = true
	close(s.ended)
	return nil
}

// Close aborts what is not transcribed yet and waits for the stream's goroutines.
func (s *Segmenter) Close() error {
	s.cancel()
	s.workers.Wait()
	return nil
}

// transcribe is the one goroutine that sends finals, so that they keep their order.
func (s *Segmenter) transcribe() {
	defer s.seal()
	for {
		select {
		case u, more := <-s.ended:
			if !more {
				return
			}
			s.finish(u)
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *Segmenter) seal() {
	s.mu.Lock()
	s.sealed = true
	s.mu.Unlock()
	s.looks.Wait()
	close(s.results)
}

func (s *Segmenter) finish(u *utterance) {
	// An interim text after the final would bring back words that were corrected.
	<-u.looked
	t, err := s.outcome(u)
	defer s.hold(-int64(len(u.pcm)))
	start, end := audio.Duration(u.start), audio.Duration(u.end)
	if err != nil {
		s.send(Failed{Utterance: u.number, Start: start, End: end, Err: err})
		return
	}
	t.Utterance, t.Start, t.End, t.Reason = u.number, start, end, u.why
	for i := range t.Words {
		t.Words[i].Start += start
		t.Words[i].End += start
	}
	s.send(Final{t})
}

func (s *Segmenter) send(r Result) {
	select {
	case s.results <- r:
	case <-s.ctx.Done():
	}
}

// listener is the Segmenter as the endpointer sees it.
type listener Segmenter

func (l *listener) SpeechStart(at int64) {
	s := (*Segmenter)(l)
	s.count++
	u := &utterance{number: s.count, start: at, grown: make(chan struct{}, 1), looked: make(chan struct{})}
	u.ctx, u.over = context.WithCancel(s.ctx)
	s.open = u
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sealed {
		close(u.looked)
		return
	}
	s.looks.Go(func() { s.look(u) })
}

func (l *listener) SpeechAudio(pcm []int16) {
	(*Segmenter)(l).hold(int64(len(pcm)))
	if g := l.open.guess; g != nil {
		g.drop()
		l.open.guess = nil
	}
	l.open.add(pcm)
}

func (l *listener) SpeechEnd(at int64, why audio.EndReason) {
	u := l.open
	u.end, u.why, l.open = at, why, nil
	u.over()
	select {
	case l.ended <- u:
	case <-l.ctx.Done():
	}
}
