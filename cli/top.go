package cli

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank/client"
)

func (c *command) topCmd() *cobra.Command {
	var interval time.Duration
	var count int
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Rates, lags, dead letters and sessions of the server, as they change",
		Long: `Show how many events a second are accepted, delivered and stored, what is on its
way, dead letters, voice sessions and faults. On a terminal the screen is drawn in
place; q quits. In a pipe, or with --json, each interval is one JSON line; "up" is
false while the server does not answer, and bb top waits for it.`,
		Example: `  bb top
  bb top --interval 5s | jq -c '[.accepted_per_s, .bus_lag, .dead]'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if interval < 100*time.Millisecond {
				return usagef("--interval must be at least 100ms")
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			if c.json || !isTerminal(c.Stdout) {
				lines := json.NewEncoder(c.Stdout)
				return c.top(cmd.Context(), cl, interval, count, nil, func(r reading) error { return lines.Encode(r) })
			}
			return c.topInPlace(cmd.Context(), cl, interval, count)
		},
	}
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "how often to look, from 100ms on")
	cmd.Flags().IntVar(&count, "count", 0, "end after this many intervals (0: never)")
	c.jsonFlag(cmd)
	return cmd
}

// topInPlace draws on a screen of its own and leaves the terminal as it was.
func (c *command) topInPlace(ctx context.Context, cl *client.Client, interval time.Duration, count int) error {
	if _, err := cl.Status(ctx); err != nil {
		return err // before the screen is taken
	}
	keys, restore := c.keys()
	defer restore()
	s := &topScreen{url: c.url, interval: interval, coloured: c.env("NO_COLOR", "") == "" && c.env("TERM", "") != "dumb"}
	if _, err := io.WriteString(c.Stdout, screenEnter); err != nil {
		return err
	}
	defer func() { _, _ = io.WriteString(c.Stdout, screenLeave) }()
	return c.top(ctx, cl, interval, count, keys, func(r reading) error {
		_, err := io.WriteString(c.Stdout, s.draw(r))
		return err
	})
}

// top shows a reading each interval until ctx ends, q is typed, or count is
// reached. That the server cannot be reached at first is an error; later it is
// shown.
func (c *command) top(ctx context.Context, cl *client.Client, interval time.Duration, count int, keys <-chan byte, show func(reading) error) error {
	raw, err := cl.Status(ctx)
	if err != nil {
		return err
	}
	before, err := readState(raw)
	if err != nil {
		return err
	}
	at := time.Now()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n := 1; ; {
		select {
		case <-tick.C:
		case key := <-keys:
			if isQuit(key) {
				return nil
			}
			continue
		case <-ctx.Done():
			return nil
		}
		line, state := look(ctx, cl, &before, at)
		if ctx.Err() != nil {
			return nil
		}
		if err := show(line); err != nil {
			return err
		}
		if line.Up {
			before, at = state, line.At
		}
		if n++; count > 0 && n > count {
			return nil
		}
	}
}

// look asks the server once.
func look(ctx context.Context, cl *client.Client, before *serverState, since time.Time) (reading, serverState) {
	raw, err := cl.Status(ctx)
	now := time.Now()
	var state serverState
	if err == nil {
		state, err = readState(raw)
	}
	if err != nil {
		return reading{At: now.UTC(), Error: err.Error(), Faults: []string{}}, state
	}
	return state.since(before, now, now.Sub(since)), state
}
