package whisperlive

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
)

const (
	tickEvery    = 200 * time.Millisecond
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 5 * time.Second
	// steady is how long a connection must live for the next loss to be a new one.
	steady = 10 * time.Second
	// idleKeep is the quiet audio kept while upstream shows no words: the start of some may
	// be in it.
	idleKeep = 2 * time.Second
)

// serve talks to upstream, over as many connections as that takes.
func (s *stream) serve(l *link) {
	defer close(s.results)
	defer s.cancel()
	var from int64
	var lost time.Time
	for backoff := firstBackoff; ; {
		s.reducer.language = ""
		if l.asks && s.language != "auto" {
			s.reducer.language = s.language
		}
		begun, finals := time.Now(), s.reducer.lastEnd
		s.attach(from, begun)
		err := s.talk(l, from)
		s.attach(from, time.Time{})
		l.close()
		if err == nil || s.ctx.Err() != nil {
			return
		}
		if lost.IsZero() || time.Since(begun) > steady || s.reducer.lastEnd > finals {
			lost, backoff = time.Now(), firstBackoff
		}
		s.away(err)
		from = s.rewind()
		if l, from, err = s.reconnect(from, &lost, &backoff, err); err != nil {
			return
		}
		s.tell([]voice.Result{voice.Back{}})
	}
}

// away says that upstream was lost. The next connection knows nothing of this one, so
// its states are no longer the stream's.
func (s *stream) away(why error) {
	if s.mirror != nil {
		s.mirror(nil)
		s.mirror = nil
	}
	s.tell([]voice.Result{voice.Away{Err: fmt.Errorf("the speech server was lost; what is said is kept until it is back: %w", why)}})
}

// attach notes that a connection begins at a position, or that there is none any more.
func (s *stream) attach(from int64, now time.Time) {
	s.connected.Store(!now.IsZero())
	s.mu.Lock()
	s.from, s.begun = from, now
	s.mu.Unlock()
}

