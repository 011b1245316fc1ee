package cli

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/schema"
)

func (c *command) listEventsCmd() *cobra.Command {
	var domain, kind string
	cmd := &cobra.Command{
		Use: "list-events", Short: "List the event types", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if kind != "" && kind != "event" && kind != "command" {
				return usagef("--type is event or command, not %q", kind)
			}
			return c.listTypes(cmd, "event", func(i schema.Info) bool {
				return (domain == "" || i.Domain == domain) && (kind == "" || i.Command == (kind == "command"))
			})
		},
	}
	cmd.Flags().StringVarP(&domain, "domain", "d", "", "only this domain")
	cmd.Flags().StringVarP(&kind, "type", "t", "", "only event or command")
	c.outputFlag(cmd)
	return cmd
}

func (c *command) listCommandsCmd() *cobra.Command {
	var domain string
	cmd := &cobra.Command{
		Use: "list-commands", Short: "List the event types that ask for something to be done", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.listTypes(cmd, "command", func(i schema.Info) bool {
				return i.Command && (domain == "" || i.Domain == domain)
			})
		},
	}
	cmd.Flags().StringVarP(&domain, "domain", "d", "", "only this domain")
	c.outputFlag(cmd)
	return cmd
}

func (c *command) listTypes(cmd *cobra.Command, noun string, want func(schema.Info) bool) error {
	registry, err := c.schemas(cmd.Context())
	if err != nil {
		return err
	}
	total, domain := 0, ""
	for _, info := range registry.Types() {
		if !want(info) {
			continue
		}
		total++
		if c.json {
			if err := json.NewEncoder(c.Stdout).Encode(info); err != nil {
				return err
			}
			continue
		}
		if info.Domain != domain {
			domain = info.Domain
			c.print("\nDomain: %s", domain)
		}
		if info.Class != "" {
			c.print("  - %s (%s)", info.Type, info.Class)
		} else {
			c.print("  - %s", info.Type)
		}
	}
	if !c.json {
		c.print("\nTotal: %d %s(s)", total, noun)
	}
	return nil
}

func (c *command) showCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Show the schema of an event type", Args: exactly(1, "an event type or the original's class name"),
		ValidArgsFunction: c.completeTypes,
		RunE: func(cmd *cobra.Command, args []string) error {
			registry, err := c.schemas(cmd.Context())
			if err != nil {
				return err
			}
			info, ok := registry.Lookup(args[0])
			if !ok {
				return bloodbank.Errorf(bloodbank.CodeNotFound, "Event '%s' not found. Run 'bb list-events' to see all types", args[0])
			}
			document, _ := registry.Schema(info.Type)
			if c.json {
				c.print("%s", compact(document))
				return nil
			}
			c.showType(info, document)
			if example, ok := registry.Example(info.Type); ok {
				c.print("\nExample:\n%s", indent(example))
			}
			return nil
		},
	}
	c.outputFlag(cmd)
	return cmd
}

func (c *command) showType(info schema.Info, document []byte) {
	kind := "event"
	if info.Command {
		kind = "command"
	}
	if info.Class != "" {
		c.print("Event: %s", info.Class)
	}
	c.print("Routing Key: %s\nDomain: %s\nType: %s", info.Type, info.Domain, kind)
	if info.Description != "" {
		c.print("\n%s", info.Description)
	}
	c.print("\nSchema:\n%s", indent(document))
}
