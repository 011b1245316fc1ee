package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
)

func (c *command) eventsCmd() *cobra.Command {
	var limit int
	var order string
	cmd := &cobra.Command{
		Use:   "events [FILTER]",
		Short: "Find stored events",
		Long: `Print stored events, newest first, one a line. The filter's terms are joined by
"and"; a comma means "or", a leading - means "not".

  type:llm.*   topic:agent.#   app:bloodbank-cli   session:ID   parent:ID
  payload.tokens:>100   is:failed   since:15m   until:2026-01-27   "exact words"`,
		Example: `  bb events type:transcription.* since:1h
  bb events 'payload.model:opus -is:failed' --limit 5 -o json | jq .payload`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if order != "asc" && order != "desc" {
				return usagef("--order is desc (newest first) or asc, not %q", order)
			}
			if limit < 1 {
				return usagef("--limit must be at least 1")
			}
			return c.events(cmd.Context(), strings.Join(args, " "), limit, order)
		},
	}
	cmd.Flags().IntVarP(&limit, "limit", "n", 20, "how many events at the most")
	cmd.Flags().StringVar(&order, "order", "desc", "desc (newest first) or asc")
	c.outputFlag(cmd)
	return cmd
}

// pageLimit is the largest page that the server gives.
const pageLimit = 1000

func (c *command) events(ctx context.Context, query string, limit int, order string) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	cursor := ""
	for limit > 0 {
		page, err := cl.Events(ctx, client.EventsRequest{Query: query, Limit: min(limit, pageLimit), Cursor: cursor, Order: order})
		if err != nil {
			return err
		}
		for _, raw := range page.Events {
			if err := c.printEvent(raw); err != nil {
				return err
			}
		}
		limit -= len(page.Events)
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
	return nil
}

// printEvent writes an event as one line: exactly as stored, or for people.
func (c *command) printEvent(raw []byte) error {
	if c.json {
		c.print("%s", raw)
		return nil
	}
	e, err := bloodbank.DecodeEnvelope(raw)
	if err != nil {
		return err
	}
	c.print("%s", c.eventLine(&e))
	return nil
}

// eventLine is an event for people: time, type, source, parents, payload.
func (c *command) eventLine(e *bloodbank.Envelope) string {
	var b strings.Builder
	b.WriteString(e.Timestamp.Local().Format("15:04:05.000") + "  ")
	b.WriteString(c.colour(string(e.EventType), e.EventType) + "  ")
	b.WriteString(e.EventID.String() + "  ")
	b.WriteString(visible(e.Source.App + "@" + e.Source.Host))
	if n := len(e.CorrelationIDs); n > 0 {
		b.WriteString("  ←" + e.CorrelationIDs[0].String()[:8])
		if n > 1 {
			b.WriteString("…")
		}
	}
	b.WriteString("  " + visible(preview(e.Payload)))
	return b.String()
}

func preview(payload []byte) string {
	const limit = 120
	text := string(payload)
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// visible keeps control characters of an event away from the terminal.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '�'
		}
		return r
	}, s)
}

// colour gives each domain its own hue on a terminal that wants colours.
func (c *command) colour(s string, t bloodbank.EventType) string {
	if !isTerminal(c.Stdout) || c.env("NO_COLOR", "") != "" {
		return s
	}
	if t.Match("*.failed") || t.Match("*.error") {
		return "\x1b[31m" + s + "\x1b[0m"
	}
	hues := []string{"32", "33", "34", "35", "36", "92", "94", "96"}
	sum := 0
	for _, r := range t.Domain() {
		sum += int(r)
	}
	return "\x1b[" + hues[sum%len(hues)] + "m" + s + "\x1b[0m"
}

func (c *command) eventCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "event ID", Short: "Print one event", Args: exactly(1, "the event's id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := bloodbank.ParseEventID(args[0])
			if err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			raw, err := cl.Event(cmd.Context(), id)
			if err != nil {
				return err
			}
			if !c.json {
				raw = indent(raw)
			}
			c.print("%s", raw)
			return nil
		},
	}
	c.outputFlag(cmd)
	return cmd
}

// exactly asks for n arguments and says what they are when they are not there.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usagef("%s takes %s", cmd.CommandPath(), what)
		}
		return nil
	}
}

// indent lays JSON out for reading. Digits and the order of keys stay.
func indent(raw []byte) []byte {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return raw
	}
	return b.Bytes()
}

func (c *command) watchCmd() *cobra.Command {
	var count int
	var since int64
	cmd := &cobra.Command{
		Use:   "watch [PATTERN]",
		Short: "Watch events as they arrive",
		Long: `Print events as they are stored, one a line, until interrupted. PATTERN is a type
pattern (agent.*, transcription.voice.completed) or any filter of "bb events".
When the server restarts, watching goes on where it was.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.watch(cmd.Context(), strings.Join(args, " "), count, since)
		},
	}
	cmd.Flags().IntVar(&count, "count", 0, "end after this many events (0: never)")
	cmd.Flags().Int64Var(&since, "since-sequence", -1, "begin behind this store sequence instead of with the next event")
	c.outputFlag(cmd)
	return cmd
}

func (c *command) watch(ctx context.Context, query string, count int, since int64) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	seen := 0
	for event, err := range cl.Watch(ctx, client.WatchRequest{Query: query, Since: since}) {
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

// compact puts JSON on one line. Digits and the order of keys stay.
func compact(raw []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}
