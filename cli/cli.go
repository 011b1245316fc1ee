// Package cli is the command line of bb: one file per verb.
//
// Law: data goes to stdout, words for people go to stderr. Exit codes: 0 done,
// 1 refused or failed, 2 wrong usage, 3 faults found by bb verify. A verb talks to a running server through
// package client; only where there is none does it ask app to do the work in
// this process. It knows no driver.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	// exitFaults is bb verify's: the store was read, and is not what was stored.
	exitFaults = 3
)

// Process is what the command line needs of its process, so that tests can run
// it as a value.
type Process struct {
	Args    []string
	Environ []string // KEY=VALUE
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
}

// Main runs one command and returns its exit code. It ends with ctx.
func Main(ctx context.Context, p Process) int {
	c := &command{Process: p}
	root := c.root()
	root.SetArgs(p.Args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errSilent):
		return exitFailed
	case errors.Is(err, errFaults):
		return exitFaults
	}
	fmt.Fprintf(p.Stderr, "bb: %v\n", err)
	var usage *usageError
	if errors.As(err, &usage) || !c.ran {
		fmt.Fprintf(p.Stderr, "Run 'bb %s--help' for what it takes.\n", c.verb)
		return exitUsage
	}
	return exitFailed
}

// errSilent fails without a message, because the command has said it already.
var errSilent = errors.New("failed")

// errFaults fails with exitFaults, after the faults were printed.
var errFaults = errors.New("faults found")

// usageError is a call whose words are off.
type usageError struct{ error }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// command is the state of one run.
type command struct {
	Process
	url  string
	json bool   // -o json
	ran  bool   // the arguments were understood
	verb string // for the hint, with a trailing space
}

func (c *command) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "bb",
		Short: "Bloodbank: an event bus that loses nothing and remembers why",
		Long: `Bloodbank takes events from voice, HTTP and the command line, checks them against
their schema, makes them durable, delivers them, stores them, and keeps for each
one which events caused it.

  bb up --demo                                  start, and see it work
  bb publish llm.prompt --json '{"provider":"anthropic","prompt":"hi"}'
  bb events type:llm.* --limit 5                find events
  bb trace EVENT_ID                             why did this happen?`,
		SilenceErrors: true, SilenceUsage: true,
		Args:             cobra.NoArgs,
		RunE:             func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRun: func(cmd *cobra.Command, _ []string) { c.ran = true },
	}
	root.SetIn(c.Stdin)
	root.SetOut(c.Stdout)
	root.SetErr(c.Stderr)
	root.PersistentFlags().StringVar(&c.url, "url", "", "where the server is (BB_URL, default http://127.0.0.1:8682)")
	root.Flags().BoolP("version", "v", false, "print the version")
	root.SetVersionTemplate("bb {{.Version}}\n")
	root.Version = Version()
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddGroup(
		&cobra.Group{ID: "serve", Title: "Serve:"},
		&cobra.Group{ID: "events", Title: "Events:"},
		&cobra.Group{ID: "catalogue", Title: "Event types:"},
		&cobra.Group{ID: "operate", Title: "Operate:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, cmd := range cmds {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add("serve", c.upCmd(), c.voiceCmd())
	add("events", c.publishCmd(), c.watchCmd(), c.eventsCmd(), c.eventCmd(), c.traceCmd(), c.replayCmd())
	add("catalogue", c.listEventsCmd(), c.listCommandsCmd(), c.showCmd())
	add("operate", c.walCmd(), c.dlqCmd(), c.routeCmd(), c.correlationCmd(), c.verifyCmd(), c.topCmd(), c.doctorCmd(), c.tortureCmd(), c.benchCmd(), c.configCmd(), c.versionCmd())
	root.AddCommand(c.asrWorkerCmd())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		c.verb = verbOf(cmd)
		return &usageError{err}
	})
	return root
}

func verbOf(cmd *cobra.Command) string {
	_, verb, _ := strings.Cut(cmd.CommandPath(), " ")
	if verb == "" {
		return ""
	}
	return verb + " "
}

// env returns a variable of the process, or fallback where it is unset or empty.
func (c *command) env(key, fallback string) string {
	for _, kv := range c.Environ {
		if k, v, _ := strings.Cut(kv, "="); k == key && v != "" {
			return v
		}
	}
	return fallback
}

// outputFlag adds -o to a command. text is what it prints without.
func (c *command) outputFlag(cmd *cobra.Command, formats ...string) *string {
	allowed := append([]string{"text", "json"}, formats...)
	format := cmd.Flags().StringP("output", "o", "text", "output: "+strings.Join(allowed, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(allowed, cobra.ShellCompDirectiveNoFileComp))
	pre := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		for _, f := range allowed {
			if f == *format {
				c.json = f == "json"
				if pre != nil {
					return pre(cmd, args)
				}
				return nil
			}
		}
		c.verb = verbOf(cmd)
		return usagef("unknown output %q: use %s", *format, strings.Join(allowed, ", "))
	}
	return format
}

// client returns a client of the server that --url or the configuration names.
func (c *command) client() (*client.Client, error) {
	cfg, err := c.config(nil)
	if err != nil {
		return nil, err
	}
	if c.url == "" {
		c.url = cfg.URL
	}
	cl, err := client.New(c.url, client.Options{Token: cfg.Token, UserAgent: "bb/" + Version()})
	if err != nil {
		return nil, usagef("%v", err)
	}
	return cl, nil
}

// say writes a line for people.
func (c *command) say(format string, args ...any) { fmt.Fprintf(c.Stderr, format+"\n", args...) }

// print writes a line of data.
func (c *command) print(format string, args ...any) { fmt.Fprintf(c.Stdout, format+"\n", args...) }

// isTerminal reports whether w is a terminal, so that a pipe stays quiet.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// readInput reads what an option names: the text itself, @file, or - for
// standard input.
func (c *command) readInput(value string) ([]byte, error) {
	switch {
	case value == "-":
		data, err := io.ReadAll(io.LimitReader(c.Stdin, maxInput+1))
		if err != nil {
			return nil, fmt.Errorf("cannot read standard input: %w", err)
		}
		return bounded(data, "standard input")
	case strings.HasPrefix(value, "@"):
		return readFile(value[1:])
	default:
		return []byte(value), nil
	}
}

// maxInput is how much the command line reads from a file or a pipe. The server
// has a limit of its own for an event, and says it.
const maxInput = 64 << 20

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "cannot read the payload: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxInput+1))
	if err != nil {
		return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "cannot read the payload: %w", err)
	}
	return bounded(data, path)
}

func bounded(data []byte, what string) ([]byte, error) {
	if len(data) > maxInput {
		return nil, bloodbank.Errorf(bloodbank.CodeTooLarge, "%s is larger than %d MiB", what, maxInput>>20)
	}
	return data, nil
}
