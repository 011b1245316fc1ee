package cli

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
)

// printLine prints the event that an utterance became.
func (c *command) printLine(ctx context.Context, cl *client.Client, line client.VoiceLine) error {
	id, err := bloodbank.ParseEventID(line.EventID)
	if err != nil {
		return c.printBareLine(line)
	}
	raw, err := storedEvent(ctx, cl, id)
	if err != nil {
		return err
	}
	return c.printEvent(raw)
}

// printBareLine prints an utterance of a server that names no event.
func (c *command) printBareLine(line client.VoiceLine) error {
	if strings.TrimSpace(line.Text) == "" {
		return nil
	}
	if c.json {
		return json.NewEncoder(c.Stdout).Encode(line)
	}
	c.print("%s", visible(line.Text))
	return nil
}

const (
	// storedWait is how long an accepted event may take to be found.
	storedWait = 10 * time.Second
	// backWait is how long a server that was restarted may take to be there again.
	backWait = 2 * time.Minute
)

// storedEvent waits until an event that was just accepted can be queried. It was
// accepted for good, so a server that is not there now is waited for.
func storedEvent(ctx context.Context, cl *client.Client, id bloodbank.EventID) ([]byte, error) {
	patience := time.NewTimer(storedWait)
	defer patience.Stop()
	wait := time.NewTicker(20 * time.Millisecond)
	defer wait.Stop()
	limit := time.Now().Add(backWait)
	for {
		raw, err := cl.Event(ctx, id)
		switch code := bloodbank.CodeOf(err); {
		case code == bloodbank.CodeUnavailable && time.Now().Before(limit):
			patience.Reset(storedWait)
		case code != bloodbank.CodeNotFound:
			return raw, err
		}
		select {
		case <-wait.C:
		case <-patience.C:
			return nil, bloodbank.Errorf(bloodbank.CodeTimeout, "event %s is accepted, but was not stored in time; see bb wal status", id)
		case <-ctx.Done():
			return nil, bloodbank.Errorf(bloodbank.CodeTimeout, "event %s is accepted, but was not waited for: %w", id, context.Cause(ctx))
		}
	}
}

// captions shows the changing end of the speech on one line of a terminal, and
// nothing in a pipe.
type captions struct {
	w     io.Writer
	shown bool
}

func newCaptions(w io.Writer) *captions {
	if !isTerminal(w) {
		return &captions{}
	}
	return &captions{w: w}
}

func (c *captions) show(text string) {
	const width = 78
	text = visible(strings.TrimSpace(text))
	if c.w == nil || text == "" {
		return
	}
	if r := []rune(text); len(r) > width {
		text = "…" + string(r[len(r)-width+1:])
	}
	_, _ = io.WriteString(c.w, "\r\x1b[K\x1b[2m"+text+"\x1b[0m") // a caption is not worth an error
	c.shown = true
}

func (c *captions) clear() {
	if c.shown {
		_, _ = io.WriteString(c.w, "\r\x1b[K")
		c.shown = false
	}
}
