package cli

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank/client"
)

func (c *command) routeCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "route",
		Short: "Routes: further brokers that are handed events",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("bb route needs a verb: list or give-up")
		},
	}
	cmd.AddCommand(c.routeListCmd(), c.routeGiveUpCmd())
	return cmd
}

func (c *command) routeListCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List who is handed events, and how far each has come", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.showTargets(cmd.Context(), (*client.Client).Targets)
		},
	}
	c.outputFlag(cmd)
	return cmd
}

func (c *command) routeGiveUpCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "give-up NAME",
		Short: "End the hold of a route that is not configured any more",
		Long: `End the hold of a route that is not configured any more. A route that was left
out by mistake loses nothing: the log keeps its events, and grows, until the route
is configured again or given up here. What it has not got is then not kept for it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.showTargets(cmd.Context(), func(cl *client.Client, ctx context.Context) ([]client.Target, error) {
				return cl.GiveUpTarget(ctx, args[0])
			})
		},
	}
	c.outputFlag(cmd)
	return cmd
}

func (c *command) showTargets(ctx context.Context, ask func(*client.Client, context.Context) ([]client.Target, error)) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	list, err := ask(cl, ctx)
	if err != nil {
		return err
	}
	for _, t := range list {
		if c.json {
			if err := json.NewEncoder(c.Stdout).Encode(t); err != nil {
				return err
			}
			continue
		}
		note := ""
		if !t.Configured {
			note = "  not configured, but the log keeps its events; see bb route give-up"
		}
		c.print("%-20s %10d%s", t.Target, t.Position, note)
	}
	return nil
}
