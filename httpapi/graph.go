package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/store"
)

// Bounds of a graph.
const (
	usualGraphNodes = 300
	maxGraphNodes   = 3000
	maxGraphEdges   = 20_000
	maxPreview      = 160 // letters
)

// graphAnswer is an event with what caused it and what it caused.
type graphAnswer struct {
	Root  bloodbank.EventID `json:"root"`
	Nodes []graphNode       `json:"nodes"`
	Edges []graphEdge       `json:"edges"`
	// Missing are named as parents and not stored: never published, not here yet,
	// or expired.
	Missing   []bloodbank.EventID `json:"missing"`
	Truncated []graphCut          `json:"truncated"`
	TookMS    float64             `json:"took_ms"`
}

type graphNode struct {
	ID        bloodbank.EventID   `json:"id"`
	Type      bloodbank.EventType `json:"type"`
	Timestamp string              `json:"timestamp"`
	App       string              `json:"app"`
	Agent     string              `json:"agent"`
	Session   string              `json:"session"`
	// Depth is how far it is from the root; below 0 for causes.
	Depth int `json:"depth"`
	// Parents and Children count all, in the answer or not; Children to
	// [store.MaxChildren].
	Parents  int    `json:"parents"`
	Children int    `json:"children"`
	Preview  string `json:"preview"`
}

// graphEdge leads from a parent to a child; Ordinal is the parent's place among
// those that the child names, from 0.
type graphEdge struct {
	From    bloodbank.EventID `json:"from"`
	To      bloodbank.EventID `json:"to"`
	Ordinal int               `json:"ordinal"`
}

// graphCut says that an event has more neighbours than the answer holds.
type graphCut struct {
	ID        bloodbank.EventID `json:"id"`
	Direction string            `json:"direction"` // up | down
	More      int               `json:"more"`
}

// lookuper is what a store offers to find out which events it has.
type lookuper interface {
	Lookup(ctx context.Context, ids []bloodbank.EventID) ([]correlation.Node, error)
}

