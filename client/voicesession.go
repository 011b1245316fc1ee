package client

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/33god/bloodbank"
)

const (
	// usualPatience is how long a server waits for a client that vanished.
	usualPatience = 2 * time.Minute
	// greetWithin bounds the wait for the first message: a server that takes a
	// session up again waits for its store first.
	greetWithin = 30 * time.Second
	// quietLimit is how long a server may say nothing before it is asked for a sign
	// of life, and then for that. A server that is behind does not read.
	quietLimit = 30 * time.Second
	// firstBack and lastBack bound the wait before another connection.
	firstBack = 100 * time.Millisecond
	lastBack  = 5 * time.Second
	// maxRefused is how often in a row a session may be refused or ended without
	// any progress: somebody else may hold it for a moment.
	maxRefused = 4
	// margin is kept before what the server has finished, since it may find out a
	// little later that somebody had begun to speak.
	margin = 3 * time.Second
	// maxLines is how many lines are known again; the server shows 1000.
	maxLines = 4096
	// closeInvalid is the server's close code where a session cannot be had.
	closeInvalid websocket.StatusCode = 4400
)

// voiceSession is one session over as many connections as it takes.
//
// Law: audio is dropped only once the server has acknowledged it, and where a stream
// can begin in its middle, only once nothing before it can get lost with the server.
type voiceSession struct {
	c     *Client
	r     VoiceRequest
	tape  *tape
	last  VoiceUpdate
	lines seenLines

	id, token string
	refused   int       // see maxRefused
	since     time.Time // of the first break without progress behind it
	stopped   bool      // the server has said that it is done

	began   time.Time
	calling sync.Mutex // held while a function of the request runs

	mu       sync.Mutex
	known    bool // format is
	format   voiceFormat
	stream   voiceStream
	sent     int64 // index of the stream
	acked    int64
	finished int64 // in milliseconds
}

func newVoiceSession(c *Client, r VoiceRequest) *voiceSession {
	r.Patience = cmp.Or(r.Patience, usualPatience)
	return &voiceSession{c: c, r: r, tape: newTape()}
}

// errDone ends a session well; an errFinal is not to be tried again.
var errDone = errors.New("the session is over")

type errFinal struct{ error }

func (e errFinal) Unwrap() error { return e.error }

// run holds the session until it is over. The first connection stands.
func (s *voiceSession) run(ctx context.Context, conn *websocket.Conn) error {
	for {
		err := s.once(ctx, conn)
		var final errFinal
		switch {
		case errors.Is(err, errDone):
			return s.tape.fault()
		case ctx.Err() != nil:
			return s.c.unreachable(context.Cause(ctx))
		case errors.As(err, &final):
			return final.error
		case s.token == "" || s.r.NoResume:
			return err
		}
		if s.since.IsZero() {
			s.since = time.Now()
		}
		if conn, err = s.back(ctx, err); err != nil {
			return err
		}
	}
}

// back connects again, as often as it takes while there is patience.
func (s *voiceSession) back(ctx context.Context, err error) (*websocket.Conn, error) {
	s.call(func() {
		if s.r.Lost != nil {
			s.r.Lost(err)
		}
	})
	for wait := firstBack; ; wait = min(2*wait, lastBack) {
		if !pause(ctx, wait/2+rand.N(wait/2+1)) {
			return nil, s.c.unreachable(context.Cause(ctx))
		}
		conn, failed := s.dial(ctx)
		if failed == nil {
			return conn, nil
		}
		if !passing(failed) || time.Since(s.since) > s.r.Patience {
			return nil, s.stranded(failed)
		}
	}
}

// stranded says what the server does not have.
func (s *voiceSession) stranded(err error) error {
	_, to, _ := s.tape.span()
	s.mu.Lock()
	from := s.stream.position(s.acked)
	missing := s.format.time(to) - s.format.time(min(from, to))
	s.mu.Unlock()
	return bloodbank.Errorf(bloodbank.CodeUnavailable, "session %s was lost and cannot be taken up again; %s of its audio or more did not arrive: %w",
		s.id, missing.Round(100*time.Millisecond), err)
}

func (s *voiceSession) dial(ctx context.Context) (*websocket.Conn, error) {
	query := url.Values{}
	id := cmp.Or(s.id, s.r.SessionID)
	if id == "" {
		// To name a session is to ask for lines that never change. Each attempt has its
		// own: of one that broke nobody knows whether the server has opened it.
		fresh, err := bloodbank.NewEventID()
		if err != nil {
			return nil, err
		}
		id = fresh.String()
	}
	set(query, "session_id", id)
	set(query, "resume_token", s.token)
	set(query, "language", s.r.Language)
	set(query, "source", s.r.Source)
	set(query, "target", s.r.Target)
	target := s.c.base + "/asr?" + query.Encode()
	ctx, cancel := context.WithTimeout(ctx, greetWithin)
	defer cancel()
	conn, response, err := websocket.Dial(ctx, target, &websocket.DialOptions{HTTPClient: s.c.http, HTTPHeader: s.c.headers()})
	if err == nil {
		conn.SetReadLimit(16 << 20)
		return conn, nil
	}
	if response != nil && response.StatusCode >= http.StatusBadRequest {
		return nil, s.c.errorOf(response)
	}
	return nil, s.c.unreachable(err)
}

// once holds one connection until it ends; the error says why.
func (s *voiceSession) once(ctx context.Context, conn *websocket.Conn) error {
	defer conn.CloseNow()
	first, err := s.greeted(ctx, conn)
	if err != nil {
		return err
	}
	from, err := s.place(first)
	if err != nil {
		return errFinal{err}
	}
	ctx, cancel := context.WithCancel(ctx)
	var hands sync.WaitGroup
	defer hands.Wait()
	defer cancel()
	heard := make(chan struct{}, 1)
	hands.Go(func() {
		if s.learn(ctx) == nil {
			s.send(ctx, conn, from)
		}
	})
	hands.Go(func() { s.watch(ctx, conn, heard) })
	if err := s.receive(ctx, conn, first, heard); !errors.Is(err, errDone) {
		return err
	}
	_ = conn.Close(websocket.StatusNormalClosure, "") // all was said before
	return errDone
}

