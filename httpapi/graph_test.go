package httpapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/httpapi"
	"github.com/33god/bloodbank/store"
)

type graph struct {
	Root  bloodbank.EventID
	Nodes []struct {
		ID                       bloodbank.EventID
		Type, Timestamp, App     string
		Agent, Session, Preview  string
		Depth, Parents, Children int
	}
	Edges []struct {
		From, To bloodbank.EventID
		Ordinal  int
	}
	Missing   []bloodbank.EventID
	Truncated []struct {
		ID        bloodbank.EventID
		Direction string
		More      int
	}
	Took *float64 `json:"took_ms"`
}

// weave stores events that are called by single letters. "c:ab" is an event c
// with the parents a and b; a letter in capitals is never stored.
func (b *bundle) weave(events ...string) (ids map[rune]bloodbank.EventID) {
	b.t.Helper()
	ids = map[rune]bloodbank.EventID{}
	id := func(name rune) bloodbank.EventID {
		if _, ok := ids[name]; !ok {
			fresh, err := bloodbank.NewEventID()
			must(b.t, err)
			ids[name] = fresh
		}
		return ids[name]
	}
	b.fill(len(events), func(i int, e *bloodbank.Envelope) {
		name, parents, _ := strings.Cut(events[i], ":")
		e.EventID = id([]rune(name)[0])
		for _, p := range parents {
			e.CorrelationIDs = append(e.CorrelationIDs, id(p))
		}
		e.Payload = fmt.Appendf(nil, `{"session_id":"s","text":"I am %s"}`, name)
	})
	return ids
}

func (b *bundle) graph(ids map[rune]bloodbank.EventID, root rune, query string) (g graph, text string) {
	b.t.Helper()
	b.into(b.do("GET", "/events/"+ids[root].String()+"/graph"+query, ""), 200, &g)
	name := func(id bloodbank.EventID) string {
		for r, known := range ids {
			if known == id {
				return string(r)
			}
		}
		return "?"
	}
	var nodes, edges, missing, cuts []string
	for _, n := range g.Nodes {
		nodes = append(nodes, fmt.Sprintf("%s%d/%d/%d", name(n.ID), n.Depth, n.Parents, n.Children))
	}
	for _, e := range g.Edges {
		edges = append(edges, fmt.Sprintf("%s%s%d", name(e.From), name(e.To), e.Ordinal))
	}
	for _, id := range g.Missing {
		missing = append(missing, name(id))
	}
	for _, c := range g.Truncated {
		cuts = append(cuts, fmt.Sprintf("%s%s%d", name(c.ID), c.Direction, c.More))
	}
	for _, list := range [][]string{nodes, edges, missing, cuts} {
		slices.Sort(list)
	}
	return g, strings.Join(nodes, " ") + " | " + strings.Join(edges, " ") + " | " + strings.Join(missing, " ") + " | " + strings.Join(cuts, " ")
}

func TestGraph(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := b.weave("a", "b:a", "c:aX", "d:bc", "e:d", "f:dg", "g", "h:b", "i:eYi", "z:z")
	for _, c := range []struct {
		root        rune
		query, want string
	}{
		{'d', "", "a-2/0/2 b-1/1/2 c-1/2/1 d0/2/2 e1/1/1 f1/2/0 i2/3/1 | Xc1 Yi1 ab0 ac0 bd0 cd1 de0 df0 ei0 ii2 | X Y | bdown1 fup1"},
		{'d', "?up=0&down=1", "d0/2/2 e1/1/1 f1/2/0 | de0 df0 |  | dup2 edown1 fup1"},
		{'d', "?up=1&down=0", "b-1/1/2 c-1/2/1 d0/2/2 | Xc1 bd0 cd1 | X | bdown1 bup1 cup1 ddown2"},
		{'d', "?max_nodes=1", "d0/2/2 |  |  | ddown2 dup2"},
		{'g', "", "f1/2/0 g0/0/1 | gf1 |  | fup1"},
		{'z', "", "z0/1/1 | zz0 |  | "},
		{'X', "", "c1/2/1 d2/2/2 e3/1/1 f3/2/0 i4/3/1 | Xc1 Yi1 cd1 de0 df0 ei0 ii2 | X Y | cup1 dup1 fup1"},
	} {
		g, got := b.graph(ids, c.root, c.query)
		if got != c.want || g.Root != ids[c.root] || g.Took == nil {
			t.Errorf("%c%s:\n got %s\nwant %s", c.root, c.query, got, c.want)
		}
	}
	g, _ := b.graph(ids, 'a', "?down=0")
	if n := g.Nodes[0]; n.Type != "my.own" || n.App != "filler" || n.Session != "s" || n.Preview != "I am a" || n.Timestamp != "2026-01-27T10:00:00.000000Z" {
		t.Errorf("%+v", n)
	}
}

