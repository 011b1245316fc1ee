package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
)

// benchFlags are what bb bench voice takes beside its files.
type benchFlags struct {
	sessions, pid int
	seconds       float64
}

func (c *command) benchCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a running server",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.benchVoiceCmd())
	return cmd
}

func (c *command) benchVoiceCmd() *cobra.Command {
	f := benchFlags{sessions: 1}
	cmd := &cobra.Command{
		Use:   "voice FILE…",
		Short: "Speak into the server from many sessions at once, and measure how far it is behind",
		Long: `Speak recordings into the server from so many sessions at once, each as fast as
it was spoken, and report:

  lag         from the end of an utterance to its text, as the server times it,
              published and seen here
  first text  from the beginning of an utterance to the first text of it
  differ      words that differ from what most sessions with the same recording
              were told: with a server that keeps up there are none
  CPU         of the server and the processes that it started, if it is on this
              machine and its number is known (--pid)

The sessions take the files in turn and begin within a second. They are real: their
events are published. The exit code is 1 when a session was refused or failed.`,
		Example: `  bb bench voice --sessions 8 talk.wav
  bb bench voice --sessions 4 --seconds 60 a.wav b.wav -o json`,
		Args: atLeastOne("recordings"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.benchVoice(cmd.Context(), f, args) },
	}
	flags := cmd.Flags()
	flags.IntVar(&f.sessions, "sessions", f.sessions, "how many speak at once")
	flags.Float64Var(&f.seconds, "seconds", 0, "how long each speaks; WAV and raw are cut or repeated (default: the file)")
	flags.IntVar(&f.pid, "pid", 0, "number of the server's process, for its CPU time (Linux)")
	c.outputFlag(cmd)
	return cmd
}

func (c *command) benchVoice(ctx context.Context, f benchFlags, args []string) error {
	if f.sessions < 1 || f.sessions > 10_000 || f.seconds < 0 || f.seconds > 86_400 {
		return usagef("--sessions is from 1 to 10000 and --seconds up to a day")
	}
	files, err := recordings(args)
	if err != nil {
		return err
	}
	spoken := make([][]byte, len(files))
	for i, file := range files {
		if file.pipe {
			return usagef("a measurement needs files, not standard input")
		}
		if spoken[i], err = readFile(file.path); err != nil {
			return err
		}
		if _, err := client.RepeatAudio(spoken[i], f.length()); err != nil {
			return bloodbank.Errorf(bloodbank.CodeInvalid, "%s: %w", file, err)
		}
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	status, err := cl.Status(ctx)
	if err != nil {
		return err
	}
	meter := newMeter(cl.URL(), status, f.pid)
	all := make([]*benchSession, f.sessions)
	var run sync.WaitGroup
	for i := range all {
		all[i] = &benchSession{File: files[i%len(files)].path}
		run.Go(func() {
			delay := time.NewTimer(time.Duration(i) * time.Second / time.Duration(f.sessions))
			defer delay.Stop()
			select {
			case <-delay.C:
				all[i].speak(ctx, cl, spoken[i%len(files)], f.length())
			case <-ctx.Done():
				all[i].Error = "interrupted"
			}
		})
	}
	run.Wait()
	report := newBenchReport(all)
	report.CPU = meter.stop()
	if err := report.print(c); err != nil {
		return err
	}
	return c.benchVerdict(report)
}

func (f benchFlags) length() time.Duration { return time.Duration(f.seconds * float64(time.Second)) }

// benchVerdict says what went wrong, once for all sessions.
func (c *command) benchVerdict(r *benchReport) error {
	if r.Refused > 0 {
		c.say("bb: the server refused %d of %d sessions: %s", r.Refused, r.Sessions, r.refusal)
		c.say("bb: voice.max_sessions (BB_VOICE_MAX_SESSIONS) says how many it takes, if its machine can")
	}
	if r.Failed > 0 {
		c.say("bb: %d of %d sessions failed; the first: %s", r.Failed, r.Sessions, r.failure)
	}
	if r.Refused+r.Failed > 0 {
		return errSilent
	}
	return nil
}

// benchSession is what one session saw.
type benchSession struct {
	File      string    `json:"file"`
	Session   string    `json:"session_id,omitempty"`
	Audio     float64   `json:"audio_seconds"` // up to the end of the last utterance
	Finals    int       `json:"finals"`
	Lag       quantiles `json:"lag_ms"`
	FirstText quantiles `json:"first_text_ms"`
	Words     int       `json:"words"`
	Differ    int       `json:"differing_words"`
	Breaks    int       `json:"lost_connections"`
	Failures  int       `json:"failed_utterances"`
	Refused   bool      `json:"refused,omitempty"`
	Error     string    `json:"error,omitempty"`

	began      time.Time
	first      time.Time // of text of the open utterance
	lag, early []time.Duration
	text       []string
	complaint  string
}

// speak runs the session. The client calls back one call at a time.
func (s *benchSession) speak(ctx context.Context, cl *client.Client, recording []byte, length time.Duration) {
	audio, err := client.RepeatAudio(recording, length)
	if err != nil {
		s.Error = err.Error()
		return
	}
	last, err := cl.Voice(ctx, client.VoiceRequest{
		Audio: audio, RealTime: true, OnUpdate: s.hear,
		Began: func(t time.Time) { s.began = t },
		Lost:  func(error) { s.Breaks++ },
	})
	s.Session = last.SessionID
	s.Lag, s.FirstText = quantilesOf(s.lag), quantilesOf(s.early)
	s.Words = len(s.text)
	if err != nil {
		s.Error = err.Error()
		s.Refused = last.SessionID == "" && bloodbank.CodeOf(err) == bloodbank.CodeUnavailable && !errors.Is(err, client.ErrNoServer)
	}
}

func (s *benchSession) hear(u client.VoiceUpdate) {
	now := time.Now()
	for _, line := range u.New {
		start, end := line.Times()
		s.Finals++
		s.Audio = max(s.Audio, end.Seconds())
		s.lag = append(s.lag, now.Sub(s.began.Add(end)))
		if s.first.IsZero() {
			s.first = now
		}
		s.early = append(s.early, s.first.Sub(s.began.Add(start)))
		s.first = time.Time{}
		s.text = append(s.text, strings.Fields(line.Text)...)
	}
	if u.Interim != "" && s.first.IsZero() {
		s.first = now
	}
	if u.Error != "" && u.Error != s.complaint {
		s.Failures++
	}
	s.complaint = u.Error
}

// quantiles are in milliseconds.
type quantiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// quantilesOf takes the nearest ranks; it sorts.
func quantilesOf(all []time.Duration) quantiles {
	if len(all) == 0 {
		return quantiles{}
	}
	slices.Sort(all)
	at := func(percent int) float64 {
		rank := (len(all)*percent + 99) / 100
		return float64(all[max(rank, 1)-1].Microseconds()) / 1000
	}
	return quantiles{P50: at(50), P95: at(95), P99: at(99), Max: at(100)}
}
