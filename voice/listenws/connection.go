package listenws

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/wsdoor"
	"github.com/coder/websocket"
	"github.com/google/uuid"
)

// closeInvalid is upstream's close code for bad session parameters.
const closeInvalid websocket.StatusCode = 4400

// connection is one client. Beside those of conn it has two goroutines: serve itself,
// which alone writes to the session, and tell, which reads the session's updates.
type connection struct {
	door     *Door
	conn     *wsdoor.Conn
	params   params
	id       uuid.UUID
	log      *slog.Logger
	session  *voice.Lease
	reporter *reporter
	created  time.Time
	told     chan struct{} // closed: tell has ended
	behind   chan struct{} // closed: the client has missed results
}

// ending is why and how a connection ends.
type ending struct {
	reason voice.Reason
	status websocket.StatusCode
	text   string // of the close frame
	fault  string // is told before; "" for none
}

func (c *connection) serve(ctx context.Context, ticket *voice.Ticket) {
	var err error
	c.session, err = ticket.Open(ctx, voice.SessionOptions{
		ID: c.id, Source: voice.SourceDesktopClient, Language: c.params.language,
		Endpoint: c.params.endpoint, Audio: audio.Options{Raw: c.params.raw},
	})
	if err != nil {
		c.turnAway(ctx, err)
		return
	}
	c.created = time.Now()
	name := c.door.o.Desk.Recogniser().Name()
	c.reporter = newReporter(c.params, c.id.String(), name)
	c.log.Info("Deepgram-compatible stream opened")
	c.describe(ctx, 0)
	go c.tell(ctx)
	c.finish(ctx, c.listen(ctx))
}

// turnAway tells the client why there is no session for it.
func (c *connection) turnAway(ctx context.Context, err error) {
	c.say(ctx, failure{"Error", err.Error(), c.id.String()})
	if bloodbank.CodeOf(err) == bloodbank.CodeInvalid {
		c.conn.Close(closeInvalid, "invalid session parameters")
		return
	}
	c.log.Error("voice session not opened", "error", err)
	c.conn.Close(websocket.StatusInternalError, "session not opened")
}

func (c *connection) describe(ctx context.Context, duration time.Duration) {
	c.say(ctx, metadata{
		Type: "Metadata", TransactionKey: "deprecated", RequestID: c.id.String(),
		Created: c.created.UTC().Format(time.RFC3339), Duration: inSeconds(duration), Channels: 1,
		Models: []string{c.door.o.Desk.Recogniser().Name()},
	})
}

// listen takes audio and controls until the connection is to end, and says why.
func (c *connection) listen(ctx context.Context) ending {
	idle := time.NewTimer(c.door.o.Idle)
	defer idle.Stop()
	for {
		select {
		case f, more := <-c.conn.Frames():
			if !more {
				return ending{reason: voice.ReasonDisconnected}
			}
			if end := c.take(ctx, f); end != nil {
				return *end
			}
			idle.Reset(c.door.o.Idle)
		case <-c.session.Ready():
			if end := c.judge(c.write(ctx, nil)); end != nil {
				return *end
			}
		case <-idle.C:
			return ending{
				voice.ReasonDisconnected, websocket.StatusInternalError, "timeout",
				"nothing came for " + c.door.o.Idle.String() + "; send a KeepAlive while there is no audio",
			}
		case <-c.behind:
			return ending{
				voice.ReasonDisconnected, websocket.StatusPolicyViolation, "slow_consumer",
				"slow_consumer: results were not read in time and are gone; they are published as events",
			}
		case <-c.door.o.Desk.Closing():
			return c.drain(ctx)
		}
	}
}

// drain takes what came before the server went down.
func (c *connection) drain(ctx context.Context) ending {
	down := ending{voice.ReasonShutdown, websocket.StatusGoingAway, "going down", ""}
	for {
		select {
		case f, more := <-c.conn.Frames():
			if !more {
				return down
			}
			if end := c.take(ctx, f); end != nil {
				return *end
			}
		default:
			return down
		}
	}
}

