package voice

import (
	"context"
	"strings"
	"sync"

	"github.com/33god/bloodbank/voice/audio"
)

// utterance is speech on its way to become text.
type utterance struct {
	number     int
	start, end int64 // positions in the stream; end is set before over is called
	why        audio.EndReason
	ctx        context.Context // ends when pcm is complete or the stream is aborted
	over       context.CancelFunc
	looked     chan struct{} // closed: no more interim text comes
	grown      chan struct{} // a signal that pcm became longer
	guess      *guess        // of the writer until the utterance is over

	mu  sync.Mutex
	pcm []int16
}

func (u *utterance) add(pcm []int16) {
	u.mu.Lock()
	u.pcm = append(u.pcm, pcm...)
	u.mu.Unlock()
	select {
	case u.grown <- struct{}{}:
	default:
	}
}

// since waits for at least n samples after position at and returns all of them, or nil
// when the utterance is over.
func (u *utterance) since(at, n int) []int16 {
	for {
		u.mu.Lock()
		rest := u.pcm[at:]
		u.mu.Unlock()
		if len(rest) >= n {
			return rest
		}
		select {
		case <-u.grown:
		case <-u.ctx.Done():
			return nil
		}
	}
}

// look makes interim text for one utterance until it is over. When the engine is slow
// it takes more audio at each look: interim text is the first thing to give way.
func (s *Segmenter) look(u *utterance) {
	defer close(u.looked)
	s.send(Started{Utterance: u.number, At: audio.Duration(u.start)})
	s.follow(u)
	<-u.ctx.Done()
	if s.ctx.Err() != nil {
		return // aborted: nobody may have said yet how the utterance ended
	}
	if u.why != "" {
		s.send(Ended{Utterance: u.number, At: audio.Duration(u.end)})
	}
}

func (s *Segmenter) follow(u *utterance) {
	at := 0
	pcm := u.since(at, int(audio.Samples(interimAfter)))
	if pcm == nil {
		return
	}
	e, err := s.engine.Interim(u.ctx)
	if err != nil {
		return
	}
	defer e.Close()
	every := interimEvery
	if paced, ok := e.(PacedEngine); ok {
		every = max(every, paced.Every())
	}
	var agreed agreement
	for pcm != nil {
		at += len(pcm)
		text, err := e.Feed(u.ctx, pcm)
		if err != nil {
			return
		}
		if agreed.add(text) {
			s.offer(Interim{Utterance: u.number, Text: agreed.text()})
		}
		pcm = u.since(at, int(audio.Samples(every)))
	}
}

// offer sends an interim text if there is room for it.
func (s *Segmenter) offer(r Interim) {
	select {
	case s.results <- r:
	default:
	}
}

// agreement holds the words on which two looks in a row agreed. What is agreed stays,
// so that captions do not flicker.
type agreement struct{ last, agreed []string }

// add takes the next look's text and reports whether more is agreed now.
func (a *agreement) add(text string) bool {
	words := strings.Fields(text)
	n := 0
	for n < min(len(words), len(a.last)) && words[n] == a.last[n] {
		n++
	}
	a.last = words
	if n <= len(a.agreed) {
		return false
	}
	a.agreed = words[:n]
	return true
}

func (a *agreement) text() string { return strings.Join(a.agreed, " ") }
