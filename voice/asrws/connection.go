package asrws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/coder/websocket"
)

const (
	// closeInvalid is upstream's close code for bad session parameters.
	closeInvalid websocket.StatusCode = 4400

	sendEvery  = 100 * time.Millisecond // between two states
	sendWithin = 20 * time.Second       // a client that does not read for so long is gone
	pingAfter  = 20 * time.Second       // without a frame
	pingWithin = 20 * time.Second
	lingering  = 10 * time.Second // for the client to close after ready_to_stop
	pieceSize  = 32 << 10         // large frames are taken in pieces of this size
)

// connection is one client. Its goroutines: serve itself, which alone writes to the
// session; receive, which reads frames; collect, which reads the session's updates; send,
// which writes states; watch, which pings. serve waits for all of them.
type connection struct {
	door    *Door
	ticket  *voice.Ticket
	conn    *websocket.Conn
	params  params
	log     *slog.Logger
	session *voice.Lease

	pieces  chan []byte   // audio; an empty piece is the client's end
	lost    chan struct{} // closed: the client is gone
	changed chan struct{} // a signal that board changed
	news    chan struct{} // closed: no more updates come
	sent    chan struct{} // closed: the last state is written
	heardAt atomic.Int64  // when the last frame came, in Unix nanoseconds
	busy    atomic.Bool   // serve waits for room, so frames wait too

	mu    sync.Mutex
	board board
}

// reject tells the client that its parameters are wrong, in upstream's way.
func (c *connection) reject(ctx context.Context, err error) {
	c.write(ctx, failure{Type: "error", Error: err.Error()})
	_ = c.conn.Close(closeInvalid, "invalid session parameters")
}

func (c *connection) serve(ctx context.Context) {
	var err error
	if c.params.token != "" {
		c.session, err = c.ticket.Resume(ctx, c.params.token)
	} else {
		c.session, err = c.ticket.Open(ctx, voice.SessionOptions{
			ID: c.params.id, Source: c.params.source, Target: c.params.target,
			Language: c.params.language, Endpoint: c.params.endpoint,
		})
	}
	if err != nil {
		c.turnAway(ctx, err)
		return
	}
	c.log.Info("WebSocket connection opened with session_id=" + c.params.id.String())
	c.pieces, c.lost = make(chan []byte, 16), make(chan struct{})
	c.changed, c.news, c.sent = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	c.heardAt.Store(time.Now().UnixNano())
	c.greet(ctx)
	var hands sync.WaitGroup
	defer hands.Wait()
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	hands.Go(func() { c.receive(reading) })
	hands.Go(func() { c.collect(reading) })
	hands.Go(func() { c.send(ctx) })
	hands.Go(func() { c.watch(reading) })
	why := c.listen(ctx)
	c.finish(ctx, why)
}

// turnAway tells the client why there is no session for it.
func (c *connection) turnAway(ctx context.Context, err error) {
	c.write(ctx, failure{Type: "error", Error: err.Error()})
	switch bloodbank.CodeOf(err) {
	case bloodbank.CodeForbidden, bloodbank.CodeNotFound, bloodbank.CodeConflict, bloodbank.CodeInvalid:
		_ = c.conn.Close(closeInvalid, "invalid session parameters")
	default:
		c.log.Error("voice session not opened", "error", err)
		_ = c.conn.Close(websocket.StatusInternalError, "session not opened")
	}
}

func (c *connection) greet(ctx context.Context) {
	r := c.door.o.Desk.Recogniser()
	at := c.session.Progress()
	c.write(ctx, config{
		Type: "config", UseWorklet: true, Mode: c.params.mode, SessionID: c.params.id.String(),
		ResumeToken: c.session.Token(), Bytes: at.Bytes, AudioMS: at.Received.Milliseconds(),
		EventID: c.session.Opened().String(), SampleRate: audio.SampleRate,
		Language: c.session.Language(), Recogniser: r.Name(), Approximate: r.Features().Basic,
	})
	c.write(ctx, c.board.state(voice.Progress{}))
}

// reasonTaken says that the client came back by another way. It is not published.
const reasonTaken voice.Reason = "taken over"

