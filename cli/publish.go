package cli

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/app"
	"github.com/33god/bloodbank/client"
	"github.com/33god/bloodbank/schema"
)

// publishFlags are the options of bb publish: the original's and ours.
type publishFlags struct {
	json, payloadFile          string
	envelopeJSON, envelopeFile string
	mock                       bool
	eventID                    string
	parents                    []string
	sourceType                 string
	sourceApp, sourceHost      string
	dryRun                     bool
	skip, strict, permissive   bool
	wait                       string
}

func (c *command) publishCmd() *cobra.Command {
	var f publishFlags
	cmd := &cobra.Command{
		Use:   "publish TYPE",
		Short: "Publish an event",
		Long: `Publish one event. TYPE is an event type (llm.prompt) or the class name of the
original (LLMPrompt); it may be left out with an envelope.

The event is accepted when it is on disk. With no server running it is written
to the log directly, and the next "bb up" delivers it.

The parents of the event are given with -c, or inherited from BB_PARENT_EVENT_ID.`,
		Example: `  bb publish llm.prompt --json '{"provider":"anthropic","prompt":"hi"}'
  echo '{"text":"hi", …}' | bb publish transcription.voice.completed --json -
  bb publish llm.response --json @answer.json -c PARENT_ID --wait stored -o json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("bb publish takes one event type, not %d words", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.publish(cmd.Context(), strings.Join(args, ""), f)
		},
		ValidArgsFunction: c.completeTypes,
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.json, "json", "j", "", "payload: JSON, @FILE, or - for standard input")
	flags.StringVar(&f.payloadFile, "payload-file", "", "payload from a file")
	flags.StringVar(&f.envelopeJSON, "envelope-json", "", "whole envelope: JSON, @FILE, or -")
	flags.StringVar(&f.envelopeFile, "envelope-file", "", "whole envelope from a file")
	flags.BoolVarP(&f.mock, "mock", "m", false, "use the example payload of the schema")
	flags.StringVar(&f.eventID, "event-id", "", "id of the event (a UUID); publishing it twice makes one event")
	flags.StringArrayVarP(&f.parents, "correlation-id", "c", nil, "id of an event that caused this one; may be given again")
	flags.StringVar(&f.sourceType, "source-type", "manual", "manual, agent, scheduled, file_watch or hook")
	flags.StringVar(&f.sourceApp, "source-app", "bloodbank-cli", "program that the event comes from")
	flags.StringVar(&f.sourceHost, "source-host", "", "machine that the event comes from (default this one)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "check and print the envelope; publish nothing")
	flags.BoolVar(&f.skip, "skip-validation", false, "do not check the payload against its schema")
	flags.BoolVar(&f.strict, "strict-validation", false, "refuse types without a schema (the default)")
	flags.BoolVar(&f.permissive, "permissive-validation", false, "accept types without a schema")
	flags.BoolVar(&f.permissive, "permissive", false, "the same as --permissive-validation")
	flags.StringVar(&f.wait, "wait", "wal", "answer when the event is on disk (wal), confirmed by the bus (bus) or stored (stored)")
	cmd.MarkFlagsMutuallyExclusive("skip-validation", "strict-validation", "permissive-validation")
	c.outputFlag(cmd)
	return cmd
}

func (c *command) publish(ctx context.Context, name string, f publishFlags) error {
	r, err := c.publishRequest(ctx, name, f)
	if err != nil {
		return err
	}
	if f.dryRun {
		return c.dryRun(ctx, r)
	}
	receipt, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	if err := c.printReceipt(r, receipt); err != nil {
		return err
	}
	if wanted := r.Wait; wanted != "" && wanted != bloodbank.AckWAL && wanted != receipt.Ack && receipt.Ack != bloodbank.AckStored {
		c.say("bb: the event is accepted and on disk, but did not reach %q in time (reached: %s). It will; look with bb event %s",
			wanted, receipt.Ack, receipt.EventID)
		return errSilent
	}
	return nil
}

// send hands the event to the server, or without one writes it to the log here.
func (c *command) send(ctx context.Context, r client.PublishRequest) (bloodbank.Receipt, error) {
	cl, err := c.client()
	if err != nil {
		return bloodbank.Receipt{}, err
	}
	receipt, err := cl.Publish(ctx, r)
	if !c.mayWriteHere(err) {
		return receipt, err
	}
	receipts, err := c.writeHere(ctx, app.Acceptance{Permissive: r.Permissive, SkipValidation: r.SkipValidation}, r.Envelope)
	if err != nil {
		return receipt, err
	}
	return receipts[0], nil
}

// sendAll is send for several events: all or none.
func (c *command) sendAll(ctx context.Context, events []bloodbank.Envelope) ([]bloodbank.Receipt, error) {
	if len(events) == 0 {
		return nil, nil
	}
	cl, err := c.client()
	if err != nil {
		return nil, err
	}
	receipts, err := cl.PublishAll(ctx, client.PublishAllRequest{Envelopes: events})
	if !c.mayWriteHere(err) {
		return receipts, err
	}
	return c.writeHere(ctx, app.Acceptance{}, events...)
}

func (c *command) writeHere(ctx context.Context, x app.Acceptance, events ...bloodbank.Envelope) ([]bloodbank.Receipt, error) {
	cfg, err := c.config(nil)
	if err != nil {
		return nil, err
	}
	receipts, err := app.PublishOffline(ctx, cfg, x, events...)
	if err == nil {
		c.say("bb: no server at %s; accepted into the log, and the next \"bb up\" delivers it", c.url)
	}
	return receipts, err
}

// mayWriteHere reports whether there is no server, as opposed to one that
// refuses, and it would be on this machine, where it shares our data folder.
func (c *command) mayWriteHere(err error) bool {
	if !errors.Is(err, client.ErrNoServer) {
		return false
	}
	u, err := url.Parse(c.url)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

func (c *command) printReceipt(r client.PublishRequest, receipt bloodbank.Receipt) error {
	if c.json {
		return json.NewEncoder(c.Stdout).Encode(receipt)
	}
	note := ""
	if receipt.Duplicate {
		note = ", duplicate: it was accepted before"
	}
	c.print("✓ Published %s (event_id: %s%s)", r.Envelope.EventType, receipt.EventID, note)
	return nil
}

// dryRun checks the payload with the schemas of this process and prints what
// would be published.
func (c *command) dryRun(ctx context.Context, r client.PublishRequest) error {
	cfg, err := c.config(nil)
	if err != nil {
		return err
	}
	e, err := app.Check(ctx, cfg, app.Acceptance{Permissive: r.Permissive, SkipValidation: r.SkipValidation}, r.Envelope)
	if err != nil {
		return err
	}
	raw, err := e.AppendJSON(nil)
	if err != nil {
		return err
	}
	if !c.json {
		c.say("Dry run - would publish:")
		raw = indent(raw)
	}
	c.print("%s", raw)
	return nil
}

// publishRequest builds the event from the options.
func (c *command) publishRequest(ctx context.Context, name string, f publishFlags) (client.PublishRequest, error) {
	level, err := bloodbank.ParseAckLevel(f.wait)
	if err != nil {
		return client.PublishRequest{}, &usageError{err}
	}
	r := client.PublishRequest{Wait: level, Permissive: f.permissive, SkipValidation: f.skip}
	if r.Envelope, err = c.envelope(ctx, name, f); err != nil {
		return r, err
	}
	return r, c.applyFlags(&r.Envelope, f)
}

func (c *command) envelope(ctx context.Context, name string, f publishFlags) (bloodbank.Envelope, error) {
	inputs := 0
	for _, given := range []bool{f.json != "", f.payloadFile != "", f.envelopeJSON != "", f.envelopeFile != "", f.mock} {
		if given {
			inputs++
		}
	}
	switch {
	case inputs == 0:
		return bloodbank.Envelope{}, bloodbank.Errorf(bloodbank.CodeInvalid, "provide --mock, --json/--payload-file, or --envelope-json/--envelope-file")
	case inputs > 1:
		return bloodbank.Envelope{}, bloodbank.Errorf(bloodbank.CodeInvalid, "choose only one of --mock, --json, --payload-file, --envelope-json, --envelope-file")
	case f.envelopeJSON != "" || f.envelopeFile != "":
		return c.wholeEnvelope(ctx, name, f)
	}
	t, example, err := c.resolveType(ctx, name, f.mock)
	if err != nil {
		return bloodbank.Envelope{}, err
	}
	e := bloodbank.Envelope{EventType: t, Payload: example}
	switch {
	case f.mock:
	case f.payloadFile != "":
		e.Payload, err = readFile(f.payloadFile)
	default:
		e.Payload, err = c.readInput(f.json)
	}
	if err != nil {
		return e, err
	}
	if !json.Valid(e.Payload) {
		return e, bloodbank.Errorf(bloodbank.CodeInvalid, "the payload is not valid JSON: %s", whyNotJSON(e.Payload))
	}
	return e, nil
}

func whyNotJSON(data []byte) string {
	var v json.RawMessage
	if err := json.Unmarshal(data, &v); err != nil {
		return err.Error()
	}
	return "it is not UTF-8"
}

func (c *command) wholeEnvelope(ctx context.Context, name string, f publishFlags) (e bloodbank.Envelope, err error) {
	var data []byte
	if f.envelopeFile != "" {
		data, err = readFile(f.envelopeFile)
	} else {
		data, err = c.readInput(f.envelopeJSON)
	}
	if err != nil {
		return e, err
	}
	if e, err = bloodbank.DecodeDraft(data); err != nil || name == "" {
		return e, err
	}
	t, _, err := c.resolveType(ctx, name, false)
	if err == nil && t != e.EventType {
		err = bloodbank.Errorf(bloodbank.CodeInvalid, "the envelope is a %s, but %s was asked for; leave TYPE out or make them equal", e.EventType, t)
	}
	return e, err
}

// resolveType turns a class name of the original into its type.
func (c *command) resolveType(ctx context.Context, name string, mock bool) (bloodbank.EventType, []byte, error) {
	if name == "" {
		return "", nil, usagef("bb publish needs an event type, such as llm.prompt; bb list-events shows them")
	}
	if strings.Contains(name, ".") && !mock && !strings.Contains(name, "{") {
		t, err := bloodbank.ParseEventType(name)
		return t, nil, err
	}
	registry, err := c.schemas(ctx)
	if err != nil {
		return "", nil, err
	}
	info, ok := registry.Lookup(name)
	if !ok {
		return "", nil, bloodbank.Errorf(bloodbank.CodeUnknownType, "Event %q not found. Run 'bb list-events' to see all types", name)
	}
	if !mock {
		return info.Type, nil, nil
	}
	example, ok := registry.Example(info.Type)
	if !ok {
		return "", nil, bloodbank.Errorf(bloodbank.CodeNotFound, "the schema of %s has no example; give a payload with --json", info.Type)
	}
	return info.Type, compact(example), nil
}

func (c *command) schemas(ctx context.Context) (*schema.Registry, error) {
	cfg, err := c.config(nil)
	if err != nil {
		return nil, err
	}
	return app.OpenSchemas(ctx, cfg)
}

// applyFlags lets the options win over what an envelope says.
func (c *command) applyFlags(e *bloodbank.Envelope, f publishFlags) error {
	if f.eventID != "" {
		id, err := bloodbank.ParseEventID(f.eventID)
		if err != nil {
			return usagef("--event-id: %v", err)
		}
		e.EventID = id
	}
	parents := f.parents
	if inherited := c.env("BB_PARENT_EVENT_ID", ""); len(parents) == 0 && len(e.CorrelationIDs) == 0 && inherited != "" {
		parents = strings.Split(inherited, ",")
	}
	if len(parents) > 0 {
		e.CorrelationIDs = nil
	}
	for _, p := range parents {
		id, err := bloodbank.ParseEventID(strings.TrimSpace(p))
		if err != nil {
			return usagef("--correlation-id: %v", err)
		}
		e.CorrelationIDs = append(e.CorrelationIDs, id)
	}
	return c.applySource(e, f)
}

func (c *command) applySource(e *bloodbank.Envelope, f publishFlags) error {
	t := bloodbank.SourceType(f.sourceType)
	if !t.Valid() {
		return usagef("--source-type %q is not known: use manual, agent, scheduled, file_watch or hook", f.sourceType)
	}
	if e.Source.Type == "" {
		e.Source.Type, e.Source.App = t, f.sourceApp
		e.Source.Host = c.hostname()
	} else {
		if f.sourceType != "manual" {
			e.Source.Type = t
		}
		if f.sourceApp != "bloodbank-cli" {
			e.Source.App = f.sourceApp
		}
	}
	if f.sourceHost != "" {
		e.Source.Host = f.sourceHost
	}
	return nil
}

func (c *command) hostname() string {
	if name, err := os.Hostname(); err == nil && name != "" {
		return name
	}
	return "unknown"
}

func (c *command) completeTypes(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	registry, err := c.schemas(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, info := range registry.Types() {
		names = append(names, string(info.Type)+"\t"+info.Title)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
