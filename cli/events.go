package cli

import (
	"bytes"
	"context"
	"encoding/json"
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

// eventLine is an event for people: time, a mark where it tells of an error, type, source, parents, payload.
func (c *command) eventLine(e *bloodbank.Envelope) string {
	var b strings.Builder
	b.WriteString(e.Timestamp.Local().Format("15:04:05.000") + " " + mark(e.EventType) + " ")
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

// compact puts JSON on one line. Digits and the order of keys stay.
func compact(raw []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}
