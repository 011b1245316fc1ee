package streamws

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/wsdoor"
	"github.com/coder/websocket"
)

// The close codes of our own; the package's comment has all.
const (
	closeInvalid   websocket.StatusCode = 4400
	closeForbidden websocket.StatusCode = 4403
	closeUnknown   websocket.StatusCode = 4404
	closeConflict  websocket.StatusCode = 4409
)

const progressEvery = 500 * time.Millisecond

// connection is one client. Beside those of conn it has two goroutines: serve itself,
// which alone writes to the session, and tell, which reads the session's updates.
type connection struct {
	door    *Door
	conn    *wsdoor.Conn
	params  params
	log     *slog.Logger
	session *voice.Lease
	told    chan struct{} // closed: tell has ended
	behind  chan struct{} // closed: the client has missed finals

	mu  sync.Mutex // held while writing, so that seq rises on the wire
	seq uint64
}

// ending is why a connection ends.
type ending int

const (
	endWanted   ending = iota // the client said so
	endOver                   // the session was over before
	endShutdown               // we are going down
	endAudio                  // the audio cannot be decoded
	endBroken                 // a fault of ours
	endVanished               // the client may come back
	endTaken                  // it has come back, by another way
	endBehind                 // it does not read fast enough
)

// reason is what is published of an ending; the last three end no session.
func (e ending) reason() voice.Reason {
	switch e {
	case endWanted, endOver:
		return voice.ReasonEnd
	case endShutdown:
		return voice.ReasonShutdown
	case endAudio, endBroken:
		return voice.ReasonError
	}
	return voice.ReasonDisconnected
}

func (c *connection) serve(ctx context.Context, ticket *voice.Ticket) {
	var err error
	if c.params.token != "" {
		c.session, err = ticket.Resume(ctx, c.params.token)
	} else {
		c.session, err = ticket.Open(ctx, voice.SessionOptions{
			ID: c.params.id, Source: c.params.source, Target: c.params.target,
			Language: c.params.language, Endpoint: c.params.endpoint,
		})
	}
	if err != nil {
		c.turnAway(ctx, err)
		return
	}
	c.log.Info("voice stream opened", "resumed", c.params.token != "")
	c.say(ctx, "session.started", greeting(c.session, c.door.o.Desk.Recogniser().Name(), c.params.token != ""))
	telling, enough := context.WithCancel(ctx)
	go c.tell(ctx, telling)
	c.finish(ctx, c.listen(ctx), enough)
	enough()
	<-c.told
}

// turnAway tells the client why there is no session for it.
func (c *connection) turnAway(ctx context.Context, err error) {
	kind := bloodbank.CodeOf(err)
	if errors.Is(err, voice.ErrBusy) || errors.Is(err, voice.ErrUnavailable) {
		kind = bloodbank.CodeUnavailable
	}
	status := websocket.StatusInternalError
	switch kind {
	case bloodbank.CodeInvalid:
		status = closeInvalid
	case bloodbank.CodeForbidden:
		status = closeForbidden
	case bloodbank.CodeNotFound:
		status = closeUnknown
	case bloodbank.CodeConflict:
		status = closeConflict
	case bloodbank.CodeUnavailable, bloodbank.CodeOverloaded, bloodbank.CodeTimeout:
		status = websocket.StatusTryAgainLater
	default:
		c.log.Error("voice session not opened", "error", err)
	}
	c.say(ctx, "error", &fault{Code: code(kind), Message: err.Error(), Retryable: worthRetrying(kind)})
	c.conn.Close(status, "no session")
}

// listen takes audio and controls until the connection is to end, and says why.
func (c *connection) listen(ctx context.Context) ending {
	if c.session.Over() {
		return endOver
	}
	for {
		select {
		case f, more := <-c.conn.Frames():
			if !more {
				return endVanished
			}
			if done, why := c.take(ctx, f); done {
				return why
			}
		case <-c.session.Ready():
			if done, why := c.judge(ctx, c.write(ctx, nil)); done {
				return why
			}
		case <-c.session.Lost():
			return endTaken
		case <-c.behind:
			return endBehind
		case <-c.door.o.Desk.Closing():
			return c.drain(ctx)
		}
	}
}

// drain takes what came before the server went down.
func (c *connection) drain(ctx context.Context) ending {
	for {
		select {
		case f, more := <-c.conn.Frames():
			if !more {
				return endShutdown
			}
			if done, why := c.take(ctx, f); done {
				return why
			}
		default:
			return endShutdown
		}
	}
}

// take uses one frame. done: the connection ends.
func (c *connection) take(ctx context.Context, f wsdoor.Frame) (done bool, why ending) {
	var err error
	switch {
	case f.Text:
		var control wsdoor.Control
		if control, err = wsdoor.ParseControl(f.Data); err != nil {
			c.complain(ctx, err)
			return false, 0
		}
		switch control {
		case wsdoor.CloseStream:
			return true, endWanted
		case wsdoor.Finalize:
			err = c.session.Finalize()
		case wsdoor.KeepAlive:
		default:
			c.complain(ctx, bloodbank.Errorf(bloodbank.CodeInvalid, "unknown control; use KeepAlive, Finalize or CloseStream"))
		}
	case len(f.Data) == 0:
		return true, endWanted
	default:
		err = c.write(ctx, f.Data)
	}
	return c.judge(ctx, err)
}