func TestGraphFaults(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path := "/events/" + idA + "/graph"
	checkFailure(t, "unknown", b.do("GET", path, ""), 404, bloodbank.CodeNotFound, idA)
	checkFailure(t, "no id", b.do("GET", "/events/x/graph", ""), 400, bloodbank.CodeInvalid, "UUID")
	for _, query := range []string{"?up=-1", "?down=x", "?max_nodes=0", "?max_nodes=3001"} {
		checkFailure(t, query, b.do("GET", path+query, ""), 400, bloodbank.CodeInvalid, "whole number")
	}
	bare := setup(t, func(o *httpapi.Options) { o.Tracker = nil })
	checkFailure(t, "no tracker", bare.do("GET", path, ""), 503, bloodbank.CodeUnavailable, "causes")
}

// TestGraphBounds: what is wide or long is cut to the bound, the nearest stay, and
// the answer says where and how much.
func TestGraphBounds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := make([]bloodbank.EventID, 5000)
	for i := range ids {
		id, err := bloodbank.NewEventID()
		must(t, err)
		ids[i] = id
	}
	b.fill(len(ids), func(i int, e *bloodbank.Envelope) {
		e.EventID = ids[i]
		switch {
		case i > 2000: // all of them children of 2000
			e.CorrelationIDs = ids[2000:2001]
		case i > 0: // a line
			e.CorrelationIDs = ids[i-1 : i]
		}
	})
	for query, want := range map[string]struct{ nodes, up, down int }{
		"":                {300, 1, 2999 - 150 + 0},
		"?max_nodes=3000": {3000, 1, 2999 - 1500},
		"?max_nodes=2":    {2, 1, 2998},
		"?up=5":           {300, 1, 2999 - 294},
		"?down=0":         {300, 1, 2999},
	} {
		var g graph
		b.into(b.do("GET", "/events/"+ids[2000].String()+"/graph"+query, ""), 200, &g)
		cuts := map[string]int{}
		for _, c := range g.Truncated {
			cuts[c.Direction] += c.More
		}
		if len(g.Nodes) != want.nodes || cuts["up"] != want.up || cuts["down"] != want.down {
			t.Errorf("%s: %d nodes, cut %v; want %+v", query, len(g.Nodes), cuts, want)
		}
		for _, n := range g.Nodes {
			if n.ID == ids[2000] && n.Depth != 0 {
				t.Errorf("%s: the root has depth %d", query, n.Depth)
			}
		}
	}
}

// A store that only does what it must still answers.
func TestGraphOfAPlainStore(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *httpapi.Options) { o.Store = plain{o.Store} })
	ids := b.weave("a", "b:ac", "c")
	if _, got := b.graph(ids, 'a', ""); got != "a0/0/0 b1/2/0 | ab0 |  | bup1" {
		t.Error(got)
	}
}

// plain hides what a store can do beside its contract.
type plain struct{ store.Store }

func TestGraphPreviews(t *testing.T) {
	t.Parallel()
	b := setup(t)
	long := strings.Repeat("ä", 300)
	payloads := map[string]string{
		`{"text":"  two\n words "}`:      "two words",
		`{"text":"","prompt":"p"}`:       "p",
		`{"text":5,"message":"m"}`:       "m",
		`{"n": 1}`:                       `{"n": 1}`,
		`"plain"`:                        `"plain"`,
		`{"response":"` + long + `"}`:    long[:320],
		`{"other":"` + long + `"}`:       `{"other":"` + long[:300],
		`{"error":{"code":"x"},"a":"b"}`: `{"error":{"code":"x"},"a":"b"}`,
	}
	for payload, want := range payloads {
		id, err := bloodbank.NewEventID()
		must(t, err)
		b.fill(1, func(_ int, e *bloodbank.Envelope) { e.EventID, e.Payload = id, []byte(payload) })
		var g graph
		b.into(b.do("GET", "/events/"+id.String()+"/graph", ""), 200, &g)
		if got := g.Nodes[0].Preview; got != want {
			t.Errorf("%s: %q", payload, got)
		}
	}
}
