package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/app"
)

func (c *command) doctorCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check this machine and the running server, and say what to mend",
		Long: `Check this machine and, where one runs, the server. Each line is PASS, WARN or
FAIL with what to do. The exit code is 1 when something fails. The broker, the
database and the Redis of the configuration are tried, and nothing is changed
there; flags try others.`,
		Example: `  bb doctor
  bb doctor --bus amqp://user:password@host/ --store postgres://host/bb`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.doctor(cmd.Context(), cmd.Flags()) },
	}
	c.outputFlag(cmd)
	engineFlags(cmd.Flags())
	return cmd
}

func (c *command) doctor(ctx context.Context, flags *pflag.FlagSet) error {
	cfg, err := c.config(flags)
	if err != nil {
		return err
	}
	findings := append(app.Doctor(ctx, cfg), c.serverFindings(ctx)...)
	failed := false
	for _, f := range findings {
		failed = failed || f.Verdict == app.Fail
		if !c.json {
			c.print("%s  %-12s %s", f.Verdict, f.Check, f.Message)
			continue
		}
		if err := json.NewEncoder(c.Stdout).Encode(f); err != nil {
			return err
		}
	}
	if failed {
		return errSilent
	}
	return nil
}

// serverFindings asks the running server how it is.
func (c *command) serverFindings(ctx context.Context) []app.Finding {
	const name = "server"
	cl, err := c.client()
	if err != nil {
		return []app.Finding{{Check: name, Verdict: app.Fail, Message: err.Error()}}
	}
	raw, err := cl.Status(ctx)
	if bloodbank.CodeOf(err) == bloodbank.CodeUnavailable {
		return []app.Finding{{Check: name, Verdict: app.Pass, Message: fmt.Sprintf("none at %s; start one with bb up", c.url)}}
	}
	if err != nil {
		return []app.Finding{{Check: name, Verdict: app.Fail, Message: err.Error()}}
	}
	var s struct {
		Dispatch struct {
			Lag   uint64
			Dead  int
			Fault string
		}
		Recorder struct {
			Lag   int64
			Fault string
		}
		Voice     struct{ Desk deskStatus }
		Retention *retained
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return []app.Finding{{Check: name, Verdict: app.Fail, Message: "its status cannot be read: " + err.Error()}}
	}
	f := app.Finding{Check: name, Verdict: app.Pass, Message: fmt.Sprintf("runs at %s; %d event(s) on the way to the bus, %d to the store", c.url, s.Dispatch.Lag, s.Recorder.Lag)}
	switch {
	case s.Dispatch.Fault != "":
		f.Verdict, f.Message = app.Fail, "the bus does not take events; they wait in the log: "+s.Dispatch.Fault
	case s.Recorder.Fault != "":
		f.Verdict, f.Message = app.Fail, "the store does not take events; they wait on the bus: "+s.Recorder.Fault
	case s.Dispatch.Dead > 0:
		f.Verdict, f.Message = app.Warn, fmt.Sprintf("%d dead letter(s); see bb dlq list", s.Dispatch.Dead)
	}
	return append([]app.Finding{f, s.Voice.Desk.finding()}, retentionFindings(s.Retention)...)
}

// deskStatus is how much is spoken to the server.
type deskStatus struct {
	Sessions    int
	MaxSessions int     `json:"max_sessions"`
	Lag         float64 `json:"lag_seconds"`
	MaxLag      float64 `json:"max_lag_seconds"`
	Counts      struct{ Refused, Failed uint64 }
}

// finding warns before clients are refused.
func (d *deskStatus) finding() app.Finding {
	f := app.Finding{Check: "voice load", Verdict: app.Pass, Message: fmt.Sprintf(
		"%d of %d sessions; %.1f s of speech wait to be transcribed", d.Sessions, d.MaxSessions, d.Lag)}
	switch {
	case d.MaxSessions > 0 && d.Sessions >= d.MaxSessions:
		f.Verdict, f.Message = app.Warn, f.Message+"; more are refused: see voice.max_sessions (BB_VOICE_MAX_SESSIONS)"
	case d.MaxLag > 0 && d.Lag > d.MaxLag/2:
		f.Verdict, f.Message = app.Warn, fmt.Sprintf("%s; from %.0f s on clients are refused: fewer sessions, or a recogniser elsewhere", f.Message, d.MaxLag)
	case d.Counts.Refused+d.Counts.Failed > 0:
		f.Message += fmt.Sprintf("; since the start %d client(s) were refused and %d utterance(s) lost", d.Counts.Refused, d.Counts.Failed)
	}
	return f
}
