package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/app"
	"github.com/33god/bloodbank/schema"
)

func (c *command) walCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wal",
		Short: "The write-ahead log: what was accepted",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usagef("bb wal needs a verb: status, inspect, replay or import")
		},
	}
	cmd.AddCommand(c.walStatusCmd(), c.walInspectCmd(), c.walReplayCmd(), c.walImportCmd())
	return cmd
}

func (c *command) walStatusCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "Show the log's extent and how far its followers are", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			status, err := cl.Status(cmd.Context())
			if err != nil {
				return err
			}
			var parts struct{ WAL, Dispatch, Recorder json.RawMessage }
			if err := json.Unmarshal(status, &parts); err != nil {
				return fmt.Errorf("the server's status cannot be read: %w", err)
			}
			raw, err := json.Marshal(map[string]json.RawMessage{"wal": parts.WAL, "dispatch": parts.Dispatch, "recorder": parts.Recorder})
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

func (c *command) walInspectCmd() *cobra.Command {
	var records bool
	var from uint64
	cmd := &cobra.Command{
		Use:   "inspect [DIR]",
		Short: "Read a log's files without touching them: segments, faults, records",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := c.logDir(args)
			if err != nil {
				return err
			}
			if records {
				return c.scan(cmd.Context(), dir, from)
			}
			report, err := app.InspectLog(cmd.Context(), dir)
			if err != nil {
				return err
			}
			raw, err := json.Marshal(report)
			if err != nil {
				return err
			}
			if !c.json {
				raw = indent(raw)
			}
			c.print("%s", raw)
			if n := len(report.Faults); n > 0 {
				c.say("bb: %d fault(s) found; each is listed with its place and reason", n)
				return errSilent
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&records, "records", false, "print the records, one event a line")
	cmd.Flags().Uint64Var(&from, "from", 1, "with --records: begin with this sequence")
	c.outputFlag(cmd)
	return cmd
}

func (c *command) logDir(args []string) (string, error) {
	if len(args) == 1 {
		if _, err := os.Stat(args[0]); err != nil {
			return "", bloodbank.Errorf(bloodbank.CodeNotFound, "cannot read the log: %w", err)
		}
		return args[0], nil
	}
	cfg, err := c.config(nil)
	if err != nil {
		return "", err
	}
	dir := app.LogDir(cfg)
	if _, err := os.Stat(dir); err != nil {
		return "", bloodbank.Errorf(bloodbank.CodeNotFound, "there is no log yet at %s; it is made by bb up", dir)
	}
	return dir, nil
}

func (c *command) scan(ctx context.Context, dir string, from uint64) error {
	out := bufio.NewWriter(c.Stdout)
	for record, err := range app.ScanLog(ctx, dir, from) {
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "%s\n", record.Data); err != nil {
			return err
		}
	}
	return out.Flush()
}

func (c *command) walReplayCmd() *cobra.Command {
	var from uint64
	cmd := &cobra.Command{
		Use:   "replay --from SEQUENCE",
		Short: "Let the next server hand the log's events to the bus again",
		Long: `Set the dispatcher back to SEQUENCE, so that the next "bb up" hands the events
from there on to the bus once more, with the same ids: the store keeps each of
them once. The server must not be running.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("from") {
				return usagef("bb wal replay needs --from SEQUENCE; bb wal inspect shows what the log holds")
			}
			cfg, err := c.config(nil)
			if err != nil {
				return err
			}
			n, err := app.Rewind(cmd.Context(), cfg, from)
			if err != nil {
				return err
			}
			if c.json {
				return json.NewEncoder(c.Stdout).Encode(map[string]uint64{"from": from, "count": n})
			}
			c.print("The next \"bb up\" hands %d event(s) from sequence %d on to the bus again.", n, from)
			return nil
		},
	}
	cmd.Flags().Uint64Var(&from, "from", 0, "the first sequence to send again")
	c.outputFlag(cmd)
	return cmd
}

func (c *command) walImportCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Publish the log of the original (raw_voice_ingest.jsonl)",
		Long: `Publish each line of a file that the original's publisher left: a bare payload of
transcription.voice.completed. The event ids follow from the content, so
importing a file twice publishes each line once. Lines that are no valid payload
are named and left out, and the command then fails.`,
		Args: exactly(1, "the file to import, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := c.Stdin
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return bloodbank.Errorf(bloodbank.CodeNotFound, "cannot read what to import: %w", err)
				}
				defer f.Close()
				in = f
			}
			return c.importLines(cmd.Context(), in)
		},
	}
	c.outputFlag(cmd)
	return cmd
}

// imported counts what became of the lines.
type imported struct {
	Imported   int `json:"imported"`
	Duplicates int `json:"duplicates"`
	Refused    int `json:"refused"`
}

// importBatch is how many lines are published at once.
const importBatch = 200

func (c *command) importLines(ctx context.Context, in io.Reader) error {
	schemas, err := c.schemas(ctx)
	if err != nil {
		return err
	}
	var sum imported
	var batch []bloodbank.Envelope
	flush := func() error {
		receipts, err := c.sendAll(ctx, batch)
		if err != nil {
			return fmt.Errorf("%w (%d imported so far; importing the file again goes on from here)", err, sum.Imported)
		}
		for _, r := range receipts {
			if r.Duplicate {
				sum.Duplicates++
			} else {
				sum.Imported++
			}
		}
		batch = batch[:0]
		return nil
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxInput)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		e, err := voiceEvent(schemas, line)
		if err != nil {
			sum.Refused++
			c.say("bb: line %d is left out: %v", n, err)
			continue
		}
		if batch = append(batch, e); len(batch) == importBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("cannot read what to import: %w", err)
	}
	if err := flush(); err != nil {
		return err
	}
	if err := c.printImported(sum); err != nil {
		return err
	}
	if sum.Refused > 0 {
		return errSilent
	}
	return nil
}

func (c *command) printImported(sum imported) error {
	if c.json {
		return json.NewEncoder(c.Stdout).Encode(sum)
	}
	c.print("%d imported, %d already there, %d refused", sum.Imported, sum.Duplicates, sum.Refused)
	return nil
}

// voiceEvent makes the event of one line. The facts that name it are its
// session, its time and its text.
func voiceEvent(schemas *schema.Registry, line string) (bloodbank.Envelope, error) {
	var p struct {
		Text      string `json:"text"`
		Timestamp string `json:"timestamp"`
		SessionID string `json:"session_id"`
	}
	if err := json.Unmarshal([]byte(line), &p); err != nil {
		return bloodbank.Envelope{}, bloodbank.Errorf(bloodbank.CodeInvalid, "not a JSON object: %w", err)
	}
	if err := schemas.Validate(bloodbank.TypeVoiceCompleted, []byte(line)); err != nil {
		return bloodbank.Envelope{}, err
	}
	key, err := bloodbank.UniqueKey(map[string]any{"session_id": p.SessionID, "timestamp": p.Timestamp, "text": p.Text})
	if err != nil {
		return bloodbank.Envelope{}, err
	}
	id, err := bloodbank.DeterministicID(bloodbank.DefaultNamespace, bloodbank.TypeVoiceCompleted, key)
	if err != nil {
		return bloodbank.Envelope{}, err
	}
	e := bloodbank.Envelope{EventID: id, EventType: bloodbank.TypeVoiceCompleted, Payload: json.RawMessage(line)}
	if t, err := bloodbank.ParseTimestamp(p.Timestamp); err == nil {
		e.Timestamp = t
	}
	e.Source = bloodbank.Source{Host: "unknown", Type: bloodbank.SourceManual, App: "bb-import"}
	return e, nil
}
