package asrws

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/coder/websocket"
)

// readSize is how much is read at once: little, so that a slow client is heard often.
const readSize = 4 << 10

var errBroke = errors.New("asrws: the connection broke")

// receive reads frames until the client is gone or the connection is closed.
func (c *connection) receive(ctx context.Context) {
	defer close(c.lost)
	// Reading with a context that can end costs the library much for every frame.
	endless := context.WithoutCancel(ctx)
	buffer := make([]byte, readSize)
	for {
		kind, r, err := c.conn.Reader(endless)
		if err != nil {
			return
		}
		c.heard()
		if kind == websocket.MessageText {
			err = c.obey(ctx, r, buffer)
		} else {
			err = c.take(ctx, r, buffer)
		}
		if err != nil {
			return
		}
	}
}

// take hands a frame on as it comes, so that a huge one costs no more memory than many.
func (c *connection) take(ctx context.Context, r io.Reader, buffer []byte) error {
	for empty := true; ; {
		n, err := r.Read(buffer)
		if c.wire.Broke() {
			return errBroke // what was read is noise, not unmasked, or no frame's end
		}
		if n > 0 {
			empty = false
			c.heard()
			if err := c.intake.add(ctx, buffer[:n], commandNone); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF) && empty:
			return c.intake.add(ctx, nil, commandEnd)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// obey reads a text frame. One that is too long is read for nothing.
func (c *connection) obey(ctx context.Context, r io.Reader, buffer []byte) error {
	n, err := io.ReadFull(r, buffer)
	for err == nil {
		c.heard()
		_, err = io.ReadFull(r, buffer)
	}
	if c.wire.Broke() {
		return errBroke
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if then := parseControl(buffer[:n]); then != commandNone {
		return c.intake.add(ctx, nil, then)
	}
	return nil
}

// watch finds clients that vanished without a word.
func (c *connection) watch(ctx context.Context) {
	after := c.door.times.pingAfter
	tick := time.NewTicker(after)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-c.lost:
			return
		}
		quiet := time.Since(time.Unix(0, c.heardAt.Load()))
		if quiet < after || c.busy.Load() {
			continue
		}
		limit, cancel := context.WithTimeout(ctx, c.door.times.pingWithin)
		err := c.conn.Ping(limit)
		cancel()
		if err != nil && !c.busy.Load() {
			_ = c.conn.CloseNow()
			return
		}
	}
}