// take uses one frame. An answer means that the connection ends.
func (c *connection) take(ctx context.Context, f wsdoor.Frame) *ending {
	var err error
	switch {
	case f.Text:
		var control wsdoor.Control
		if control, err = wsdoor.ParseControl(f.Data); err != nil {
			c.say(ctx, failure{"Error", err.Error(), c.id.String()})
			return nil
		}
		switch control {
		case wsdoor.CloseStream:
			return &ending{voice.ReasonEnd, websocket.StatusNormalClosure, "CloseStream complete", ""}
		case wsdoor.Finalize:
			c.reporter.finalize()
			err = c.session.Finalize()
		}
	case len(f.Data) == 0:
		return &ending{voice.ReasonError, closeInvalid, "empty audio frame", "an empty binary frame has no meaning here; send CloseStream"}
	default:
		err = c.write(ctx, f.Data)
	}
	return c.judge(err)
}

func (c *connection) write(ctx context.Context, data []byte) error {
	c.conn.Busy(true)
	defer c.conn.Busy(false)
	err := c.session.Write(ctx, data)
	c.reporter.hears(c.session.Progress().Received)
	return err
}

// judge says whether a fault of the session ends the connection.
func (c *connection) judge(err error) *ending {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, audio.ErrFormat):
		return &ending{voice.ReasonError, closeInvalid, "unsupported audio", err.Error()}
	}
	c.log.Error("voice session broken", "error", err)
	return &ending{voice.ReasonError, websocket.StatusInternalError, "stream failed", err.Error()}
}

// finish has everything transcribed and published, tells the client if it is still there,
// and lets it go.
func (c *connection) finish(ctx context.Context, end ending) {
	c.conn.Deafen()
	totals, err := c.session.End(ctx, end.reason)
	<-c.told
	c.log.Info("voice session closed", "reason", end.reason, "utterances", totals.Utterances,
		"failed", totals.Failed, "audio_seconds", totals.Audio.Seconds())
	if err != nil {
		c.log.Error("voice session ended with a fault", "error", err)
		if end.fault == "" {
			end.fault, end.status, end.text = err.Error(), websocket.StatusInternalError, "stream failed"
		}
	}
	if end.status == 0 {
		return // the client is gone
	}
	if end.fault != "" {
		c.say(ctx, failure{"Error", end.fault, c.id.String()})
	} else {
		c.describe(ctx, totals.Audio)
	}
	c.conn.Close(end.status, end.text)
}

// tell reads the session's updates to the client, until there are no more. The session
// keeps what is not read yet, in bounds: interim texts are replaced by later ones, and
// only when thousands of other updates wait are the oldest gone.
func (c *connection) tell(ctx context.Context) {
	defer close(c.told)
	follower := c.session.Follow(0)
	next := time.Now().Add(lookEvery)
	for {
		limit, cancel := context.WithDeadline(ctx, next)
		u, err := follower.Next(limit)
		cancel()
		switch {
		case err == nil:
			if u.Kind == voice.KindFailed {
				c.log.Error("utterance lost", "utterance", u.Utterance, "error", u.Err)
			}
			c.say(ctx, c.reporter.update(u)...)
		case errors.Is(err, voice.ErrMissed):
			close(c.behind)
			return
		case errors.Is(err, io.EOF) || ctx.Err() != nil:
			return
		}
		if !time.Now().Before(next) {
			next = time.Now().Add(lookEvery)
			c.say(ctx, c.reporter.look()...)
		}
	}
}

// say sends messages. A client that cannot be written to is dropped, which listen finds
// out; so there is no error to handle here.
func (c *connection) say(ctx context.Context, messages ...any) {
	for _, m := range messages {
		if err := c.conn.Write(ctx, m); err != nil && ctx.Err() == nil {
			c.log.Info("voice client not reached", "error", err)
			return
		}
	}
}