func (c *connection) write(ctx context.Context, data []byte) error {
	c.conn.Busy(true)
	defer c.conn.Busy(false)
	return c.session.Write(ctx, data)
}

// judge says whether a fault of the session ends the connection.
func (c *connection) judge(ctx context.Context, err error) (done bool, why ending) {
	switch {
	case err == nil:
		return false, 0
	case errors.Is(err, audio.ErrFormat):
		c.complain(ctx, err)
		return true, endAudio
	}
	c.log.Error("voice session broken", "error", err)
	c.complain(ctx, err)
	return true, endBroken
}

func (c *connection) complain(ctx context.Context, err error) {
	f := &fault{Code: code(bloodbank.CodeOf(err)), Message: err.Error()}
	switch {
	case errors.Is(err, audio.ErrFormat):
		f.Code = codeAudio
	case errors.Is(err, audio.ErrBusy):
		f.Code, f.Retryable = code(bloodbank.CodeUnavailable), true
	}
	c.say(ctx, "error", f)
}

// finish lets the client go. One that vanished may come back, and one that came back by
// another way has its session there: both are only left.
func (c *connection) finish(ctx context.Context, why ending, enough context.CancelFunc) {
	switch why {
	case endVanished:
		c.session.Leave()
		c.conn.Drop()
	case endTaken:
		c.session.Leave()
		enough()
		<-c.told
		c.say(ctx, "error", &fault{Code: codeTaken, Message: "another connection has taken the session over"})
		c.conn.Close(closeConflict, "taken over")
	case endBehind:
		c.session.Leave()
		c.conn.Close(websocket.StatusPolicyViolation, string(codeSlow))
	default:
		c.conclude(ctx, why)
	}
}

// conclude has everything transcribed and published, and tells the client all of it.
func (c *connection) conclude(ctx context.Context, why ending) {
	c.conn.Deafen()
	sum, err := c.session.End(ctx, why.reason())
	<-c.told
	if err != nil {
		c.log.Error("voice session ended with a fault", "error", err)
		c.complain(ctx, err)
	}
	c.log.Info("voice session closed", "reason", why.reason(), "utterances", sum.Utterances,
		"failed", sum.Failed, "audio_seconds", sum.Audio.Seconds())
	last := &ended{Totals: totals{sum.Utterances, sum.Failed, inSeconds(sum.Audio)}}
	if why != endOver {
		last.Reason = known(why.reason())
	}
	c.say(ctx, "session.ended", last)
	status := websocket.StatusNormalClosure
	switch {
	case why == endShutdown:
		status = websocket.StatusGoingAway
	case why == endAudio || errors.Is(err, audio.ErrFormat):
		status = websocket.StatusUnsupportedData
	case why == endBroken:
		status = websocket.StatusInternalError
	}
	c.conn.Close(status, "session ended")
}

// tell reads the session's updates to the client, until there are no more or telling
// ends, which breaks off no message.
//
// The session keeps what is not read yet, in bounds: an interim text is replaced by the
// next one, and only when thousands of other updates wait are the oldest gone.
func (c *connection) tell(ctx, telling context.Context) {
	defer close(c.told)
	follower := c.session.Follow(c.params.after)
	last, next := c.session.Progress(), time.Now().Add(progressEvery)
	for {
		limit, cancel := context.WithDeadline(telling, next)
		u, err := follower.Next(limit)
		cancel()
		switch {
		case err == nil:
			c.pass(ctx, u)
		case errors.Is(err, voice.ErrMissed):
			c.say(ctx, "error", &fault{Code: codeSlow, Retryable: true,
				Message: "updates were not read in time and are gone; every final is an event of this session, and the session can be resumed"})
			close(c.behind)
			return
		case errors.Is(err, io.EOF) || telling.Err() != nil:
			return
		}
		if time.Now().Before(next) {
			continue
		}
		next = time.Now().Add(progressEvery)
		if at := c.session.Progress(); at != last {
			last = at
			c.say(ctx, "progress", &progress{Bytes: at.Bytes, ReceivedMS: at.Received.Milliseconds(), FinishedMS: at.Finished.Milliseconds()})
		}
	}
}

func (c *connection) pass(ctx context.Context, u voice.Update) {
	if u.Kind == voice.KindInterim && !c.params.interim {
		return
	}
	if u.Kind == voice.KindFailed {
		c.log.Error("utterance lost", "utterance", u.Utterance, "error", u.Err)
	}
	kind, m := telling(u)
	c.say(ctx, kind, m)
}

// say sends one message. A client that cannot be written to is dropped, which listen
// finds out; so there is no error to handle here.
func (c *connection) say(ctx context.Context, kind string, m message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	h := head{Type: kind, Seq: c.seq}
	if c.session != nil {
		h.SessionID = known(c.session.ID().String())
	}
	m.stamp(h)
	if err := c.conn.Write(ctx, m); err != nil && ctx.Err() == nil {
		c.log.Info("voice client not reached", "message", kind, "error", err)
	}
}
