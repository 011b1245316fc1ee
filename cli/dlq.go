package cli

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank/client"
)

func (c *command) dlqCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Dead letters: events that the bus would not take",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("bb dlq needs a verb: list, show or redrive")
		},
	}
	cmd.AddCommand(c.dlqListCmd(), c.dlqShowCmd(), c.dlqRedriveCmd())
	return cmd
}

func (c *command) dlqListCmd() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List the open dead letters, oldest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return usagef("--limit must be at least 1")
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			letters, err := cl.DeadLetters(cmd.Context(), client.DeadLettersRequest{Limit: limit})
			if err != nil {
				return err
			}
			return c.printLetters(letters)
		},
	}
	cmd.Flags().IntVarP(&limit, "limit", "n", 100, "how many at the most")
	c.outputFlag(cmd)
	return cmd
}

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
		c.print("%d  %s  %s  %s  %d attempt(s)  %s", l.Number, l.At.Local().Format("2006-01-02 15:04:05"),
			l.EventType, l.EventID, l.Attempts, visible(l.Reason))
	}
	return nil
}

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

func (c *command) dlqRedriveCmd() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "redrive [NUMBER…]",
		Short: "Send dead letters to the bus again",
		Long: `Send dead letters to the bus again, with the same event ids, oldest first. One
that the bus takes is closed; the others stay listed with their reason.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return usagef("name the dead letters by number, or give --all")
			}
			numbers := make([]uint64, len(args))
			for i, a := range args {
				n, err := letterNumber(a)
				if err != nil {
					return err
				}
				numbers[i] = n
			}
			return c.redrive(cmd.Context(), numbers, all)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all open dead letters")
	c.outputFlag(cmd)
	return cmd
}

// redrive sends them one after another, so that an interruption leaves a clear
// state.
func (c *command) redrive(ctx context.Context, numbers []uint64, all bool) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	if all {
		letters, err := cl.DeadLetters(ctx, client.DeadLettersRequest{Limit: maxLetters})
		if err != nil {
			return err
		}
		for _, l := range letters {
			numbers = append(numbers, l.Number)
		}
	}
	failed := false
	for _, n := range numbers {
		err := cl.Redrive(ctx, n)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := c.printRedriven(n, err); err != nil {
			return err
		}
		failed = failed || err != nil
	}
	if failed {
		return errSilent
	}
	return nil
}

// maxLetters is how many dead letters one --all takes.
const maxLetters = 1000

// redriven is the outcome for one dead letter.
type redriven struct {
	Number    uint64 `json:"number"`
	Delivered bool   `json:"delivered"`
	Error     string `json:"error,omitempty"`
}

func (c *command) printRedriven(number uint64, err error) error {
	r := redriven{Number: number, Delivered: err == nil}
	if err != nil {
		r.Error = err.Error()
	}
	switch {
	case c.json:
		return json.NewEncoder(c.Stdout).Encode(r)
	case err != nil:
		c.say("bb: dead letter %d: %v", number, err)
	default:
		c.print("%d  delivered", number)
	}
	return nil
}
