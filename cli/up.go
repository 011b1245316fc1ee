package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank/app"
)

// stopLimit bounds the stop after a signal.
const stopLimit = 30 * time.Second

func (c *command) upCmd() *cobra.Command {
	var demo bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the server",
		Long: `Start the server: the doors (HTTP, and voice at /asr), the log, the bus, the
store. It needs nothing else. It runs until interrupted; what it has accepted is
delivered then or after the next start.

A broker, a database or a Redis is chosen by its URL. One that is down is no
failure: events wait in the log, and what is missing is made up for later.`,
		Example: `  bb up
  bb up --listen 127.0.0.1:0 --data ./data     a free port, a folder of its own
  bb up --bus amqp://guest:guest@localhost/ --store postgres://localhost/bb
  bb up --route 'alarms=nats://localhost:4222 type:*.failed'
  bb up --demo                                 speak a sentence and follow it`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.up(cmd, demo) },
	}
	flags := cmd.Flags()
	flags.String("listen", "", "HOST:PORT to listen on; port 0 picks a free one (BB_LISTEN, default 127.0.0.1:8682)")
	flags.String("data", "", "folder for everything that is kept (BB_DATA_DIR)")
	engineFlags(flags)
	flags.String("schema-dir", "", "folder with more schemas (BB_SCHEMA_DIR)")
	flags.Bool("permissive", false, "accept event types without a schema")
	flags.Bool("insecure", false, "listen beyond this machine without tokens")
	flags.String("log-level", "", "debug, info, warn or error")
	flags.BoolVar(&demo, "demo", false, "speak a bundled clip into the server and show what becomes of it")
	return cmd
}

func (c *command) up(cmd *cobra.Command, demo bool) error {
	ctx := cmd.Context()
	if demo && !cmd.Flags().Changed("log-level") {
		if err := cmd.Flags().Set("log-level", "warn"); err != nil { // the demo tells the story itself
			return err
		}
	}
	cfg, err := c.config(cmd.Flags())
	if err != nil {
		return err
	}
	app.TuneMemory(cfg, c.Environ)
	began := time.Now()
	server := app.New(cfg, Version(), c.Stderr)
	if err := server.Start(ctx); err != nil {
		return err
	}
	c.say("bb is ready at %s (%d ms; data in %s)", server.URL(), time.Since(began).Milliseconds(), cfg.DataDir)
	if demo {
		if err := c.demo(ctx, server.URL()); err != nil && ctx.Err() == nil {
			c.say("bb: the demo did not work: %v", err)
		}
	}
	died := server.Wait(ctx)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	if died == nil && isTerminal(c.Stderr) {
		c.say("bb: stopping; once more to stop at once")
	}
	if err := server.Stop(stop); err != nil {
		c.say("bb: %v", err)
	}
	return died
}