// graph answers with the events around one.
func (s *Server) graph(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	q, err := s.readGraph(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer, err := s.graphOf(r.Context(), q)
	if bloodbank.CodeOf(err) == bloodbank.CodeNotFound {
		err = bloodbank.Errorf(bloodbank.CodeNotFound, "Event %s not found", q.root)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer.TookMS = float64(time.Since(began).Microseconds()) / 1000
	s.answer(w, http.StatusOK, answer)
}

type graphQuery struct {
	root     bloodbank.EventID
	up, down int // levels
	nodes    int
}

func (s *Server) readGraph(r *http.Request) (q graphQuery, err error) {
	if q.root, err = pathID(r); err != nil {
		return q, err
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, bloodbank.Errorf(bloodbank.CodeInvalid, "the query of the address cannot be read: %w", err)
	}
	if q.up, err = number(query, "up", maxDepth, 0, maxDepth); err != nil {
		return q, err
	}
	if q.down, err = number(query, "down", maxDepth, 0, maxDepth); err != nil {
		return q, err
	}
	if q.nodes, err = number(query, "max_nodes", usualGraphNodes, 1, maxGraphNodes); err != nil {
		return q, err
	}
	if s.o.Tracker == nil {
		err = bloodbank.Errorf(bloodbank.CodeUnavailable, "this server keeps no causes")
	}
	return q, err
}

func (s *Server) graphOf(ctx context.Context, q graphQuery) (graphAnswer, error) {
	g, err := s.walkBoth(ctx, q)
	if err != nil {
		return graphAnswer{}, err
	}
	if err := s.outline(ctx, g); err != nil {
		return graphAnswer{}, err
	}
	outside := g.connect()
	known, err := s.whichExist(ctx, outside)
	if err != nil {
		return graphAnswer{}, err
	}
	g.settle(known)
	return g.answer, nil
}

// graphBuild is a graph that is being put together.
type graphBuild struct {
	answer  graphAnswer
	chain   []correlation.Node // of the known nodes, in order; the answer's nodes stand in the same
	missing map[bloodbank.EventID]bool
	place   map[bloodbank.EventID]int // in both lists
	beyond  [][]bloodbank.EventID     // for each node the parents to which no edge leads
}

// walkBoth walks up and down. Where both together are too many, each side has
// half, or what the other leaves; the nearest stay.
func (s *Server) walkBoth(ctx context.Context, q graphQuery) (*graphBuild, error) {
	up, err := s.o.Tracker.Chain(ctx, q.root, correlation.Ancestors, correlation.Limits{MaxDepth: q.up + 1, MaxNodes: q.nodes})
	if err != nil {
		return nil, err
	}
	down, err := s.o.Tracker.Chain(ctx, q.root, correlation.Descendants, correlation.Limits{MaxDepth: q.down + 1, MaxNodes: q.nodes})
	if err != nil {
		return nil, err
	}
	half := (q.nodes + 1) / 2
	forUp := max(half, q.nodes-len(down.Nodes)+1) // the root stands in both
	causes := nearest(up.Nodes, min(forUp, q.nodes))
	g := &graphBuild{missing: map[bloodbank.EventID]bool{}, place: map[bloodbank.EventID]int{}}
	g.answer = graphAnswer{Root: q.root, Nodes: []graphNode{}, Edges: []graphEdge{}, Missing: []bloodbank.EventID{}, Truncated: []graphCut{}}
	g.add(causes, -1)
	g.add(nearest(down.Nodes, q.nodes-len(causes)+1), 1)
	return g, nil
}

// nearest keeps n nodes, by depth, in the order that they have.
func nearest(nodes []correlation.Node, n int) []correlation.Node {
	if len(nodes) <= n {
		return nodes
	}
	byDepth := make([]int, len(nodes))
	for i := range byDepth {
		byDepth[i] = i
	}
	slices.SortStableFunc(byDepth, func(a, b int) int { return cmp.Compare(nodes[a].Depth, nodes[b].Depth) })
	byDepth = byDepth[:n]
	slices.Sort(byDepth)
	kept := make([]correlation.Node, n)
	for i, at := range byDepth {
		kept[i] = nodes[at]
	}
	return kept
}

// add takes one side of the graph; a node of a cycle is in both, and stays where
// it came first.
func (g *graphBuild) add(nodes []correlation.Node, sign int) {
	for _, n := range nodes {
		if _, twice := g.place[n.ID]; twice || g.missing[n.ID] {
			continue
		}
		if !n.Known {
			g.missing[n.ID] = true
			continue
		}
		g.place[n.ID] = len(g.chain)
		g.chain = append(g.chain, n)
		g.answer.Nodes = append(g.answer.Nodes, graphNode{
			ID: n.ID, Type: n.Type, Timestamp: bloodbank.FormatTimestamp(n.Timestamp), App: n.App,
			Depth: sign * n.Depth, Parents: len(n.Parents),
		})
	}
}

// outline fills in what only the store knows.
func (s *Server) outline(ctx context.Context, g *graphBuild) error {
	outliner, ok := s.o.Store.(store.Outliner)
	if !ok || len(g.chain) == 0 {
		return nil
	}
	ids := make([]bloodbank.EventID, len(g.chain))
	for i := range g.chain {
		ids[i] = g.chain[i].ID
	}
	outlines, err := outliner.Outlines(ctx, ids)
	if err != nil {
		return err
	}
	for i := range outlines {
		o := &outlines[i]
		n := &g.answer.Nodes[g.place[o.ID]]
		n.Agent, n.Session, n.Children = o.Agent, o.Session, o.Children
		if e, err := bloodbank.DecodeEnvelope(o.Raw); err == nil {
			n.Preview = preview(e.Payload)
		}
	}
	return nil
}

// connect makes the edges, and returns the parents that no walk has met.
func (g *graphBuild) connect() (outside []bloodbank.EventID) {
	seen := map[bloodbank.EventID]bool{}
	g.beyond = make([][]bloodbank.EventID, len(g.chain))
	for i := range g.chain {
		for ordinal, parent := range g.chain[i].Parents {
			_, here := g.place[parent]
			here = here || g.missing[parent]
			if here && g.edge(parent, g.chain[i].ID, ordinal) {
				continue
			}
			g.beyond[i] = append(g.beyond[i], parent)
			if !here && !seen[parent] && len(outside) < maxGraphNodes {
				seen[parent] = true
				outside = append(outside, parent)
			}
		}
	}
	return outside
}

// edge reports false where there are too many already.
func (g *graphBuild) edge(from, to bloodbank.EventID, ordinal int) bool {
	if len(g.answer.Edges) == maxGraphEdges {
		return false
	}
	g.answer.Edges = append(g.answer.Edges, graphEdge{From: from, To: to, Ordinal: ordinal})
	return true
}

// whichExist tells parents that are stored from those that are missing. Where
// nobody can tell, none is said to be missing.
func (s *Server) whichExist(ctx context.Context, ids []bloodbank.EventID) (map[bloodbank.EventID]bool, error) {
	known := make(map[bloodbank.EventID]bool, len(ids))
	finder, ok := s.o.Store.(lookuper)
	if !ok || len(ids) == 0 {
		for _, id := range ids {
			known[id] = true
		}
		return known, nil
	}
	nodes, err := finder.Lookup(ctx, ids)
	for i := range nodes {
		known[nodes[i].ID] = true
	}
	for _, id := range ids {
		if !known[id] {
			known[id] = false // it was asked for
		}
	}
	return known, err
}

// settle says what is missing and what was cut. known has an entry for each
// parent that was asked for.
func (g *graphBuild) settle(known map[bloodbank.EventID]bool) {
	for i, parents := range g.beyond {
		more := map[bloodbank.EventID]bool{}
		for _, parent := range parents {
			if exists, asked := known[parent]; asked && !exists {
				g.missing[parent] = true
				if g.edge(parent, g.chain[i].ID, slices.Index(g.chain[i].Parents, parent)) {
					continue
				}
			}
			more[parent] = true
		}
		if len(more) > 0 {
			g.answer.Truncated = append(g.answer.Truncated, graphCut{g.chain[i].ID, "up", len(more)})
		}
	}
	for id := range g.missing {
		g.answer.Missing = append(g.answer.Missing, id)
	}
	slices.SortFunc(g.answer.Missing, func(a, b bloodbank.EventID) int { return bytes.Compare(a[:], b[:]) })
	children := map[bloodbank.EventID]int{}
	counted := map[[2]bloodbank.EventID]bool{}
	for _, e := range g.answer.Edges {
		if pair := [2]bloodbank.EventID{e.From, e.To}; !counted[pair] {
			counted[pair] = true
			children[e.From]++
		}
	}
	for i := range g.answer.Nodes {
		n := &g.answer.Nodes[i]
		if more := n.Children - children[n.ID]; more > 0 {
			g.answer.Truncated = append(g.answer.Truncated, graphCut{n.ID, "down", more})
		}
	}
}

// preview shows what was said, where the payload says something, else its
// beginning.
func preview(payload []byte) string {
	var said struct {
		Text, Prompt, Response, Message, Error any
	}
	if json.Unmarshal(payload, &said) == nil {
		for _, v := range []any{said.Text, said.Prompt, said.Response, said.Message, said.Error} {
			if text, ok := v.(string); ok && text != "" {
				return firstLetters(text)
			}
		}
	}
	return firstLetters(string(payload[:min(len(payload), 4*maxPreview)]))
}

// firstLetters cuts text to the size of a preview, on one line.
func firstLetters(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text[:min(len(text), 16*maxPreview)], "")), " ")
	n := 0
	for i := range text {
		if n == maxPreview {
			return text[:i]
		}
		n++
	}
	return text
}
