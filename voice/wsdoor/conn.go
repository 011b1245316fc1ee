package wsdoor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	pieceSize = 32 << 10 // large frames are taken in pieces of this size
	// maxPieces wait while the session has no room: then the socket is read no further.
	maxPieces = 16
)

// Frame is a text frame, or a piece of a binary one. An empty binary frame has no Data.
type Frame struct {
	Text bool
	Data []byte
}

// Limits bound a connection. Zero fields take the defaults.
type Limits struct {
	// MaxFrame is the largest frame in bytes; default 16 MiB. A larger one ends the
	// connection with close code 1009.
	MaxFrame int64
	// WriteWithin is how long a client may not read before it counts as gone; default
	// 20 s.
	WriteWithin time.Duration
	// PingAfter is the quiet after which the client is pinged; it must answer within the
	// same time. Default 20 s.
	PingAfter time.Duration
}

func (l Limits) withDefaults() Limits {
	if l.MaxFrame == 0 {
		l.MaxFrame = 16 << 20
	}
	if l.WriteWithin == 0 {
		l.WriteWithin = 20 * time.Second
	}
	if l.PingAfter == 0 {
		l.PingAfter = 20 * time.Second
	}
	return l
}

var errBroke = errors.New("wsdoor: the connection broke within a frame")

// Conn is one client. Its two goroutines read frames and ping; [Conn.Close] or
// [Conn.Drop] ends them, and [Conn.Wait] waits for them.
type Conn struct {
	ws     *websocket.Conn
	wire   *Wire
	limits Limits
	frames chan Frame
	lost   chan struct{} // closed: no frame can come any more
	deaf   chan struct{} // closed: frames are thrown away
	heard  atomic.Int64  // when the last frame came, in Unix nanoseconds
	busy   atomic.Bool   // the session has no room, so frames and pongs wait too
	stop   context.CancelFunc
	hands  sync.WaitGroup
	mute   sync.Once
}

// NewConn starts to read from a WebSocket that was made over wire. When ctx ends the
// connection is dropped.
func NewConn(ctx context.Context, ws *websocket.Conn, wire *Wire, l Limits) *Conn {
	c := &Conn{
		ws: ws, wire: wire, limits: l.withDefaults(), frames: make(chan Frame, maxPieces),
		lost: make(chan struct{}), deaf: make(chan struct{}),
	}
	ws.SetReadLimit(c.limits.MaxFrame)
	ctx, c.stop = context.WithCancel(ctx)
	c.heard.Store(time.Now().UnixNano())
	c.hands.Go(func() { c.receive(ctx) })
	c.hands.Go(func() { c.watch(ctx) })
	return c
}

// Frames is closed when the client is gone, behind the last frame that came.
func (c *Conn) Frames() <-chan Frame { return c.frames }

// Busy says that frames wait for the session now, so that a client who cannot answer a
// ping behind them is not taken for gone.
func (c *Conn) Busy(now bool) { c.busy.Store(now) }

// Write sends one JSON message, as text. An error means that the client is gone or did
// not read for too long; the connection is dropped then. It is safe for several
// goroutines, though their order is their own affair.
func (c *Conn) Write(ctx context.Context, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write a message: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.limits.WriteWithin)
	defer cancel()
	err := c.ws.Write(ctx, websocket.MessageText, bytes.TrimSpace(b.Bytes()))
	if err != nil {
		_ = c.ws.CloseNow()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fmt.Errorf("the client read nothing for %s: %w", c.limits.WriteWithin, err)
		}
	}
	return err
}

// Close ends the connection in order, with at most 123 bytes of reason, and waits a few
// seconds for the client to agree. Frames that still come are thrown away.
func (c *Conn) Close(code websocket.StatusCode, reason string) {
	c.Deafen()
	_ = c.ws.Close(code, reason)
	c.stop()
}

// Drop ends the connection at once.
func (c *Conn) Drop() {
	c.stop()
	_ = c.ws.CloseNow()
}

// Deafen throws away what still comes.
func (c *Conn) Deafen() { c.mute.Do(func() { close(c.deaf) }) }

// Wait waits for the connection's goroutines.
func (c *Conn) Wait() { c.hands.Wait() }

// receive reads frames until the client is gone or ctx ends.
func (c *Conn) receive(ctx context.Context) {
	defer close(c.frames)
	defer close(c.lost)
	buffer := make([]byte, pieceSize)
	for {
		kind, r, err := c.ws.Reader(ctx)
		if err != nil {
			return
		}
		c.heard.Store(time.Now().UnixNano())
		if kind == websocket.MessageText {
			err = c.takeText(ctx, r)
		} else {
			err = c.take(ctx, r, buffer)
		}
		if err != nil {
			return
		}
	}
}

// takeText hands a text frame on; of one that is too large, enough to see that it is.
func (c *Conn) takeText(ctx context.Context, r io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(r, MaxControl+1))
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if err != nil {
		return err
	}
	return c.hand(ctx, Frame{Text: true, Data: data})
}

// take hands the frame on in pieces, so that a huge one costs no more memory than many.
func (c *Conn) take(ctx context.Context, r io.Reader, buffer []byte) error {
	for first := true; ; first = false {
		n, err := io.ReadFull(r, buffer)
		// These very values are the frame's end; wrapped, they are the connection's.
		last := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !last {
			return err
		}
		if last && c.wire.Broke() {
			return errBroke
		}
		if n > 0 || first {
			if err := c.hand(ctx, Frame{Data: bytes.Clone(buffer[:n])}); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
	}
}

func (c *Conn) hand(ctx context.Context, f Frame) error {
	select {
	case c.frames <- f:
	case <-c.deaf:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// watch finds clients that vanished without a word.
func (c *Conn) watch(ctx context.Context) {
	tick := time.NewTicker(c.limits.PingAfter)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-c.lost:
			return
		}
		quiet := time.Since(time.Unix(0, c.heard.Load()))
		if quiet < c.limits.PingAfter || c.busy.Load() {
			continue
		}
		limit, cancel := context.WithTimeout(ctx, c.limits.PingAfter)
		err := c.ws.Ping(limit)
		cancel()
		if err != nil && !c.busy.Load() {
			_ = c.ws.CloseNow()
			return
		}
	}
}
