package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
)

func (c *command) dlqCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Dead letters: events that a target would not take",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("bb dlq needs a verb: list, show, redrive or discard")
		},
	}
	cmd.AddCommand(c.dlqListCmd(), c.dlqShowCmd(), c.dlqRedriveCmd(), c.dlqDiscardCmd())
	return cmd
}

// letterChoice is the flags that choose dead letters.
type letterChoice struct {
	filter       client.DeadLetterFilter
	since, until string
	all, dryRun  bool
}

func (ch *letterChoice) filterFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&ch.filter.Type, "type", "", "of this type; * stands for any text")
	f.StringVar(&ch.filter.Reason, "reason", "", "with this text in the reason")
	f.StringVar(&ch.filter.Target, "target", "", "of this target; bus is the main bus")
	f.StringVar(&ch.since, "since", "", "dead since then: a time, or how long ago (15m, 24h, 7d)")
	f.StringVar(&ch.until, "until", "", "dead before then, in the same words")
}

func (ch *letterChoice) chooseFlags(cmd *cobra.Command) {
	ch.filterFlags(cmd)
	cmd.Flags().BoolVar(&ch.all, "all", false, "all that the other options choose, or all there are")
	cmd.Flags().BoolVar(&ch.dryRun, "dry-run", false, "only list which it would be")
}

// read makes sense of the times.
func (ch *letterChoice) read() (err error) {
	now := time.Now()
	if ch.filter.Since, err = pastTime("since", ch.since, now); err == nil {
		ch.filter.Until, err = pastTime("until", ch.until, now)
	}
	return err
}

// pastTime reads a time, or how long ago it was.
func pastTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := bloodbank.ParseTimestamp(text)
	if err != nil {
		return at, usagef("--%s is a time like 2026-01-27T10:00:00Z or how long ago, like 15m, 24h or 7d, not %q", flag, text)
	}
	return at, nil
}

// request turns arguments and flags into a choice. A choice of many must say so.
func (ch *letterChoice) request(args []string) (client.LettersRequest, error) {
	r := client.LettersRequest{DryRun: ch.dryRun}
	if err := ch.read(); err != nil {
		return r, err
	}
	chosen := ch.filter != client.DeadLetterFilter{}
	switch {
	case len(args) > 0 && (ch.all || chosen):
		return r, usagef("name the dead letters by number, or choose them by options, not both")
	case len(args) > maxLetters:
		return r, usagef("%d numbers are too many at once; name up to %d, or choose them by options", len(args), maxLetters)
	case len(args) == 0 && !ch.all && !chosen:
		return r, usagef("name the dead letters by number, choose them by options (--type, --reason, --target, --since, --until), or give --all")
	}
	for _, a := range args {
		n, err := letterNumber(a)
		if err != nil {
			return r, err
		}
		r.Numbers = append(r.Numbers, n)
	}
	r.Filter = ch.filter
	return r, nil
}

func (c *command) dlqListCmd() *cobra.Command {
	var limit int
	var choice letterChoice
	cmd := &cobra.Command{
		Use: "list", Short: "List the open dead letters, oldest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return usagef("--limit must be at least 1")
			}
			if err := choice.read(); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			return c.listLetters(cmd.Context(), cl, choice.filter, limit)
		},
	}
	cmd.Flags().IntVarP(&limit, "limit", "n", 100, "how many at the most")
	choice.filterFlags(cmd)
	c.outputFlag(cmd)
	return cmd
}

// listLetters reads as many pages as the limit needs.
func (c *command) listLetters(ctx context.Context, cl *client.Client, filter client.DeadLetterFilter, limit int) error {
	var letters []client.DeadLetter
	for after := uint64(0); len(letters) < limit; {
		page, err := cl.DeadLetters(ctx, client.DeadLettersRequest{Filter: filter, After: after, Limit: min(limit-len(letters), maxLetters)})
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		letters, after = append(letters, page...), page[len(page)-1].Number
	}
	return c.printLetters(letters)
}

// maxLetters is how many dead letters one request takes.
const maxLetters = 1000

func (c *command) printLetters(letters []client.DeadLetter) error {
	if len(letters) == 0 && !c.json {
		c.say("No dead letters.")
	}
	for _, l := range letters {
		if c.json {
			if err := json.NewEncoder(c.Stdout).Encode(l); err != nil {
				return err
			}
			continue
		}
		c.print("%d  %s  %s  %s  %s  %s", l.Number, localTime(l.At), l.Target, l.EventType, l.EventID, fate(l))
	}
	return nil
}

// fate is why it lies here.
func fate(l client.DeadLetter) string {
	if l.ConfirmedAt.IsZero() {
		return fmt.Sprintf("%d attempt(s)  %s", l.Attempts, visible(l.Reason))
	}
	return "delivered at " + localTime(l.ConfirmedAt) + "; it is closed when the bus can no longer lose it"
}

func localTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func (c *command) dlqShowCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show NUMBER", Short: "Show a dead letter with its event and reason", Args: exactly(1, "the number of a dead letter; see bb dlq list"),
		RunE: func(cmd *cobra.Command, args []string) error {
			number, err := letterNumber(args[0])
			if err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			letter, err := cl.DeadLetter(cmd.Context(), number)
			if err != nil {
				return err
			}
			raw, err := json.Marshal(letter)
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

func letterNumber(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return 0, usagef("%q is not the number of a dead letter; see bb dlq list", s)
	}
	return n, nil
}
