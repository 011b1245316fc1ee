package cli

import (
	"context"
	"errors"
	"hash/fnv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
)

func (c *command) watchCmd() *cobra.Command {
	var count int
	var since int64
	cmd := &cobra.Command{
		Use:   "watch [PATTERN]",
		Short: "Watch events as they arrive",
		Long: `Print events as they are stored, one a line, until interrupted. PATTERN is a type
pattern (agent.*, transcription.voice.completed) or any filter of "bb events".
When the connection is lost, watching goes on behind the last event as soon as the
server is there again, and misses nothing.

On a terminal each domain has its colour, and what failed is red; NO_COLOR=1 turns
that off. With ✗ an event tells of an error. -o json prints each event as one line,
exactly as it is stored.`,
		Example: `  bb watch 'type:agent.* -is:failed'
  bb watch is:failed --json | jq -c .payload
  bb watch --since-sequence 0 session:s-4f2`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.watch(cmd.Context(), strings.Join(args, " "), count, since)
		},
	}
	cmd.Flags().IntVar(&count, "count", 0, "end after this many events (0: never)")
	cmd.Flags().Int64Var(&since, "since-sequence", -1, "begin behind this store sequence instead of with the next event")
	c.outputFlag(cmd)
	c.jsonFlag(cmd)
	return cmd
}

func (c *command) watch(ctx context.Context, query string, count int, since int64) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	seen := 0
	for event, err := range cl.Watch(ctx, c.watching(query, since)) {
		if err != nil {
			if ctx.Err() != nil && errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
		if err := c.printEvent(event.Raw); err != nil {
			return err
		}
		if seen++; seen == count {
			return nil
		}
	}
	return nil
}

// watching says when the stream is lost and when it stands again.
func (c *command) watching(query string, since int64) client.WatchRequest {
	lost := false
	return client.WatchRequest{
		Query: query, Since: since,
		Lost: func(err error) {
			if !lost {
				c.say("bb: the connection is lost; watching goes on where it was as soon as the server is back: %v", err)
			}
			lost = true
		},
		Connected: func() {
			if lost {
				c.say("bb: connected again; nothing was missed")
			}
			lost = false
		},
	}
}

// isError reports whether an event tells of an error, as is:failed does.
func isError(t bloodbank.EventType) bool { return t.Match("*.failed") || t.Match("*.error") }

// mark shows an error without colours, too.
func mark(t bloodbank.EventType) string {
	if isError(t) {
		return "✗"
	}
	return " "
}

// colour gives each domain a hue of its own on a terminal that wants colours.
func (c *command) colour(s string, t bloodbank.EventType) string {
	if !isTerminal(c.Stdout) || c.env("NO_COLOR", "") != "" || c.env("TERM", "") == "dumb" {
		return s
	}
	return "\x1b[" + hue(t) + "m" + s + "\x1b[0m"
}

// hue is red for an error, else follows from the domain. The palette reads well on
// light and dark grounds and has no red.
func hue(t bloodbank.EventType) string {
	if isError(t) {
		return "31"
	}
	palette := []string{"33", "35", "37", "38", "63", "64", "67", "71", "72", "98", "99", "103", "107", "132", "133", "136", "138", "172"}
	h := fnv.New32a()
	_, _ = h.Write([]byte(t.Domain()))
	return "38;5;" + palette[h.Sum32()%uint32(len(palette))]
}
