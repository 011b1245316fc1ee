package cli

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank/app"
)

func (c *command) verifyCmd() *cobra.Command {
	var from int64
	var expect string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove that the store holds what was stored: nothing changed, gone or slipped in",
		Long: `Walk the store's ledger, a hash chain over all events in their order, and compare
each event with its entry. A fault names the event and what became of it: changed,
removed, inserted or reordered; or the ledger itself was tampered with. What
retention has removed keeps its entry. No server is needed, and one may run.

Events that are older than the ledger (it came with this version) are not in it;
the report says where it begins. Who can write the database can write a ledger
that is whole but another: note the head that is printed in another place, and
pass it to the next run as --expect.

Exit codes: 0 all is as it was stored, 1 the store could not be read, 2 wrong
usage, 3 faults found.`,
		Example: `  bb verify
  bb verify --json --expect 81234:9f86d081…   # a head that was noted earlier
  bb verify --store postgres://host/bb --from 1000000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.config(cmd.Flags())
			if err != nil {
				return err
			}
			progress, done := c.progress("verified up to sequence")
			o, err := app.VerifyOptions(from, expect, progress)
			if err != nil {
				c.verb = verbOf(cmd)
				return &usageError{err}
			}
			report, err := app.VerifyStore(cmd.Context(), cfg, o)
			done()
			if err != nil {
				return err
			}
			return c.printLedger(report)
		},
	}
	c.outputFlag(cmd)
	c.jsonFlag(cmd)
	cmd.Flags().String("store", "", "sqlite:PATH or postgres://… (BB_STORE)")
	cmd.Flags().Int64Var(&from, "from", 0, "begin with this sequence, and trust what lies before it")
	cmd.Flags().StringVar(&expect, "expect", "", "a head that an earlier run printed, SEQUENCE:LINK")
	return cmd
}

// jsonFlag adds --json, which means -o json.
func (c *command) jsonFlag(cmd *cobra.Command) {
	short := cmd.Flags().Bool("json", false, "the same as -o json")
	pre := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if pre != nil {
			if err := pre(cmd, args); err != nil {
				return err
			}
		}
		c.json = c.json || *short
		return nil
	}
}

// progress shows a number on a line of its own, in place, where people watch.
// done takes the line away.
func (c *command) progress(words string) (show func(n int64), done func()) {
	if !isTerminal(c.Stderr) {
		return nil, func() {}
	}
	return func(n int64) { fmt.Fprintf(c.Stderr, "\r\x1b[K%s %d", words, n) },
		func() { _, _ = io.WriteString(c.Stderr, "\r\x1b[K") }
}

func (c *command) printLedger(r app.Verified) error {
	if c.json {
		if err := json.NewEncoder(c.Stdout).Encode(r); err != nil {
			return err
		}
	} else {
		for _, f := range r.Faults {
			c.print("%s  %d  %s", f.Kind, f.Sequence, f.Detail)
		}
		c.print("events   %d compared, from sequence %d on; %d of them removed by retention", r.Events, r.From, r.Removed)
		if r.Start.Events > 0 {
			c.print("start    the ledger was begun on %s behind sequence %d; %d older event(s) are not in it", r.Start.At.Format("2006-01-02"), r.Start.After, r.Start.Events)
		}
		c.print("head     %s", r.Head)
	}
	if r.OK {
		return nil
	}
	c.say("bb: %d fault(s) in %s", r.FaultCount, r.Store)
	return errFaults
}
