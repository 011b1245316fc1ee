package voice

import (
	"time"

	"github.com/33god/bloodbank"
)

// Kind says what an [Update] is about.
type Kind int

// The kinds.
const (
	KindStarted Kind = iota + 1 // somebody began to speak
	KindInterim                 // text of an utterance that is still open; replaces the last
	KindFinal                   // a finished utterance; published unless its text is empty
	KindFailed                  // an utterance that is lost, with Err
)

// Update is one piece of news for the client of a session.
type Update struct {
	Kind       Kind
	Utterance  int           // from 1
	Start, End time.Duration // on the audio clock; End only with a final or a failure
	Text       string        // with KindInterim and KindFinal; also of a final that could not be published
	Final      *Transcription
	Event      bloodbank.EventID // of a published final
	Err        error             // with KindFailed: what happened, for the client
}

// listen takes the results of the stream to the emitter and to the client.
func (s *Session) listen() {
	defer close(s.updates)
	for r := range s.stream.Results() {
		switch r := r.(type) {
		case Started:
			s.begin(r)
		case Interim:
			s.whisper(Update{Kind: KindInterim, Utterance: r.Utterance, Text: r.Text})
		case Final:
			s.tell(s.publish(r.Transcription))
		case Failed:
			s.settle(r.Utterance, func(t *Totals) { t.Failed++ })
			s.tell(Update{Kind: KindFailed, Utterance: r.Utterance, Start: r.Start, End: r.End, Err: r.Err})
		}
	}
}

func (s *Session) begin(r Started) {
	s.mu.Lock()
	s.open[r.Utterance] = r.At
	s.mu.Unlock()
	s.tell(Update{Kind: KindStarted, Utterance: r.Utterance, Start: r.At})
}

func (s *Session) settle(utterance int, count func(*Totals)) {
	s.mu.Lock()
	delete(s.open, utterance)
	count(&s.totals)
	s.mu.Unlock()
}

func (s *Session) tell(u Update) {
	select {
	case s.updates <- u:
	case <-s.ctx.Done():
		// The session is being given up; its last news still goes where there is room.
		s.whisper(u)
	}
}

// whisper tells what may be lost.
func (s *Session) whisper(u Update) {
	select {
	case s.updates <- u:
	default:
	}
}
