package vosk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
)

const (
	// slice is the audio of one message to the server: 100 ms.
	slice = audio.SampleRate / 10
	// waitingSlices is the audio that may wait to be sent before Write waits too.
	waitingSlices = int(voice.MaxWaiting / (100 * time.Millisecond))

	backoffFirst = 100 * time.Millisecond
	backoffMost  = 4 * time.Second
)

// op is audio for the server, or the wish to end the utterance that is open.
type op struct {
	pcm []int16
	end audio.EndReason
}

// stream is a [voice.Stream]. Its goroutine run owns everything below ops.
type stream struct {
	r       *Recogniser
	ctx     context.Context
	cancel  context.CancelFunc
	results chan voice.Result
	work    sync.WaitGroup

	part []int16 // of the writer alone: less than a slice
	done bool    // likewise

	ops chan op

	most  int     // samples of the longest utterance
	kept  []int16 // audio since the end of the last utterance: what a new connection must hear
	at    int64   // position of kept on the audio clock
	end   audio.EndReason
	last  bool // no more ops come
	count int  // utterances so far
	open  bool // the last of them has no outcome yet
	begun time.Duration
	told  time.Duration // end of the last outcome
	text  string        // the last interim text
	broke int           // connections that broke on what is kept

	trouble int // connections that broke since the last final
}

// Results is closed when the last utterance is told.
func (s *stream) Results() <-chan voice.Result { return s.results }

// Write takes samples and waits while [voice.MaxWaiting] of audio is not sent yet.
func (s *stream) Write(ctx context.Context, pcm []int16) error {
	for len(pcm) > 0 {
		if s.done || s.ctx.Err() != nil {
			return voice.ErrClosed
		}
		n := min(len(pcm), slice-len(s.part))
		s.part = append(s.part, pcm[:n]...)
		pcm = pcm[n:]
		if len(s.part) < slice {
			continue
		}
		select {
		case s.ops <- op{pcm: s.part}:
			s.part = make([]int16, 0, slice)
		case <-ctx.Done():
			// Taken, though not sent: the next Write sends it.
			return context.Cause(ctx)
		case <-s.ctx.Done():
			return voice.ErrClosed
		}
	}
	return nil
}

// Finalize ends the utterance that is open, if there is one.
func (s *stream) Finalize() error { return s.finish(audio.EndRequest) }

// CloseWrite ends the audio.
func (s *stream) CloseWrite() error {
	err := s.finish(audio.EndStream)
	s.done = true
	return err
}

func (s *stream) finish(why audio.EndReason) error {
	if s.done || s.ctx.Err() != nil {
		return voice.ErrClosed
	}
	pcm := s.part
	s.part = nil
	select {
	case s.ops <- op{pcm: pcm, end: why}:
		return nil
	case <-s.ctx.Done():
		return voice.ErrClosed
	}
}

// Close aborts what is not finished and waits for the stream's goroutines.
func (s *stream) Close() error {
	s.r.mu.Lock()
	delete(s.r.streams, s)
	s.r.mu.Unlock()
	s.abort()
	return nil
}

func (s *stream) abort() {
	s.cancel()
	s.work.Wait()
}

// run holds one conversation after the other until all audio has its outcome.
func (s *stream) run() {
	defer close(s.results)
	for s.ctx.Err() == nil {
		if len(s.kept) == 0 {
			if s.end, s.broke = "", 0; s.last {
				return
			}
			select {
			case o := <-s.ops:
				s.take(o)
			case <-s.ctx.Done():
			}
			continue
		}
		conn, err := s.connect()
		if err == nil {
			err = s.converse(conn)
		} else {
			s.broke = s.r.config.Attempts
		}
		if err == nil || s.ctx.Err() != nil {
			continue
		}
		s.pause(s.ctx, s.trouble)
		s.trouble++
		if s.broke++; s.broke >= s.r.config.Attempts && len(s.kept) > 0 {
			s.fail(err)
		}
	}
}

// take adds what the writer gave. It must not be called while an end is under way.
func (s *stream) take(o op) {
	s.kept = append(s.kept, o.pcm...)
	s.end, s.last = o.end, o.end == audio.EndStream
	if s.end == "" && len(s.kept) >= s.most {
		s.end = audio.EndLength
	}
}

// connect looks for the server until there is one or patience ends.
func (s *stream) connect() (*talk, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.r.config.Patience)
	defer cancel()
	var why error
	for n := 0; ; n++ {
		conn, err := s.r.dial(ctx)
		if err == nil {
			return newTalk(s.ctx, conn, s.r.config), nil
		}
		if why == nil || ctx.Err() == nil {
			why = err
		}
		if !s.pause(ctx, n) {
			return nil, why
		}
	}
}

// pause waits after n failures in a row, unless ctx ends. Meanwhile it takes what the
// writer gives, so that a failure is one for all of it.
func (s *stream) pause(ctx context.Context, n int) bool {
	wait := min(backoffFirst<<min(n, 10), backoffMost)
	for over := time.After(wait/2 + rand.N(wait/2)); ; {
		var ops chan op
		if s.end == "" {
			ops = s.ops
		}
		select {
		case o := <-ops:
			s.take(o)
		case <-over:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// fail gives up what is kept.
func (s *stream) fail(err error) {
	s.begin(0)
	end := audio.Duration(s.at + int64(len(s.kept)))
	s.send(voice.Failed{Utterance: s.count, Start: s.begun, End: end, Err: fmt.Errorf("this utterance was not recognised: %w", err)})
	s.settle(len(s.kept), end)
	s.end = ""
}

// settle forgets n samples of kept: their utterance has its outcome.
func (s *stream) settle(n int, end time.Duration) {
	s.kept = slices.Delete(s.kept, 0, n)
	s.at += int64(n)
	s.open, s.text, s.broke = false, "", 0
	s.told = max(s.told, end)
}

// begin tells that somebody speaks, n samples into what is kept.
func (s *stream) begin(n int) {
	if s.open {
		return
	}
	s.open = true
	s.count++
	s.begun = max(s.told, audio.Duration(s.at+int64(n)))
	s.send(voice.Started{Utterance: s.count, At: s.begun})
}

func (s *stream) send(r voice.Result) {
	select {
	case s.results <- r:
	case <-s.ctx.Done():
	}
}

// interim tells a text if it is new and there is room for it; n samples were heard.
func (s *stream) interim(text string, n int) {
	if text == "" || text == s.text {
		return
	}
	// A word is told when most of it was heard.
	s.begin(max(0, n-int(audio.Samples(500*time.Millisecond))))
	s.text = text
	select {
	case s.results <- voice.Interim{Utterance: s.count, Text: text}:
	default:
	}
}

// final tells the outcome of the first n samples of kept. origin is the position that
// the server's clock starts with.
func (s *stream) final(a answer, n int, origin int64, why audio.EndReason) {
	end := audio.Duration(s.at + int64(n))
	s.trouble = 0
	if *a.Text == "" && !s.open {
		s.settle(n, s.told)
		return
	}
	t := a.transcription(audio.Duration(origin), max(s.told, audio.Duration(s.at)), end)
	s.begin(int(audio.Samples(t.Start) - s.at))
	t.Utterance, t.Reason, t.Language, t.Model = s.count, why, s.r.config.Language, s.r.config.Model
	if len(t.Words) == 0 {
		t.Start, t.End = s.begun, end
	}
	s.send(voice.Final{Transcription: t})
	s.settle(n, t.End)
}

// errNonsense ends a connection whose server says what it cannot mean.
var errNonsense = errors.New("the Vosk server talks nonsense")