// greeted reads the first message, which says whether there is a session.
func (s *voiceSession) greeted(ctx context.Context, conn *websocket.Conn) (VoiceUpdate, error) {
	ctx, cancel := context.WithTimeout(ctx, greetWithin)
	defer cancel()
	u, err := readUpdate(ctx, conn)
	if err != nil {
		return u, err
	}
	if u.Type != "error" {
		return u, nil
	}
	refusal := bloodbank.Errorf(bloodbank.CodeUnavailable, "the server cannot transcribe this: %s", u.Error)
	var closed websocket.CloseError
	_, _, err = conn.Read(ctx)
	invalid := errors.As(err, &closed) && closed.Code == closeInvalid
	switch {
	case s.token == "":
		return u, errFinal{refusal}
	case !invalid:
		return u, refusal
	case s.stopped && s.allSent():
		return u, errDone // the server has forgotten the session, as it may
	}
	if s.refused++; s.refused >= maxRefused {
		return u, errFinal{s.stranded(refusal)}
	}
	return u, refusal
}

// allSent reports whether everything there is was sent over some connection.
func (s *voiceSession) allSent() bool {
	_, to, ended := s.tape.span()
	s.mu.Lock()
	defer s.mu.Unlock()
	return ended && s.stream.position(s.sent) >= to
}

// place finds out where in its stream the server is, and so what to send next.
func (s *voiceSession) place(config VoiceUpdate) (from int64, err error) {
	if s.id == "" {
		s.id, s.token, s.last.SessionID = config.SessionID, config.ResumeToken, config.SessionID
		return 0, nil
	}
	from, again, err := s.placed(config)
	if err != nil {
		return 0, err
	}
	s.call(func() {
		if s.r.Resumed != nil {
			s.r.Resumed(again)
		}
	})
	return from, nil
}

func (s *voiceSession) placed(config VoiceUpdate) (from int64, again time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, to, _ := s.tape.span()
	before := s.stream.position(s.sent)
	switch at := config.ReceivedBytes; {
	case at > s.sent || at > 0 && s.stream.position(at) < kept:
		return 0, 0, bloodbank.Errorf(bloodbank.CodeInternal, "the server wants session %s from byte %d, which it cannot", s.id, at)
	case at > 0:
		from = at
	case config.AudioMS == 0 && kept == 0:
		s.stream = voiceStream{}
	case !s.format.cuts():
		return 0, 0, bloodbank.Errorf(bloodbank.CodeUnavailable,
			"the server was killed, and this recording cannot be taken up in the middle; that needs a WAV file or raw samples. Session %s has it up to %s",
			s.id, time.Duration(config.AudioMS)*time.Millisecond)
	default:
		s.stream = s.streamFrom(s.format.at(time.Duration(config.AudioMS)*time.Millisecond), kept)
	}
	s.acked, s.sent = from, from
	return from, s.format.again(s.stream.position(from), min(before, to)), nil
}

// again is the length of what lies between two positions; 0 if it is not known.
func (f voiceFormat) again(from, to int64) time.Duration {
	if f.rate == 0 {
		return 0
	}
	return max(0, f.time(to)-f.time(from))
}

// streamFrom is a new stream from a position on. What is not kept any more was silence
// to the server, and becomes silence: so that the clock stays right.
func (s *voiceSession) streamFrom(at, kept int64) voiceStream {
	f := s.format
	begin := int64(len(f.header))
	from := max(at, begin+(max(0, kept-begin)+f.align-1)/f.align*f.align)
	return voiceStream{header: f.headerFrom(at - begin), pad: from - at, from: from}
}

// learn reads the beginning of the recording, once.
func (s *voiceSession) learn(ctx context.Context) error {
	if s.known {
		return nil
	}
	for n := 64; ; n *= 8 {
		head := make([]byte, n)
		n, more, err := s.tape.read(ctx, 0, head)
		if err != nil {
			return err
		}
		f, enough := formatOf(head[:n], !more)
		if enough {
			s.mu.Lock()
			s.format, s.known = f, true
			s.mu.Unlock()
			break
		}
	}
	s.began = time.Now()
	s.call(func() {
		if s.r.Began != nil {
			s.r.Began(s.began)
		}
	})
	return nil
}

func (s *voiceSession) call(f func()) {
	s.calling.Lock()
	defer s.calling.Unlock()
	f()
}

func (s *voiceSession) sentTo(i int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = max(s.sent, i)
	if s.token == "" || s.r.NoResume {
		s.tape.drop(s.stream.position(i))
	}
}

// acknowledged lets go of what the server cannot want any more. It reports whether the
// server has all of the audio.
func (s *voiceSession) acknowledged(bytes, finished int64) (all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes > s.acked || finished > s.finished {
		s.refused, s.since = 0, time.Time{}
	}
	s.acked, s.finished = max(s.acked, bytes), max(s.finished, finished)
	_, to, ended := s.tape.span()
	all = ended && s.acked >= s.stream.index(to)
	if s.token == "" || !s.known {
		return all
	}
	keep := s.stream.position(s.acked)
	if s.format.cuts() && !s.tape.isFull() {
		keep = min(keep, s.format.at(max(0, time.Duration(s.finished)*time.Millisecond-margin)))
	}
	if keep > int64(len(s.format.header)) {
		s.tape.drop(keep)
	}
	return all
}
