package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank/app"
)

func (c *command) correlationCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "correlation", Short: "Look after the causes that are kept in Redis", Args: cobra.NoArgs}
	cmd.AddCommand(c.correlationRebuildCmd())
	return cmd
}

func (c *command) correlationRebuildCmd() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "rebuild",
		Short: "Write the causes that Redis lacks, from the store",
		Long: `Write the causes that Redis lacks, from the store. It adds only: what stands there
already, whoever wrote it, stays. So it may run beside a server and beside other
services, and any number of times. Broken off, it goes on there the next time.`,
		Example: `  bb correlation rebuild --dry-run
  bb correlation rebuild --correlation redis://localhost:6379/0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.rebuild(cmd, dryRun) },
	}
	engineFlags(cmd.Flags())
	cmd.Flags().String("data", "", "folder of the server's data (BB_DATA_DIR)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only count what is missing")
	c.outputFlag(cmd)
	return cmd
}

func (c *command) rebuild(cmd *cobra.Command, dryRun bool) error {
	cfg, err := c.config(cmd.Flags())
	if err != nil {
		return err
	}
	done, err := app.RebuildCorrelation(cmd.Context(), cfg, dryRun, c.rebuildProgress())
	if err != nil {
		return err
	}
	if c.json {
		return json.NewEncoder(c.Stdout).Encode(done)
	}
	what := "written"
	if dryRun {
		what = "missing"
	}
	c.print("%d event(s) read, %d with causes, %d %s", done.Events, done.Links, done.Written, what)
	return nil
}

// rebuildProgress shows on a terminal how far the rebuild has come.
func (c *command) rebuildProgress() func(at, last int64) {
	if !isTerminal(c.Stderr) {
		return nil
	}
	return func(at, last int64) {
		end := ""
		if at >= last {
			end = "\n"
		}
		_, _ = fmt.Fprintf(c.Stderr, "\r\x1b[K%d of %d%s", at, last, end) // progress is not worth an error
	}
}
