package whisperlive

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
)

// stream is a [voice.Stream]. Its goroutines: serve, which alone has the reducer and sends
// results; and for each connection a reader and a sender.
type stream struct {
	recogniser *Recogniser
	wishes
	ctx       context.Context
	cancel    context.CancelFunc
	results   chan voice.Result
	finalise  chan struct{} // a signal that Finalize was called
	room      chan struct{} // a signal that more may be written
	work      chan struct{} // a signal that there is more to send, or the end
	over      chan struct{} // closed when the last goroutine has ended
	connected atomic.Bool
	reducer   *reducer     // for serve
	mirror    func([]byte) // for serve; nil where nobody wants to see states, or they tell no longer all

	mu    sync.Mutex
	audio keep
	from  int64         // position at which this connection began
	begun time.Time     // when it did; zero while there is none
	sent  int64         // position up to which it has the audio
	final int64         // position of the end of the last final
	lag   time.Duration // of upstream, as it says
	done  bool          // CloseWrite was called
}

func newStream(ctx context.Context, r *Recogniser, w wishes) *stream {
	c := &r.config
	s := &stream{
		recogniser: r, wishes: w,
		results: make(chan voice.Result, 16), finalise: make(chan struct{}, 1),
		room: make(chan struct{}, 1), work: make(chan struct{}, 1), over: make(chan struct{}),
		reducer: newReducer(tuning{updates: c.Updates, settle: c.Pause / 4, pause: c.Pause, longest: c.Longest}),
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s
}

// start serves the first connection; the stream is registered already.
func (s *stream) start(l *link) {
	go func() {
		defer s.recogniser.release(s)
		defer close(s.over)
		s.serve(l)
	}()
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Results is closed when upstream has told everything.
func (s *stream) Results() <-chan voice.Result { return s.results }

// Write takes samples. It waits while upstream has [voice.MaxWaiting] of audio before it,
// or is lost and so much is kept for it.
func (s *stream) Write(ctx context.Context, pcm []int16) error {
	for len(pcm) > 0 {
		n := min(len(pcm), pieceSamples)
		for {
			took, err := s.take(pcm[:n])
			if err != nil {
				return err
			}
			if took {
				break
			}
			select {
			case <-s.room:
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-s.ctx.Done():
			}
		}
		pcm = pcm[n:]
	}
	return nil
}

// take keeps samples if there is room for them.
func (s *stream) take(pcm []int16) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done || s.ctx.Err() != nil {
		return false, voice.ErrClosed
	}
	if audio.Duration(s.audio.to-s.heard())+100*time.Millisecond > voice.MaxWaiting {
		return false, nil
	}
	s.audio.add(pcm)
	signal(s.work)
	return true, nil
}

// heard is how far upstream has come, with mu held. It does not say, so it is taken to
// work in real time, less the lag that it admits, unless its finals show more.
func (s *stream) heard() int64 {
	at := s.from
	if !s.begun.IsZero() {
		at = min(s.sent, s.from+audio.Samples(time.Since(s.begun)))
	}
	return max(at-audio.Samples(s.lag), s.final, 0)
}

// Finalize makes what upstream has heard final after a short wait: it cannot be asked to.
func (s *stream) Finalize() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done || s.ctx.Err() != nil {
		return voice.ErrClosed
	}
	signal(s.finalise)
	return nil
}

// CloseWrite ends the audio.
func (s *stream) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return voice.ErrClosed
	}
	s.done = true
	signal(s.work)
	return nil
}

// Close aborts what is not finished.
func (s *stream) Close() error {
	s.cancel()
	<-s.over
	return nil
}

// send gives upstream the audio as it comes, and its end.
func (s *stream) send(ctx context.Context, l *link, from int64) error {
	buffer := make([]byte, 2*pieceBytes)
	if l.format == FormatMatroska {
		if err := l.send(ctx, matroskaHeader()); err != nil {
			return err
		}
	}
	for at := from; ; {
		s.mu.Lock()
		n := s.audio.read(buffer, at)
		done := s.done
		s.mu.Unlock()
		if n == 0 {
			if done {
				return l.send(ctx, nil)
			}
			select {
			case <-s.work:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		frame := buffer[:n]
		if l.format == FormatMatroska {
			frame = matroskaCluster(at-from, frame)
		}
		if err := l.send(ctx, frame); err != nil {
			return err
		}
		at += int64(n / 2)
		s.mu.Lock()
		s.sent = at
		s.audio.pack(at)
		s.mu.Unlock()
		signal(s.room)
	}
}
