package asrws

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/wsdoor"
	"github.com/coder/websocket"
)

// The close codes that say more than the protocol's own.
const (
	// closeInvalid is upstream's, for bad session parameters.
	closeInvalid websocket.StatusCode = 4400
	// closeTaken tells a client that another one resumed its session.
	closeTaken websocket.StatusCode = 4409
)

// reasonTaken says that the client came back by another way. It is not published.
const reasonTaken voice.Reason = "taken over"

// sliceSize is how much is written to the session at once; buffers below have its size.
const sliceSize = 8 << 10

// connection is one client. Its goroutines: serve itself, which alone writes to the
// session; receive, which reads frames; collect, which reads the session's updates; send,
// which writes states; watch, which pings. serve waits for all of them.
type connection struct {
	door    *Door
	ticket  *voice.Ticket
	conn    *websocket.Conn
	wire    *wsdoor.Wire // the connection below it
	params  params
	log     *slog.Logger
	session *voice.Lease

	intake  *intake
	lost    chan struct{} // closed: the client is gone
	changed chan struct{} // a signal that board changed
	news    chan struct{} // closed: no more updates come
	sent    chan struct{} // closed: the last state is written
	heardAt atomic.Int64  // when something last came, in Unix nanoseconds
	busy    atomic.Bool   // serve waits for room, so frames wait too

	mu    sync.Mutex
	board board

	saying sync.Mutex // held while a state is made and written, so that they keep their order
	shape  shape
	told   voice.Progress
	passed atomic.Uint64 // version of upstream's state that was passed on last
}

func newConnection(d *Door, ticket *voice.Ticket, conn *websocket.Conn, p params) *connection {
	c := &connection{
		door: d, ticket: ticket, conn: conn, params: p, log: d.o.Logger.With("session_id", p.id.String()),
		intake: newIntake(), shape: newShape(p),
		lost: make(chan struct{}), changed: make(chan struct{}, 1),
		news: make(chan struct{}), sent: make(chan struct{}),
	}
	c.heard()
	return c
}

func (c *connection) heard() { c.heardAt.Store(time.Now().UnixNano()) }

func (c *connection) serve(ctx context.Context) {
	if err := c.open(ctx); err != nil {
		c.refuse(ctx, err)
		return
	}
	c.log.Info("WebSocket connection opened with session_id=" + c.params.id.String())
	follower := c.session.Follow(c.params.after)
	c.greet(ctx, follower)
	var hands sync.WaitGroup
	following, stop := context.WithCancel(ctx)
	hands.Go(func() { c.receive(ctx) })
	hands.Go(func() { c.collect(following, follower) })
	hands.Go(func() { c.send(ctx) })
	hands.Go(func() { c.watch(ctx) })
	why := c.listen(ctx)
	c.finish(ctx, why, stop)
	stop()
	_ = c.conn.CloseNow() // receive reads until then
	hands.Wait()
}

func (c *connection) open(ctx context.Context) (err error) {
	if c.params.token != "" {
		c.session, err = c.ticket.Resume(ctx, c.params.token)
		return err
	}
	c.session, err = c.ticket.Open(ctx, voice.SessionOptions{
		ID: c.params.id, Source: c.params.source, Target: c.params.target,
		Language: c.params.language, Endpoint: c.params.endpoint, Translate: c.params.translate,
	})
	return err
}

// refuse tells the client why there is no session for it, in upstream's way. It takes no
// place while the client reads that.
func (c *connection) refuse(ctx context.Context, err error) {
	c.ticket.Return()
	if c.params.legacy { // it knows no messages with a type but the last
		c.write(ctx, c.shape.message((&board{fatal: err.Error()}).state(voice.Progress{})))
	} else {
		c.write(ctx, failure{Type: "error", Error: err.Error()})
	}
	switch code := bloodbank.CodeOf(err); {
	case code == bloodbank.CodeUnavailable, errors.Is(err, voice.ErrBusy),
		code == bloodbank.CodeConflict && c.params.token != "": // the one before has not let go yet
		_ = c.conn.Close(websocket.StatusTryAgainLater, "try again later")
	case code == bloodbank.CodeForbidden, code == bloodbank.CodeNotFound, code == bloodbank.CodeConflict,
		code == bloodbank.CodeInvalid, errors.Is(err, voice.ErrLanguage):
		_ = c.conn.Close(closeInvalid, "invalid session parameters")
	default:
		c.log.Error("voice session not opened", "error", err)
		_ = c.conn.Close(websocket.StatusInternalError, "session not opened")
	}
}

