package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/config"
	"github.com/33god/bloodbank/torture"
)

// tortureFlags are what bb torture takes beside the engines.
type tortureFlags struct {
	rounds   int
	duration time.Duration
	seed     uint64
	dir      string
	yes      bool
}

func (c *command) tortureCmd() *cobra.Command {
	var f tortureFlags
	cmd := &cobra.Command{
		Use:   "torture",
		Short: "Kill and cut off copies of this program at random, and check that nothing is lost",
		Long: `Start copies of this program on a folder of their own beside your data folder,
with your broker, database and Redis; publish into them, and meanwhile kill,
freeze and stop them and cut, stall and empty the ways to your servers. Then
check that every event with a receipt is in the store exactly once, unchanged and
in order. The disk under the folder is examined too.

Your events and your servers are left alone: on RabbitMQ it uses an exchange and
a queue of its own, in PostgreSQL a schema, on Redis only keys of its own events,
and it removes them. NATS has one stream for Bloodbank, so there it asks for --yes.

The exit code is 0 when every promise was kept, 1 when one was broken or the
torture could not come to its end, 2 on wrong usage. The same --seed on the same
set-up plans the same faults. What a broken promise left is kept for a look.`,
		Example: `  bb torture
  bb torture --rounds 300 --bus amqp://guest:guest@localhost/ --store postgres://localhost/bb
  bb torture --duration 10m --seed 42 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.torture(cmd, f) },
	}
	flags := cmd.Flags()
	flags.String("bus", "", "embedded, nats://… or amqp://… (BB_BUS, or RABBIT_URL)")
	flags.String("store", "", "sqlite:PATH or postgres://… (BB_STORE)")
	flags.String("correlation", "", "store or redis://… (BB_CORRELATION, or REDIS_HOST)")
	flags.IntVar(&f.rounds, "rounds", 30, "how many rounds, each with faults; 0 leaves it to --duration")
	flags.DurationVar(&f.duration, "duration", 0, "how long, such as 10m; without --rounds only that counts")
	flags.Uint64Var(&f.seed, "seed", 0, "plan the faults of an earlier run; 0 draws a new seed")
	flags.StringVar(&f.dir, "dir", "", "folder for the folder of the run, on the disk to examine (default: beside the data folder)")
	flags.BoolVar(&f.yes, "yes", false, "go on where torture cannot keep apart from others on a server")
	c.outputFlag(cmd)
	return cmd
}

func (c *command) torture(cmd *cobra.Command, f tortureFlags) error {
	if f.rounds < 0 || f.duration < 0 || f.rounds == 0 && f.duration == 0 {
		return usagef("--rounds and --duration say when to end; give one of them above 0")
	}
	if f.duration > 0 && !cmd.Flags().Changed("rounds") {
		f.rounds = 0
	}
	cfg, err := c.config(cmd.Flags())
	if err != nil {
		return err
	}
	o, err := c.tortureOptions(cfg, f)
	if err != nil {
		return err
	}
	// An interrupt ends the run, which then ends its copies and removes what it made
	// before it returns.
	report, err := torture.Run(cmd.Context(), o)
	// A folder that is kept says so in the report; an empty one says nothing.
	_ = os.Remove(o.Dir)
	if err != nil && report.Rounds == 0 && report.Verdict != torture.Broken {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "%w", err)
	}
	if printed := c.printReport(report); printed != nil {
		return printed
	}
	switch {
	case report.Verdict == torture.Broken:
		c.say("bb: a promise was broken; repeat with --seed %d, and report it with what is above", report.Seed)
		return errSilent
	case err != nil && cmd.Context().Err() != nil:
		c.say("bb: interrupted; until then nothing was found")
		return errSilent
	case err != nil:
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "%w", err)
	}
	return nil
}

func (c *command) printReport(r torture.Report) error {
	if c.json {
		return json.NewEncoder(c.Stdout).Encode(r)
	}
	return r.WriteText(c.Stdout)
}

func (c *command) tortureOptions(cfg config.Config, f tortureFlags) (torture.Options, error) {
	self, err := os.Executable()
	if err != nil {
		return torture.Options{}, fmt.Errorf("cannot find this program: %w", err)
	}
	dir, err := tortureDir(cfg, f.dir)
	if err != nil {
		return torture.Options{}, bloodbank.Errorf(bloodbank.CodeInvalid, "cannot make a folder for the run: %w. Name one with --dir", err)
	}
	for f.seed == 0 {
		f.seed = torture.NewSeed()
	}
	o := torture.Options{
		Command: []string{self}, Env: tortureEnv(c.Environ, cfg), Dir: dir, Beside: cfg.DataDir,
		Bus: cfg.Bus.URL, Store: cfg.Store.URL, Correlation: cfg.Correlation.URL, Shared: f.yes,
		Rounds: f.rounds, Duration: f.duration, Seed: f.seed,
	}
	if !isTerminal(c.Stderr) {
		return o, nil
	}
	c.say("seed %d, folder %s", f.seed, dir)
	for _, own := range torture.Isolate(o).Own {
		c.say("own names %s", own)
	}
	o.Progress = func(p torture.Progress) {
		words := strings.Join(p.Faults, ", ")
		if p.Checked {
			words += fmt.Sprintf("; all checked, %d broken", p.Broken)
		}
		c.say("round %d: %d accepted; %s", p.Round, p.Accepted, words)
	}
	return o, nil
}

// tortureDir makes a folder of the run's own, beside the data folder unless said
// otherwise: the same disk is examined then.
func tortureDir(cfg config.Config, in string) (string, error) {
	if in == "" {
		in = filepath.Dir(cfg.DataDir)
	}
	if err := os.MkdirAll(in, 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(in, "bloodbank-torture-")
}

// tortureEnv is the environment of the copies: without the settings of Bloodbank
// and of the original, so that they listen, log and route nowhere else, but with
// those that say how to reach the servers.
func tortureEnv(environ []string, cfg config.Config) []string {
	var env []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if !isSetting(name) {
			env = append(env, kv)
		}
	}
	for _, s := range cfg.Redacted(nil) {
		switch s.Key {
		case "bus.queue_type", "bus.replicas", "bus.server_sync", "bus.compress_above", "bus.max_attempts":
		case "bus.credentials", "bus.ca", "bus.cert", "bus.key":
			if path, err := filepath.Abs(s.Value); err == nil && s.Value != "" {
				s.Value = path // the copies work in another folder
			}
		default:
			continue
		}
		env = append(env, "BB_"+strings.ToUpper(strings.ReplaceAll(s.Key, ".", "_"))+"="+s.Value)
	}
	return env
}

func isSetting(variable string) bool {
	switch variable {
	case "RABBIT_URL", "EXCHANGE_NAME", "HTTP_HOST", "HTTP_PORT", "SERVICE_NAME", "ENVIRONMENT", "CORRELATION_TTL_DAYS",
		"REDIS_HOST", "REDIS_PORT", "REDIS_DB", "REDIS_PASSWORD":
		return true
	}
	return strings.HasPrefix(variable, "BB_")
}