// rewind goes back to the end of the last final, from where everything is heard again.
func (s *stream) rewind() int64 {
	r := s.reducer
	s.mu.Lock()
	at, lost := s.seam(), audio.Duration(s.audio.gone)
	s.mu.Unlock()
	if n := r.before(lost); n > 0 && lost > r.lastEnd+time.Second {
		// Their audio is gone, so they would not be heard again.
		r.out = r.out[:0]
		r.final(n, audio.EndLength)
		s.tell(r.out)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.from, s.sent, s.lag = at, at, 0
	r.restart(audio.Duration(at))
	return at
}

// seam is where audio is sent again from, with mu held: after the last final, and where
// that end is a guess, in the pause next to it.
func (s *stream) seam() int64 {
	r := s.reducer
	at := audio.Samples(r.lastEnd)
	switch {
	case r.coarse && r.lastEnd > 0:
		at = s.audio.quietest(at, at+audio.SampleRate, false)
	case !r.exact && r.lastEnd > 0:
		const around = audio.SampleRate / 4
		at = s.audio.quietest(at-around, at+around, false)
	}
	return min(max(at, s.audio.from), s.audio.to)
}

// reconnect tries until it works. What was said is given up when that takes too long, and
// then the rest of the stream is still tried for.
func (s *stream) reconnect(from int64, lost *time.Time, backoff *time.Duration, why error) (*link, int64, error) {
	for {
		wait := time.NewTimer(rand.N(*backoff) + *backoff/2)
		select {
		case <-wait.C:
		case <-s.ctx.Done():
			wait.Stop()
			return nil, 0, context.Cause(s.ctx)
		}
		*backoff = min(2**backoff, maxBackoff)
		if time.Since(*lost) > s.recogniser.config.GiveUp {
			at, ended := s.abandon(from, why)
			if ended {
				return nil, 0, why
			}
			from, *lost = at, time.Now()
		}
		l, err := s.recogniser.dial(s.ctx, s.ctx, s.wishes)
		if err == nil {
			return l, from, nil
		}
		why = err
	}
}

// abandon fails what was said from a position on, and goes on behind it.
func (s *stream) abandon(from int64, why error) (at int64, ended bool) {
	s.mu.Lock()
	at, ended = s.audio.to, s.done
	s.audio.drop(at, at)
	s.from, s.sent = at, at
	s.mu.Unlock()
	signal(s.room)
	if len(s.reducer.held) > 0 {
		// They will not be heard again, so what was shown of them is all there is.
		s.tell(s.reducer.release())
		from = min(max(from, audio.Samples(s.reducer.lastEnd)), at)
	}
	if at > from || s.reducer.open {
		s.tell(s.reducer.fail(audio.Duration(from), audio.Duration(at), fmt.Errorf("the speech server was lost and did not come back in time: %w", why)))
	}
	s.reducer.restart(audio.Duration(at))
	return at, ended
}

// conversation is the state of talk.
type conversation struct {
	*stream
	link    *link
	sending chan error // what came of the sender
	faults  chan error // of pings
	ending  <-chan time.Time
	cutting <-chan time.Time // when Finalize has waited long enough
	trouble string           // what upstream said went wrong
}

// talk serves one connection. nil means that the stream has come to its end.
func (s *stream) talk(l *link, from int64) error {
	ctx, cancel := context.WithCancel(s.ctx)
	c := &conversation{stream: s, link: l, sending: make(chan error, 1), faults: make(chan error, 1)}
	var hands sync.WaitGroup
	defer hands.Wait()
	defer cancel()
	hands.Go(func() { c.sending <- s.send(ctx, l, from) })
	if l.first != nil {
		if over, err := c.receive(l.first); over || err != nil {
			return err
		}
	}
	tick, ping := time.NewTicker(tickEvery), time.NewTicker(s.recogniser.config.PingEvery)
	defer tick.Stop()
	defer ping.Stop()
	for {
		select {
		case m, ok := <-l.messages:
			if !ok {
				return c.excuse(l.fault)
			}
			if over, err := c.receive(&m); over || err != nil {
				return err
			}
		case err := <-c.sending:
			if err != nil {
				return c.excuse(fmt.Errorf("upstream takes no more audio: %w", err))
			}
			s.mu.Lock()
			c.ending = time.After(s.recogniser.config.EndWithin + s.lag)
			s.mu.Unlock()
		case err := <-c.faults:
			return c.excuse(err)
		case <-c.ending:
			c.endLate()
			return nil
		case <-s.finalise:
			c.cutting = time.After(s.recogniser.config.FinalizeWithin)
		case <-c.cutting:
			c.cutting = nil
			s.tell(s.reducer.flush(audio.EndRequest))
		case now := <-tick.C:
			s.tell(s.reducer.tick(now))
			s.forget()
		case <-ping.C:
			hands.Go(func() { c.ping(ctx) })
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ping asks upstream for a sign of life.
func (c *conversation) ping(ctx context.Context) {
	limit, cancel := context.WithTimeout(ctx, c.recogniser.config.PingEvery)
	defer cancel()
	if err := c.link.conn.Ping(limit); err != nil {
		select {
		case c.faults <- fmt.Errorf("upstream gives no sign of life: %w", err):
		default:
		}
	}
}

// excuse adds what upstream itself said.
func (c *conversation) excuse(err error) error {
	if c.trouble == "" {
		return err
	}
	return fmt.Errorf("upstream says %s; %w", excerpt(c.trouble), err)
}

// receive takes one message and reports whether it was the last of all.
func (c *conversation) receive(m *message) (over bool, err error) {
	switch m.Type {
	case kindStop:
		if c.trouble != "" {
			return false, c.excuse(errors.New("it ended the session"))
		}
		if c.ending == nil {
			select {
			case err := <-c.sending: // the end was sent, and the answer was quicker than the news of it
				if err != nil {
					return false, c.excuse(err)
				}
			default:
				return false, c.excuse(errors.New("upstream ended the session unasked"))
			}
		}
		c.tell(c.reducer.flush(audio.EndStream))
		return true, nil
	case kindError:
		c.trouble = m.Error
		return false, c.excuse(errors.New("it ended the session"))
	case kindData, "snapshot":
	default:
		return false, nil
	}
	if c.mirror != nil && c.link.modern && m.Type == kindData {
		c.mirror(m.raw)
	}
	c.trouble = m.Error
	if m.Status == "error" {
		return false, nil // it has no lines; what follows tells whether the session goes on
	}
	c.mu.Lock()
	c.lag = m.lag()
	c.mu.Unlock()
	c.tell(c.reducer.take(&m.snapshot, time.Now()))
	c.forget()
	return false, nil
}

// endLate ends a stream whose upstream does not say that it is ready.
func (c *conversation) endLate() {
	c.tell(c.reducer.flush(audio.EndStream))
	c.mu.Lock()
	end := audio.Duration(c.audio.to)
	c.mu.Unlock()
	if start := max(c.reducer.lastEnd, c.reducer.floor); end-start > time.Second {
		c.tell(c.reducer.fail(start, end, c.excuse(fmt.Errorf("the speech server did not finish within %s of the end of the audio", c.recogniser.config.EndWithin))))
	}
}

// forget lets audio go that is not needed again.
func (s *stream) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.final = audio.Samples(s.reducer.lastEnd)
	heard := s.heard()
	needed, quiet := max(s.final-audio.SampleRate/2, heard-audio.Samples(voice.MaxWaiting)), int64(0)
	if s.reducer.idle() && !s.reducer.open {
		// Sound is kept all the same: upstream may be slower than it says.
		quiet = heard - audio.Samples(idleKeep)
	}
	s.audio.drop(min(needed, s.sent), min(quiet, s.sent))
	s.reducer.floor = audio.Duration(s.audio.from)
	signal(s.room)
}

// tell hands results on. Only interim text gives way to a reader who is slow.
func (s *stream) tell(results []voice.Result) {
	for _, r := range results {
		switch v := r.(type) {
		case voice.Interim:
			if len(s.results) > cap(s.results)/2 {
				continue
			}
		case voice.Final:
			r = s.refine(v)
		}
		select {
		case s.results <- r:
		case <-s.ctx.Done():
			return
		}
	}
}

// refine finds where in its second an utterance began, for servers that know no less.
func (s *stream) refine(f voice.Final) voice.Final {
	if !s.reducer.coarse || !whole(f.Start) {
		return f
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	from := audio.Samples(f.Start)
	if from < s.audio.from {
		return f
	}
	f.Start = audio.Duration(s.audio.quietest(from, min(from+audio.SampleRate, audio.Samples(f.End)), true))
	return f
}
