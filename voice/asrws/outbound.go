package asrws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/coder/websocket"
)

// greet sends config and the first state. A client that comes back finds in it all lines
// that it missed: an empty one would clear its page.
func (c *connection) greet(ctx context.Context, follower *voice.Follower) {
	r := c.door.o.Desk.Recogniser()
	at := c.session.Progress()
	if !c.params.legacy {
		c.write(ctx, config{
			Type: "config", UseWorklet: true, Mode: c.params.mode, SessionID: c.params.id.String(),
			ResumeToken: c.session.Token(), Bytes: at.Bytes, AudioMS: at.Received.Milliseconds(),
			EventID: c.session.Opened().String(), SampleRate: audio.SampleRate,
			Language: c.session.Language(), Recogniser: r.Name(), Approximate: r.Features().Basic,
		})
	}
	c.recall(ctx, follower)
	c.show(ctx)
}

// recall reads what the session has told so far, and waits for nothing.
func (c *connection) recall(ctx context.Context, follower *voice.Follower) {
	ended, end := context.WithCancel(ctx)
	end()
	for {
		u, err := follower.Next(ended)
		if errors.Is(err, voice.ErrMissed) {
			continue
		}
		if err != nil {
			return
		}
		c.board.apply(u)
	}
}

// collect reads the session's updates, so that a slow client never holds up publishing.
func (c *connection) collect(ctx context.Context, follower *voice.Follower) {
	defer close(c.news)
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
			signal(c.changed)
		}
	}
}

// send writes the state when it has changed, at most once in sendEvery, and the last one
// in any case. What changed in numbers alone waits a little longer. Upstream's own states
// are passed on at once: they have a rhythm already.
func (c *connection) send(ctx context.Context) {
	defer close(c.sent)
	pause, tell := time.NewTicker(c.door.times.sendEvery), time.NewTicker(c.door.times.tellWithin)
	defer pause.Stop()
	defer tell.Stop()
	for {
		mirrored, upstream := c.mirrored()
		if mirrored != nil && mirrored.Version > c.passed.Load() {
			c.show(ctx)
			continue
		}
		select {
		case <-upstream:
			continue
		case <-c.changed:
			if mirrored != nil {
				continue // upstream's states say it
			}
			c.show(ctx)
		case <-tell.C:
			if mirrored == nil && c.moved() {
				c.show(ctx)
			}
		case <-c.news:
			c.last(ctx)
			return
		}
		select {
		case <-pause.C:
		case <-c.news:
		}
	}
}

// last writes the state at the end, where it was not written yet.
func (c *connection) last(ctx context.Context) {
	m, _ := c.mirrored()
	select {
	case <-c.changed:
		if m == nil {
			c.show(ctx)
			return
		}
	default:
	}
	if m != nil && m.Version > c.passed.Load() {
		c.show(ctx)
	}
}

// mirrored is upstream's own state, where this client would get the very same from it:
// nil where there is none, where the client wants another shape, or where it knows
// sessions, and so lines that never change. upstream is closed with the next one; nil if
// none will be passed on.
func (c *connection) mirrored() (m *voice.Mirrored, upstream <-chan struct{}) {
	if _, plain := c.shape.(full); !plain || c.params.ours {
		return nil, nil
	}
	newest, upstream := c.session.Mirror().Newest()
	if newest.State == nil {
		return nil, upstream
	}
	return &newest, upstream
}

// moved reports whether a client that keeps audio to send it again may drop some of it.
func (c *connection) moved() bool {
	if c.params.legacy {
		return false
	}
	now := c.session.Progress()
	c.saying.Lock()
	defer c.saying.Unlock()
	return now.Bytes != c.told.Bytes || now.Finished != c.told.Finished
}

// show writes the state.
func (c *connection) show(ctx context.Context) {
	c.saying.Lock()
	defer c.saying.Unlock()
	c.told = c.session.Progress()
	c.mu.Lock()
	s, fatal := c.board.state(c.told), c.board.fatal != ""
	c.mu.Unlock()
	if m, _ := c.mirrored(); m != nil && !fatal {
		c.passed.Store(m.Version)
		c.writeText(ctx, m.State)
		return
	}
	c.write(ctx, c.shape.message(s))
}

// fail shows an error that the session does not survive.
func (c *connection) fail(ctx context.Context, err error) {
	c.mu.Lock()
	c.board.fatal = err.Error()
	c.mu.Unlock()
	c.show(ctx)
}

// write sends one message. A client that cannot be written to is gone, which receive
// finds out; so there is no error to handle here or in writeText.
func (c *connection) write(ctx context.Context, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		c.log.Error("message not written", "error", err)
		return
	}
	c.writeText(ctx, bytes.TrimSpace(b.Bytes()))
}

func (c *connection) writeText(ctx context.Context, message []byte) {
	limit, cancel := context.WithTimeout(ctx, c.door.times.sendWithin)
	defer cancel()
	if err := c.conn.Write(limit, websocket.MessageText, message); err != nil {
		_ = c.conn.CloseNow()
	}
}
