package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
)

func (c *command) traceCmd() *cobra.Command {
	var direction string
	var depth int
	cmd := &cobra.Command{
		Use:   "trace ID",
		Short: "Show what caused an event, and what it caused",
		Long: `Show the chain of an event. Causes stand above their effects. An event with
several parents is drawn under the first; the others are named beside it.`,
		Args: exactly(1, "the event's id"),
	}
	cmd.Flags().StringVar(&direction, "direction", "both", "ancestors, descendants or both")
	cmd.Flags().IntVar(&depth, "depth", 100, "how many levels")
	cmd.Flags().StringP("output", "o", "tree", "output: tree, json, dot or mermaid")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"tree", "json", "dot", "mermaid"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		draw, err := drawing(cmd.Flag("output").Value.String())
		if err != nil {
			return err
		}
		id, err := bloodbank.ParseEventID(args[0])
		if err != nil {
			return err
		}
		g, err := c.graph(cmd.Context(), id, direction, depth)
		if err != nil {
			return err
		}
		text, err := draw(g)
		if err != nil {
			return err
		}
		c.print("%s", strings.TrimRight(text, "\n"))
		if g.Truncated {
			c.say("bb: the chain goes on; see more with --depth")
		}
		return nil
	}
	return cmd
}

func drawing(format string) (func(graph) (string, error), error) {
	switch format {
	case "tree", "text":
		return drawTree, nil
	case "json":
		return func(g graph) (string, error) {
			raw, err := json.Marshal(g)
			return string(raw), err
		}, nil
	case "dot":
		return drawDot, nil
	case "mermaid":
		return drawMermaid, nil
	}
	return nil, usagef("unknown output %q: use tree, json, dot or mermaid", format)
}

// graph is what bb trace draws: causes before effects.
type graph struct {
	Start     bloodbank.EventID `json:"event_id"`
	Direction string            `json:"direction"`
	Nodes     []client.Node     `json:"nodes"`
	Truncated bool              `json:"truncated"`
}

func (c *command) graph(ctx context.Context, id bloodbank.EventID, direction string, depth int) (graph, error) {
	g := graph{Start: id, Direction: direction}
	directions := []string{direction}
	switch direction {
	case "ancestors", "descendants":
	case "both":
		directions = []string{"ancestors", "descendants"}
	default:
		return g, usagef("--direction is ancestors, descendants or both, not %q", direction)
	}
	cl, err := c.client()
	if err != nil {
		return g, err
	}
	for _, d := range directions {
		chain, err := cl.Chain(ctx, id, d, depth)
		if err != nil {
			return g, err
		}
		g.Truncated = g.Truncated || chain.Truncated
		for _, n := range chain.Nodes {
			if !slices.ContainsFunc(g.Nodes, func(have client.Node) bool { return have.ID == n.ID }) {
				g.Nodes = append(g.Nodes, n)
			}
		}
	}
	return g, nil
}

// label is a node in a line.
func label(n client.Node) string {
	if !n.Known {
		return n.ID.String() + "  (not stored: not published yet, or elsewhere)"
	}
	return fmt.Sprintf("%s  %s  %s  %s", visible(string(n.Type)), n.ID, n.Timestamp.Local().Format("15:04:05.000"), visible(n.App))
}

// drawTree draws each node once, under the first of its parents that is in the
// graph.
func drawTree(g graph) (string, error) {
	in := make(map[bloodbank.EventID]bool, len(g.Nodes))
	for _, n := range g.Nodes {
		in[n.ID] = true
	}
	children := make(map[bloodbank.EventID][]client.Node)
	var roots []client.Node
	for _, n := range g.Nodes {
		at := slices.IndexFunc(n.Parents, func(p bloodbank.EventID) bool { return in[p] })
		if at < 0 {
			roots = append(roots, n)
			continue
		}
		children[n.Parents[at]] = append(children[n.Parents[at]], n)
	}
	t := treePrinter{children: children, start: g.Start, drawn: make(map[bloodbank.EventID]bool)}
	for _, n := range roots {
		t.draw(n, "", "")
	}
	for _, n := range g.Nodes { // what only a cycle holds
		if !t.drawn[n.ID] {
			t.draw(n, "", "")
		}
	}
	return t.b.String(), nil
}

type treePrinter struct {
	b        strings.Builder
	children map[bloodbank.EventID][]client.Node
	start    bloodbank.EventID
	drawn    map[bloodbank.EventID]bool
}

func (t *treePrinter) draw(n client.Node, first, rest string) {
	t.drawn[n.ID] = true
	mark := ""
	if n.ID == t.start {
		mark = "  ◀ here"
	}
	also := ""
	if len(n.Parents) > 1 {
		var names []string
		for _, p := range n.Parents[1:] {
			names = append(names, p.String()[:8])
		}
		also = "  (also caused by " + strings.Join(names, ", ") + ")"
	}
	t.b.WriteString(first + label(n) + also + mark + "\n")
	kids := t.children[n.ID]
	for i, kid := range kids {
		switch {
		case t.drawn[kid.ID]:
		case i == len(kids)-1:
			t.draw(kid, rest+"└─ ", rest+"   ")
		default:
			t.draw(kid, rest+"├─ ", rest+"│  ")
		}
	}
}

func drawDot(g graph) (string, error) {
	var b strings.Builder
	b.WriteString("digraph trace {\n  rankdir=LR;\n  node [shape=box];\n")
	for _, n := range g.Nodes {
		style := ""
		if !n.Known {
			style = ",style=dashed"
		}
		fmt.Fprintf(&b, "  %q [label=%q%s];\n", n.ID, shortLabel(n), style)
	}
	for _, n := range g.Nodes {
		for _, p := range n.Parents {
			fmt.Fprintf(&b, "  %q -> %q;\n", p, n.ID)
		}
	}
	b.WriteString("}\n")
	return b.String(), nil
}

func drawMermaid(g graph) (string, error) {
	var b strings.Builder
	b.WriteString("graph LR\n")
	name := func(id bloodbank.EventID) string { return "e" + strings.ReplaceAll(id.String(), "-", "") }
	for _, n := range g.Nodes {
		fmt.Fprintf(&b, "  %s[\"%s\"]\n", name(n.ID), strings.ReplaceAll(shortLabel(n), "\n", "<br/>"))
	}
	for _, n := range g.Nodes {
		for _, p := range n.Parents {
			fmt.Fprintf(&b, "  %s --> %s\n", name(p), name(n.ID))
		}
	}
	return b.String(), nil
}

func shortLabel(n client.Node) string {
	if !n.Known {
		return n.ID.String()[:8] + "\n(not stored)"
	}
	return string(n.Type) + "\n" + n.ID.String()[:8]
}
