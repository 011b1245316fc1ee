package cli

import (
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/33god/bloodbank/config"
)

// config reads the configuration of this run. flags may be nil.
func (c *command) config(flags *pflag.FlagSet) (config.Config, error) {
	cfg, _, err := c.loadConfig(flags)
	return cfg, err
}

func (c *command) loadConfig(flags *pflag.FlagSet) (config.Config, config.Provenance, error) {
	given := make(map[string]string)
	if flags != nil {
		flags.Visit(func(f *pflag.Flag) {
			if key := configKey(f.Name); key != "" {
				given[key] = flagText(f)
			}
		})
	}
	return config.Load(config.Sources{Environ: c.Environ, Flags: given})
}

// flagText is what a flag says, a repeated one in lines.
func flagText(f *pflag.Flag) string {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return strings.Join(list.GetSlice(), "\n")
	}
	return f.Value.String()
}

// engineFlags are those that choose what bb works with.
func engineFlags(flags *pflag.FlagSet) {
	flags.String("bus", "", "embedded, nats://… or amqp://… (BB_BUS, or RABBIT_URL)")
	flags.String("store", "", "sqlite:PATH or postgres://… (BB_STORE)")
	flags.String("correlation", "", "store or redis://… (BB_CORRELATION, or REDIS_HOST)")
	flags.StringArray("route", nil, "further broker with a filter, NAME=URL FILTER; may be repeated (BB_ROUTES)")
}

// configKey is the key that a flag sets; "" for a flag of another kind.
func configKey(flag string) string {
	switch flag {
	case "listen":
		return "listen"
	case "data":
		return "data_dir"
	case "bus":
		return "bus.url"
	case "store":
		return "store.url"
	case "correlation":
		return "correlation.url"
	case "route":
		return "bus.routes"
	case "schema-dir":
		return "schema.dir"
	case "permissive":
		return "schema.permissive"
	case "insecure":
		return "http.insecure"
	case "log-level":
		return "log.level"
	}
	return ""
}

func (c *command) configCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Print the configuration in force, and where each value comes from", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, from, err := c.loadConfig(cmd.Flags())
			if err != nil {
				return err
			}
			if c.json {
				return json.NewEncoder(c.Stdout).Encode(cfg.Redacted(from))
			}
			c.print("%s", strings.TrimSuffix(cfg.Redacted(from).String(), "\n"))
			return nil
		},
	}
	c.outputFlag(cmd)
	engineFlags(cmd.Flags())
	return cmd
}
