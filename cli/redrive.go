package cli

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
)

func (c *command) dlqRedriveCmd() *cobra.Command {
	var choice letterChoice
	cmd := &cobra.Command{
		Use:   "redrive [NUMBER…]",
		Short: "Send dead letters to their targets again",
		Long: `Send dead letters to their targets again, with the same event ids, in the order in
which they were accepted. One that is taken is closed; the others stay listed.
Of an ordering key none is sent while an earlier chosen one stays. It ends when
the bus is down; run it again to go on.

The exit code is 0 when all were taken, 1 when some stay, 2 for wrong usage.`,
		Example: `  bb dlq redrive 17 18
  bb dlq redrive --type 'llm.*' --since 24h --dry-run
  bb dlq redrive --all`,
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := choice.request(args)
			if err != nil {
				return err
			}
			return c.workOff(cmd.Context(), request, redriving())
		},
	}
	choice.chooseFlags(cmd)
	c.outputFlag(cmd)
	return cmd
}

func (c *command) dlqDiscardCmd() *cobra.Command {
	var choice letterChoice
	var why string
	cmd := &cobra.Command{
		Use:   "discard [NUMBER…] --because TEXT",
		Short: "Close dead letters that shall never be sent",
		Long: `Close dead letters for good: their target never gets them, whatever happens. The
reason is kept in the log of dead letters. What other targets and the store have
of the events stays.

The exit code is 0 when all were discarded, 1 when some stay, 2 for wrong usage.`,
		Example: `  bb dlq discard 17 --because "a test"
  bb dlq discard --target audit --reason "too large" --because "the audit takes no recordings" --dry-run`,
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := choice.request(args)
			if err != nil {
				return err
			}
			if request.Reason = why; why == "" && !request.DryRun {
				return usagef("say why with --because TEXT; it is kept")
			}
			if request.DryRun {
				request.Reason = "dry run"
			}
			return c.workOff(cmd.Context(), request, discarding())
		},
	}
	cmd.Flags().StringVar(&why, "because", "", "why they are discarded")
	choice.chooseFlags(cmd)
	c.outputFlag(cmd)
	return cmd
}

// working is what is done with dead letters.
type working struct {
	done, would string
	// paged says that Next goes on; else what was worked off is chosen no more.
	paged bool
	ask   func(*client.Client, context.Context, client.LettersRequest) (client.Outcomes, error)
}

func redriving() working {
	return working{done: "delivered", would: "would be sent", paged: true, ask: (*client.Client).RedriveMany}
}

func discarding() working {
	return working{done: "discarded", would: "would be discarded", ask: (*client.Client).Discard}
}

// workOff asks page by page and tells of each dead letter as its page comes.
func (c *command) workOff(ctx context.Context, request client.LettersRequest, w working) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	stay := 0
	for {
		page, err := w.ask(cl, ctx, request)
		if err != nil {
			return err
		}
		for _, o := range page.Results {
			if err := c.printOutcome(o, page.DryRun, w); err != nil {
				return err
			}
		}
		stay += page.Failed
		goOn := page.Stopped == nil && page.Done > 0 && page.Left > 0
		if w.paged {
			slow := page.Stopped != nil && page.Stopped.Code == bloodbank.CodeTimeout && page.Done > 0
			goOn = page.Next != "" && (page.Stopped == nil || slow)
		}
		if goOn && !request.DryRun {
			request.After = page.Next
			continue
		}
		return c.sumUp(page, stay, w)
	}
}

// sumUp says how it ended.
func (c *command) sumUp(last client.Outcomes, stay int, w working) error {
	switch {
	case last.Matched == 0 && len(last.Results) == 0 && stay == 0:
		c.say("No dead letters.")
		return nil
	case last.DryRun:
		if more := last.Matched - len(last.Results); more > 0 {
			c.say("and %d more", more)
		}
		return nil
	case last.Stopped != nil:
		c.say("bb: %v; %d were not tried. Run it again to go on.", last.Stopped, last.Left)
		return errSilent
	case stay > 0 || last.Left > 0:
		return errSilent
	}
	return nil
}

// letterDone is the outcome for one dead letter as -o json prints it.
type letterDone struct {
	Number    uint64 `json:"number"`
	Target    string `json:"target,omitempty"`
	EventType string `json:"event_type,omitempty"`
	Delivered *bool  `json:"delivered,omitempty"`
	Discarded *bool  `json:"discarded,omitempty"`
	DryRun    bool   `json:"dry_run,omitempty"`
	Error     string `json:"error,omitempty"`
}

func (c *command) printOutcome(o client.Outcome, dryRun bool, w working) error {
	if c.json {
		line := letterDone{Number: o.Number, Target: o.Target, EventType: string(o.EventType), DryRun: dryRun}
		if w.paged {
			line.Delivered = &o.OK
		} else {
			line.Discarded = &o.OK
		}
		if o.Error != nil {
			line.Error = o.Error.Error()
		}
		return json.NewEncoder(c.Stdout).Encode(line)
	}
	switch {
	case o.Error != nil:
		c.say("bb: dead letter %d: %v", o.Number, o.Error)
	case dryRun:
		c.print("%d  %s  %s  %s", o.Number, o.Target, o.EventType, w.would)
	default:
		c.print("%d  %s", o.Number, w.done)
	}
	return nil
}
