package cli

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
)

func (c *command) voiceCmd() *cobra.Command {
	var speed string
	var r client.VoiceRequest
	cmd := &cobra.Command{
		Use:   "voice FILE|-",
		Short: "Speak a file into the server and print the events that it becomes",
		Long: `Stream audio to the server's /asr: a WAV file, or raw 16-bit mono samples at
16 kHz. Captions appear on a terminal as they change; each finished utterance
is printed as the event that it became.`,
		Example: `  bb voice hello.wav
  arecord -q -f S16_LE -r 16000 -t raw | bb voice -`,
		Args: exactly(1, "one file, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if speed != "real" && speed != "max" {
				return usagef("--speed is real or max, not %q", speed)
			}
			r.RealTime = speed == "real"
			r.Audio = c.Stdin
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return bloodbank.Errorf(bloodbank.CodeNotFound, "cannot read the audio: %w", err)
				}
				defer f.Close()
				r.Audio = f
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			return c.voice(cmd.Context(), cl, r)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&speed, "speed", "max", "real (as fast as it was spoken) or max")
	flags.StringVar(&r.SessionID, "session-id", "", "id of the session (a UUID)")
	flags.StringVar(&r.Language, "language", "", "language, such as en; default the recogniser's")
	flags.StringVar(&r.Source, "source", "", "whisperlivekit, mobile-client, desktop-client or chrome-extension")
	flags.StringVar(&r.Target, "target", "", "whom the words are for, such as tonny")
	c.outputFlag(cmd)
	return cmd
}

// voice streams the audio, shows captions and prints the events.
func (c *command) voice(ctx context.Context, cl *client.Client, r client.VoiceRequest) error {
	captions := newCaptions(c.Stderr)
	var failed error
	printed := 0
	r.OnUpdate = func(u client.VoiceUpdate) {
		for ; printed < len(u.Lines) && failed == nil; printed++ {
			captions.clear()
			failed = c.printLine(ctx, cl, u.Lines[printed])
		}
		captions.show(u.Interim)
	}
	last, err := cl.Voice(ctx, r)
	captions.clear()
	if err == nil {
		err = failed
	}
	if err == nil && printed == 0 {
		c.say("bb: no words were recognised in session %s", last.SessionID)
	}
	return err
}

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

// storedWait is how long an accepted event may take to be found.
const storedWait = 10 * time.Second

// storedEvent waits until an event that was just accepted can be queried.
func storedEvent(ctx context.Context, cl *client.Client, id bloodbank.EventID) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, storedWait)
	defer cancel()
	wait := time.NewTicker(20 * time.Millisecond)
	defer wait.Stop()
	for {
		raw, err := cl.Event(ctx, id)
		if bloodbank.CodeOf(err) != bloodbank.CodeNotFound {
			return raw, err
		}
		select {
		case <-wait.C:
		case <-ctx.Done():
			return nil, bloodbank.Errorf(bloodbank.CodeTimeout, "event %s is accepted, but was not stored in time; see bb wal status", id)
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
