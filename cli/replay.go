package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
)

func (c *command) replayCmd() *cobra.Command {
	var r client.ReplayRequest
	var newIDs, dryRun bool
	cmd := &cobra.Command{
		Use:   "replay EVENT_ID… | --q FILTER",
		Short: "Send stored events once more, as new events or to a sandbox",
		Long: `Send stored events once more, oldest first, causes before effects. Each gets a new
id and the time of now; replay_of names the original, which is also its last
parent. With --tree all descendants go along, and the new events are related as
the originals are. They pass the gateway: checked, durable, delivered, stored.

--to sandbox hands them to who binds to a place aside; no other consumer, nor the
store, gets them: on RabbitMQ the topic exchange bloodbank.replay.v1, on NATS the
subjects bloodbank.replay.v1.<event_type>. The embedded bus has no such place.
There --new-ids=false sends the exact stored bytes.

The server sends up to 5,000 events, 200 a second, one replay at a time; it goes on
when this command ends. --dry-run says what would be sent, and sends nothing. On a
terminal, more than 100 events are sent only after their number was typed.

The exit code is 0 when all were sent, 1 when some were not, 2 for wrong usage.`,
		Example: `  bb replay 0198f3a0-0000-7000-8000-000000000001 --tree --dry-run
  bb replay --q 'type:agent.* since:1h' --to sandbox`,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, text := range args {
				id, err := bloodbank.ParseEventID(text)
				if err != nil {
					return usagef("%v", err)
				}
				r.IDs = append(r.IDs, id)
			}
			r.SameIDs = !newIDs
			switch {
			case (len(r.IDs) == 0) == (strings.TrimSpace(r.Query) == ""):
				return usagef("name events by their ids, or give --q FILTER")
			case r.Target != "bus" && r.Target != "sandbox":
				return usagef("--to is bus or sandbox, not %q", r.Target)
			case r.SameIDs && r.Target == "bus":
				return usagef("--new-ids=false needs --to sandbox: the bus and the store drop an id that they know")
			}
			return c.replay(cmd.Context(), r, dryRun)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.Query, "q", "", "those that this filter finds")
	f.BoolVar(&r.Tree, "tree", false, "with all their descendants")
	f.StringVar(&r.Target, "to", "bus", "bus or sandbox")
	f.BoolVar(&newIDs, "new-ids", true, "give them new ids; false only to a sandbox")
	f.BoolVar(&dryRun, "dry-run", false, "only say what would be sent")
	f.IntVarP(&r.Limit, "limit", "n", 0, "how many events at the most, up to 5000 (the default)")
	c.outputFlag(cmd)
	c.jsonFlag(cmd)
	return cmd
}

func (c *command) replay(ctx context.Context, r client.ReplayRequest, dry bool) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	if dry {
		plan, err := cl.PlanReplay(ctx, r)
		if err != nil {
			return err
		}
		return c.printPlan(plan)
	}
	if err := c.agree(ctx, cl, r); err != nil {
		return err
	}
	job, err := cl.StartReplay(ctx, r)
	if err != nil {
		return err
	}
	if job, err = c.followReplay(ctx, cl, job); err != nil {
		return err
	}
	return c.printReplay(job)
}

// replayAsks is how many events people must agree to.
const replayAsks = 100

// agree asks people, not scripts, to type how many events are to be sent, where
// those are many.
func (c *command) agree(ctx context.Context, cl *client.Client, r client.ReplayRequest) error {
	if !isTerminal(c.Stdin) || !isTerminal(c.Stderr) {
		return nil
	}
	plan, err := cl.PlanReplay(ctx, r)
	if err != nil || plan.Count <= replayAsks {
		return err
	}
	fmt.Fprintf(c.Stderr, "%d events would be sent to the %s. Type their number to go on: ", plan.Count, plan.Target)
	if !typed(c.Stdin, plan.Count) {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "nothing was sent; --dry-run says what would be")
	}
	return nil
}

// typed reports whether the next line is the number.
func typed(in io.Reader, number int) bool {
	line, err := bufio.NewReader(in).ReadString('\n')
	return err == nil && strings.TrimSpace(line) == strconv.Itoa(number)
}

// replayPoll is how often the server is asked.
const replayPoll = 100 * time.Millisecond

func (c *command) followReplay(ctx context.Context, cl *client.Client, job client.ReplayJob) (client.ReplayJob, error) {
	show, done := c.progress(fmt.Sprintf("of %d events replayed:", job.Count))
	defer done()
	tick := time.NewTicker(replayPoll)
	defer tick.Stop()
	for job.State == client.ReplayRunning {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return job, fmt.Errorf("the server goes on with replay %s, %d of %d events are sent: %w", job.ID, job.Sent, job.Count, context.Cause(ctx))
		}
		var err error
		if job, err = cl.ReplayJob(ctx, job.ID); err != nil {
			return job, err
		}
		if show != nil {
			show(int64(job.Sent + job.Failed))
		}
	}
	return job, nil
}

func (c *command) printPlan(p client.ReplayPlan) error {
	if c.json {
		return json.NewEncoder(c.Stdout).Encode(p)
	}
	c.print("%d event(s) would be sent to the %s, in about %.0f s", p.Count, p.Target, p.Seconds)
	if p.Sandbox != "" {
		c.print("sandbox  %s", p.Sandbox)
	}
	if p.Count > 0 {
		c.print("times    %s to %s", p.First.Format(time.RFC3339), p.Last.Format(time.RFC3339))
	}
	for _, t := range p.Types {
		c.print("%7d  %s", t.Count, t.Type)
	}
	if p.Truncated {
		c.say("There are more than the limit allows; the oldest are taken.")
	}
	return nil
}

func (c *command) printReplay(j client.ReplayJob) error {
	if c.json {
		if err := json.NewEncoder(c.Stdout).Encode(j); err != nil {
			return err
		}
	} else {
		for _, f := range j.Failures {
			c.print("failed  %s  %v", f.ID, f.Error)
		}
		c.print("%d of %d event(s) sent to the %s", j.Sent, j.Count, j.Target)
	}
	if j.Truncated {
		c.say("There were more than the limit allows; the oldest were taken.")
	}
	if j.Error != "" {
		c.say("bb: the replay stopped: %s", j.Error)
	}
	if j.Sent < j.Count {
		return errSilent
	}
	return nil
}