// listen takes audio until the session is to end, and says why.
func (c *connection) listen(ctx context.Context) voice.Reason {
	if c.session.Over() {
		return voice.ReasonEnd
	}
	for {
		select {
		case <-c.intake.ready:
			if why := c.work(ctx); why != "" {
				return why
			}
		case <-c.session.Ready():
			if err := c.session.Write(ctx, nil); err != nil {
				return c.complain(ctx, err)
			}
		case <-c.lost:
			return c.drain(ctx, voice.ReasonDisconnected)
		case <-c.session.Lost():
			return reasonTaken
		case <-c.door.o.Desk.Closing():
			return c.drain(ctx, voice.ReasonShutdown)
		case <-ctx.Done():
			return voice.ReasonShutdown
		}
	}
}

// drain takes the audio that came before the session had to end, for the reason why.
func (c *connection) drain(ctx context.Context, why voice.Reason) voice.Reason {
	if first := c.work(ctx); first != "" {
		return first
	}
	return why
}

// work takes what came in. Its answer is "" if the session goes on.
func (c *connection) work(ctx context.Context) voice.Reason {
	c.busy.Store(true)
	defer c.busy.Store(false)
	for {
		heard, then, ok := c.intake.take()
		if !ok {
			return ""
		}
		if why := c.hear(ctx, heard); why != "" {
			return why
		}
		switch then {
		case commandEnd:
			return voice.ReasonEnd
		case commandFinalize:
			if err := c.session.Finalize(); err != nil {
				return c.complain(ctx, err)
			}
		}
	}
}

// hear writes to the session. A client that came back by another way waits for it to
// stop, and sends again what was not taken; so it does not finish first.
func (c *connection) hear(ctx context.Context, heard []byte) voice.Reason {
	for len(heard) > 0 {
		select {
		case <-c.session.Lost():
			return reasonTaken
		default:
		}
		n := min(len(heard), sliceSize)
		if err := c.session.Write(ctx, heard[:n]); err != nil {
			return c.complain(ctx, err)
		}
		heard = heard[n:]
	}
	return ""
}

// complain tells the client of audio that cannot be used.
func (c *connection) complain(ctx context.Context, err error) voice.Reason {
	if ctx.Err() != nil {
		return voice.ReasonShutdown
	}
	if !errors.Is(err, audio.ErrFormat) {
		c.log.Error("voice session broken", "error", err)
	}
	c.fail(ctx, err)
	return voice.ReasonError
}

// finish has everything transcribed and published, tells the client, and lets it go.
//
// A client that vanished may come back, and one that came back by another way has its
// session there: both are only let go.
func (c *connection) finish(ctx context.Context, why voice.Reason, stop context.CancelFunc) {
	// Frames are read on, or the client's close would not be seen; their audio is too late.
	c.intake.close()
	if why == voice.ReasonDisconnected || why == reasonTaken {
		c.session.Leave()
		stop()
		if why == reasonTaken {
			<-c.sent
			_ = c.conn.Close(closeTaken, "the session was resumed elsewhere")
		}
		return
	}
	totals, err := c.session.End(ctx, why)
	<-c.sent
	if err != nil {
		c.log.Error("voice session ended with a fault", "error", err)
		c.fail(ctx, err)
	}
	c.log.Info("voice session closed", "reason", why, "utterances", totals.Utterances,
		"failed", totals.Failed, "audio_seconds", totals.Audio.Seconds())
	c.write(ctx, stopped{Type: "ready_to_stop"})
	c.part(ctx, why)
}

// part waits for the client to close, as upstream's clients do, but not for ever.
func (c *connection) part(ctx context.Context, why voice.Reason) {
	if ctx.Err() != nil {
		return // no time left for manners
	}
	if why == voice.ReasonShutdown {
		_ = c.conn.Close(websocket.StatusGoingAway, "going down")
		return
	}
	patience := time.NewTimer(c.door.times.lingering)
	defer patience.Stop()
	select {
	case <-c.lost:
		return
	case <-patience.C:
	case <-c.door.o.Desk.Closing():
	case <-ctx.Done():
	}
	_ = c.conn.Close(websocket.StatusNormalClosure, "")
}
