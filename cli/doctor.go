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
	return []app.Finding{f}
}
