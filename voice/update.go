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
	KindEnded                   // the speaker has paused; the outcome follows
	KindFinal                   // a finished utterance; published unless its text is empty
	KindFailed                  // an utterance that is lost, with Err
	KindAway                    // the recogniser is lost for now, with Err; audio is kept for it
	KindBack                    // it is there again
)

// Update is one piece of news for the client of a session.
type Update struct {
	Kind       Kind
	Utterance  int           // from 1
	Revision   int           // of the text of an utterance, from 1; the outcome has the highest
	Start, End time.Duration // on the audio clock; End from KindEnded on
	Text       string        // with KindInterim and KindFinal; also of a final that could not be published
	Final      *Transcription
	Event      bloodbank.EventID // of a published final
	// Truncated says that the speech was cut off by the end of a connection, not of a
	// sentence.
	Truncated bool
	Err       error // with KindFailed and KindAway: what happened, for the client
}

// Follow returns a reader of what the session tells about the utterances behind the
// given one: 0 for all. Several may read, and a slow one holds nothing up.
func (s *Session) Follow(after int) *Follower { return &Follower{feed: s.feed, after: after} }

// listen takes the results of the stream to the emitter and to the followers.
func (s *Session) listen() {
	defer s.feed.end()
	paused := map[int]time.Time{} // when the utterances without an outcome ended
	for r := range s.stream.Results() {
		switch r := r.(type) {
		case Started:
			s.begin(r)
		case Interim:
			s.feed.tell(Update{Kind: KindInterim, Utterance: s.number(r.Utterance), Revision: 1, Text: r.Text})
		case Ended:
			paused[r.Utterance] = time.Now()
			s.feed.tell(Update{Kind: KindEnded, Utterance: s.number(r.Utterance), End: s.at(r.At)})
		case Final:
			u := s.publish(s.shift(r.Transcription))
			s.o.meter.outcome(u, paused[r.Utterance])
			delete(paused, r.Utterance)
			s.feed.tell(u)
		case Failed:
			n := s.number(r.Utterance)
			s.settle(n, func(t *Totals) { t.Failed++ })
			s.o.meter.count(func(c *Counts) { c.Failed++ })
			delete(paused, r.Utterance)
			s.feed.tell(Update{Kind: KindFailed, Utterance: n, Revision: 1, Start: s.at(r.Start), End: s.at(r.End), Err: r.Err})
		case Away:
			s.feed.tell(Update{Kind: KindAway, Err: r.Err})
		case Back:
			s.feed.tell(Update{Kind: KindBack})
		}
	}
}

// number and at take the counts of the stream to those of the session, which may have
// had another stream before; shift does so for all of a transcription.
func (s *Session) number(utterance int) int         { return s.base.utterances + utterance }
func (s *Session) at(t time.Duration) time.Duration { return s.base.audio + t }
func (s *Session) shift(t Transcription) Transcription {
	t.Utterance, t.Start, t.End = s.number(t.Utterance), s.at(t.Start), s.at(t.End)
	for i := range t.Words {
		t.Words[i].Start, t.Words[i].End = s.at(t.Words[i].Start), s.at(t.Words[i].End)
	}
	return t
}

func (s *Session) begin(r Started) {
	n, at := s.number(r.Utterance), s.at(r.At)
	s.mu.Lock()
	s.open[n] = at
	s.mu.Unlock()
	s.feed.tell(Update{Kind: KindStarted, Utterance: n, Start: at})
}

func (s *Session) settle(utterance int, count func(*Totals)) {
	s.mu.Lock()
	delete(s.open, utterance)
	count(&s.totals)
	s.mu.Unlock()
}
