package cli

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
)

// lastWords is how long the end of the speech may take after an interrupt.
const lastWords = 20 * time.Second

// voiceFlags are what bb voice takes beside its files.
type voiceFlags struct {
	speed, format, out string
	resume             bool
	request            client.VoiceRequest
}

func (c *command) voiceCmd() *cobra.Command {
	var f voiceFlags
	cmd := &cobra.Command{
		Use:   "voice FILE…|FOLDER|-",
		Short: "Speak recordings or a microphone into the server and print the events that they become",
		Long: `Stream audio to the server's /asr: recordings in any form that the server knows,
or raw 16-bit mono samples at 16 kHz. Each file is a session; a folder is its
recordings in the order of their names; - is standard input, such as a microphone.

Captions appear on a terminal as they change; each finished utterance is printed
as the event that it became. --format prints the words instead, or subtitles.

What the server has not acknowledged is kept. When the connection is lost, or the
server is restarted, the session goes on where it was and no word is lost. After
a restart that works with WAV files and raw samples only.

The exit code is 0 when everything was transcribed, 1 when something was not, 2 on
wrong usage.`,
		Example: `  bb voice hello.wav
  bb voice --format srt --out talk.srt talk.wav
  bb voice --format text --out transcripts recordings/
  arecord -q -f S16_LE -r 16000 -t raw | bb voice -
  ffmpeg -loglevel error -f pulse -i default -f s16le -ac 1 -ar 16000 - | bb voice -`,
		Args: atLeastOne("files, a folder, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.speak(cmd.Context(), f, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.speed, "speed", "max", "real (as fast as it was spoken; WAV and raw) or max")
	flags.StringVar(&f.format, "format", "", "print no events, but text, json (a line for each utterance), srt or vtt")
	flags.StringVar(&f.out, "out", "", "write that into this file; into this folder if there are several recordings")
	flags.BoolVar(&f.resume, "resume", true, "go on with the session after a lost connection")
	flags.DurationVar(&f.request.Patience, "patience", 2*time.Minute, "how long to try to come back after a lost connection")
	flags.StringVar(&f.request.SessionID, "session-id", "", "id of the session (a UUID)")
	flags.StringVar(&f.request.Language, "language", "", "language, such as en; default the recogniser's")
	flags.StringVar(&f.request.Source, "source", "", "whisperlivekit, mobile-client, desktop-client or chrome-extension")
	flags.StringVar(&f.request.Target, "target", "", "whom the words are for, such as tonny")
	c.outputFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(voiceFormats(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func atLeastOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("%s takes %s", cmd.CommandPath(), what)
		}
		return nil
	}
}

// speak speaks all recordings, one after the other.
func (c *command) speak(ctx context.Context, f voiceFlags, args []string) error {
	if err := f.check(c.json); err != nil {
		return err
	}
	f.request.RealTime, f.request.NoResume = f.speed == "real", !f.resume
	all, err := recordings(args)
	if err != nil {
		return err
	}
	if len(all) > 1 && f.request.SessionID != "" {
		return usagef("--session-id is for one recording, not %d: each is a session", len(all))
	}
	out, err := newTranscripts(c.Stdout, f.format, f.out, all)
	if err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	failed := 0
	for i, one := range all {
		began, err := c.speakOne(ctx, cl, f.request, one, out)
		if err == nil {
			continue
		}
		// What is wrong with one recording does not keep the rest from being heard.
		if len(all) == 1 || !began || ctx.Err() != nil || errors.Is(err, client.ErrNoServer) {
			if left := len(all) - i - 1; left > 0 {
				c.say("bb: %s and %d more were not transcribed", one, left)
			}
			return err
		}
		failed++
		c.say("bb: %s: %v", one, err)
	}
	if failed > 0 {
		c.say("bb: %d of %d recordings were not transcribed, or not all of them", failed, len(all))
		return errSilent
	}
	return nil
}

func (f voiceFlags) check(json bool) error {
	switch {
	case f.speed != "real" && f.speed != "max":
		return usagef("--speed is real or max, not %q", f.speed)
	case f.request.Patience <= 0:
		return usagef("--patience is how long to try to come back, such as 2m; --resume=false does not try")
	case f.format != "" && json:
		return usagef("-o json prints events, and --format %s prints none; give one of them", f.format)
	case f.format == "" && f.out != "":
		return usagef("--out needs --format text, json, srt or vtt")
	}
	return nil
}

// speakOne speaks one recording. began reports whether that came as far as a session, or
// failed for a reason that is the recording's own.
func (c *command) speakOne(ctx context.Context, cl *client.Client, r client.VoiceRequest, one recording, out *transcripts) (began bool, err error) {
	file, err := one.open(c.Stdin)
	if err != nil {
		return true, err
	}
	defer file.Close()
	r.Audio = file
	if one.pipe { // an interrupt ends the speech, not the session
		r.Stop = ctx.Done()
		outer := ctx
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		defer context.AfterFunc(outer, func() { time.AfterFunc(lastWords, cancel) })()
	}
	if out == nil {
		last, err := c.voiceInto(ctx, cl, r, func(line client.VoiceLine) error { return c.printLine(ctx, cl, line) })
		return last.SessionID != "", err
	}
	t := out.begin(one)
	last, err := c.voiceInto(ctx, cl, r, t.add)
	if last.SessionID == "" {
		return false, err
	}
	if err != nil && out.path != "" {
		c.say("bb: %s is not written; what was heard is in: bb events session:%s", t.path, last.SessionID)
	}
	return true, errors.Join(err, t.finish(err))
}

// voice speaks and prints events; the demo does that too.
func (c *command) voice(ctx context.Context, cl *client.Client, r client.VoiceRequest) error {
	_, err := c.voiceInto(ctx, cl, r, func(line client.VoiceLine) error { return c.printLine(ctx, cl, line) })
	return err
}

// voiceInto streams the audio, shows captions and hands on the utterances.
func (c *command) voiceInto(ctx context.Context, cl *client.Client, r client.VoiceRequest, each func(client.VoiceLine) error) (client.VoiceUpdate, error) {
	captions := newCaptions(c.Stderr)
	var failed error
	heard, complaint, lost := 0, "", 0
	r.OnUpdate = func(u client.VoiceUpdate) {
		for _, line := range u.New {
			heard++
			if failed == nil {
				captions.clear()
				failed = each(line)
			}
		}
		if u.Error != "" && u.Error != complaint && u.Type == "" && u.Status != "error" {
			captions.clear()
			c.say("bb: %s", visible(u.Error))
			lost++
		}
		complaint = u.Error
		captions.show(u.Interim)
	}
	r.Lost = func(err error) {
		captions.clear()
		c.say("bb: %v; trying to go on", err)
	}
	r.Resumed = func(again time.Duration) {
		c.say("bb: the session goes on; %s of the audio go again", again.Round(100*time.Millisecond))
	}
	last, err := cl.Voice(ctx, r)
	captions.clear()
	switch {
	case err != nil:
	case failed != nil:
		err = failed
	case lost > 0:
		err = bloodbank.Errorf(bloodbank.CodeUnavailable, "utterances of session %s were lost: %d", last.SessionID, lost)
	case heard == 0:
		c.say("bb: no words were recognised in session %s", last.SessionID)
	}
	return last, err
}

// recording is one thing to speak.
type recording struct {
	path string // as it was given; for a folder below that
	pipe bool
}

func (r recording) String() string {
	if r.pipe {
		return "standard input"
	}
	return r.path
}

// stem names the transcript of a recording.
func (r recording) stem() string {
	if r.pipe {
		return "stdin"
	}
	base := filepath.Base(r.path)
	return base[:len(base)-len(filepath.Ext(base))]
}

// openAudio keeps Close from standard input.
type openAudio struct {
	io.Reader
	io.Closer
}