// listen takes audio until the session is to end, and says why.
func (c *connection) listen(ctx context.Context) voice.Reason {
	if c.session.Over() {
		return voice.ReasonEnd
	}
	for {
		select {
		case piece := <-c.pieces:
			if len(piece) == 0 {
				return voice.ReasonEnd
			}
			c.busy.Store(true)
			err := c.session.Write(ctx, piece)
			c.busy.Store(false)
			if err != nil {
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
	for {
		select {
		case piece := <-c.pieces:
			if len(piece) == 0 {
				return voice.ReasonEnd
			}
			if err := c.session.Write(ctx, piece); err != nil {
				return c.complain(ctx, err)
			}
		default:
			return why
		}
	}
}

// complain tells the client of audio that cannot be used.
func (c *connection) complain(ctx context.Context, err error) voice.Reason {
	if ctx.Err() != nil {
		return voice.ReasonShutdown
	}
	if !errors.Is(err, audio.ErrFormat) {
		c.log.Error("voice session broken", "error", err)
	}
	c.mu.Lock()
	s := c.board.state(c.session.Progress())
	c.mu.Unlock()
	s.Status, s.Error = statusError, err.Error()
	c.write(ctx, s)
	return voice.ReasonError
}

// finish has everything transcribed and published, tells the client, and lets it go.
//
// A client that vanished may come back, and one that came back by another way has its
// session there: both are only let go.
func (c *connection) finish(ctx context.Context, why voice.Reason) {
	if why == voice.ReasonDisconnected || why == reasonTaken {
		c.session.Leave()
		_ = c.conn.CloseNow()
		return
	}
	idle := make(chan struct{})
	var draining sync.WaitGroup
	// Frames are read on, or the client's close would not be seen; their audio is too late.
	draining.Go(func() {
		for {
			select {
			case <-c.pieces:
			case <-idle:
				return
			}
		}
	})
	totals, err := c.session.End(ctx, why)
	<-c.sent
	if err != nil {
		c.log.Error("voice session ended with a fault", "error", err)
		c.write(ctx, failureState(&c.board, err))
	}
	c.log.Info("voice session closed", "reason", why, "utterances", totals.Utterances,
		"failed", totals.Failed, "audio_seconds", totals.Audio.Seconds())
	c.write(ctx, stopped{Type: "ready_to_stop"})
	c.part(ctx, why)
	close(idle)
	draining.Wait()
}

func failureState(b *board, err error) state {
	s := b.state(voice.Progress{})
	s.Status, s.Error = statusError, err.Error()
	return s
}

// part waits for the client to close, as upstream's clients do, but not for ever.
func (c *connection) part(ctx context.Context, why voice.Reason) {
	if ctx.Err() != nil {
		_ = c.conn.CloseNow() // no time left for manners
		return
	}
	if why == voice.ReasonShutdown {
		_ = c.conn.Close(websocket.StatusGoingAway, "going down")
		return
	}
	patience := time.NewTimer(lingering)
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

// receive reads frames until the client is gone or ctx ends.
func (c *connection) receive(ctx context.Context) {
	defer close(c.lost)
	buffer := make([]byte, pieceSize)
	for {
		kind, r, err := c.conn.Reader(ctx)
		if err != nil {
			return
		}
		c.heardAt.Store(time.Now().UnixNano())
		if kind == websocket.MessageText {
			// Ignored: upstream's server dies of it, ours must not.
			_, err = io.Copy(io.Discard, r)
		} else {
			err = c.take(ctx, r, buffer)
		}
		if err != nil {
			return
		}
	}
}

// take hands the frame on in pieces, so that a huge one costs no more memory than many.
func (c *connection) take(ctx context.Context, r io.Reader, buffer []byte) error {
	for first := true; ; first = false {
		n, err := io.ReadFull(r, buffer)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return err
		}
		if n > 0 || first {
			select {
			case c.pieces <- bytes.Clone(buffer[:n]):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if last {
			return nil
		}
	}
}

// collect reads the session's updates, so that a slow client never holds up publishing.
func (c *connection) collect(ctx context.Context) {
	defer close(c.news)
	follower := c.session.Follow(c.params.after)
	for {
		u, err := follower.Next(ctx)
		if errors.Is(err, voice.ErrMissed) {
			continue // they are in the store
		}
		if err != nil {
			return
		}
		if u.Kind == voice.KindFailed {
			c.log.Error("utterance lost", "utterance", u.Utterance, "error", u.Err)
		}
		if u.Kind == voice.KindFinal && u.Event != (bloodbank.EventID{}) {
			c.log.Info("Published transcription event", "session", c.params.id.String(),
				"event_id", u.Event.String(), "text_length", len(u.Text))
		}
		c.mu.Lock()
		differs := c.board.apply(u)
		c.mu.Unlock()
		if differs {
			select {
			case c.changed <- struct{}{}:
			default:
			}
		}
	}
}

// send writes the state when it has changed, at most once in sendEvery, and the last one
// in any case.
func (c *connection) send(ctx context.Context) {
	defer close(c.sent)
	pause := time.NewTicker(sendEvery)
	defer pause.Stop()
	for {
		select {
		case <-c.changed:
			c.show(ctx)
		case <-c.news:
			select {
			case <-c.changed:
				c.show(ctx)
			default:
			}
			return
		}
		select {
		case <-pause.C:
		case <-c.news:
		}
	}
}

func (c *connection) show(ctx context.Context) {
	c.mu.Lock()
	s := c.board.state(c.session.Progress())
	c.mu.Unlock()
	c.write(ctx, s)
}

// watch finds clients that vanished without a word.
func (c *connection) watch(ctx context.Context) {
	tick := time.NewTicker(pingAfter)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-c.lost:
			return
		}
		quiet := time.Since(time.Unix(0, c.heardAt.Load()))
		if quiet < pingAfter || c.busy.Load() {
			continue
		}
		limit, cancel := context.WithTimeout(ctx, pingWithin)
		err := c.conn.Ping(limit)
		cancel()
		if err != nil && !c.busy.Load() {
			_ = c.conn.CloseNow()
			return
		}
	}
}

// write sends one message. A client that cannot be written to is gone, which receive
// finds out; so there is no error to handle here.
func (c *connection) write(ctx context.Context, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		c.log.Error("message not written", "error", err)
		return
	}
	limit, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	if err := c.conn.Write(limit, websocket.MessageText, bytes.TrimSpace(b.Bytes())); err != nil {
		_ = c.conn.CloseNow()
	}
}
