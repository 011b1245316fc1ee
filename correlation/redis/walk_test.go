package redis

import (
	"regexp"
	"strconv"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
)

// line returns links of n events, each the cause of the next.
func line(tb testing.TB, n int) ([]bloodbank.EventID, []Link) {
	tb.Helper()
	ids := newIDs(tb, n)
	var links []Link
	for i := 1; i < n; i++ {
		links = append(links, Link{Child: ids[i], Parents: ids[i-1 : i]})
	}
	return ids, links
}

// tree returns links of n events; ids[i] is the cause of 2i+1 and 2i+2.
func tree(tb testing.TB, n int) ([]bloodbank.EventID, []Link) {
	tb.Helper()
	ids := newIDs(tb, n)
	var links []Link
	for i := 1; i < n; i++ {
		at := (i - 1) / 2
		links = append(links, Link{Child: ids[i], Parents: ids[at : at+1]})
	}
	return ids, links
}

// calls returns how many commands Redis has been sent: scripts and all others,
// those from within scripts not counted.
func calls(t *testing.T, c *goredis.Client) (scripts int) {
	t.Helper()
	info := must(c.Info(t.Context(), "commandstats").Result())(t)
	for _, m := range regexp.MustCompile(`cmdstat_eval(?:sha)?:calls=(\d+)`).FindAllStringSubmatch(info, -1) {
		scripts += must(strconv.Atoi(m[1]))(t)
	}
	return scripts
}

// T1: one round trip for each node. A thousand nodes take one or a few, and no
// run of the script goes on for long.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	tracker, c, _ := setup(t, Options{})
	deep, deepLinks := line(t, 3500)
	wide, wideLinks := tree(t, 1023)
	if err := tracker.Add(t.Context(), append(deepLinks, wideLinks...)...); err != nil {
		t.Fatal(err)
	}
	all := correlation.Limits{MaxDepth: 10_000}
	for _, step := range []struct {
		name        string
		from        bloodbank.EventID
		d           correlation.Direction
		nodes       int
		least, most int
	}{
		{"line of 1,000, up", deep[999], correlation.Ancestors, 1000, 1, 2}, // the first run has to send the script
		{"line of 1,000, down", deep[2500], correlation.Descendants, 1000, 1, 1},
		{"tree", wide[0], correlation.Descendants, 1023, 1, 1},
		{"line of 3,500, up", deep[3499], correlation.Ancestors, 3500, 4, 4},
		{"line of 3,500, down", deep[0], correlation.Descendants, 3500, 4, 4},
	} {
		before := calls(t, c)
		chain := must(tracker.Chain(t.Context(), step.from, step.d, all))(t)
		if used := calls(t, c) - before; len(chain.Nodes) != step.nodes || used < step.least || used > step.most {
			t.Errorf("%s: %d nodes with %d runs of the script, want %d with %d to %d", step.name, len(chain.Nodes), used, step.nodes, step.least, step.most)
		}
	}
}

// A cycle that is longer than one run of the script ends all the same.
func TestLongCycle(t *testing.T) {
	t.Parallel()
	tracker, _, _ := setup(t, Options{})
	ids, links := line(t, 2500)
	if err := tracker.Add(t.Context(), append(links, Link{Child: ids[0], Parents: ids[2499:]})...); err != nil {
		t.Fatal(err)
	}
	for _, d := range []correlation.Direction{correlation.Ancestors, correlation.Descendants} {
		chain := must(tracker.Chain(t.Context(), ids[0], d, correlation.Limits{MaxDepth: 10_000}))(t)
		if len(chain.Nodes) != 2500 || !chain.Cyclic || chain.Truncated {
			t.Errorf("%s: %d nodes, cyclic %t, truncated %t", d, len(chain.Nodes), chain.Cyclic, chain.Truncated)
		}
	}
}

// A hot parent below others, with more children than one run may read.
func TestHotParentBelow(t *testing.T) {
	t.Parallel()
	tracker, _, _ := setup(t, Options{})
	ids, links := line(t, 4)
	for _, id := range newIDs(t, 2500) {
		links = append(links, Link{Child: id, Parents: ids[2:4]})
	}
	if err := tracker.Add(t.Context(), links...); err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[int]int{0: 2504, 2504: 2504, 2503: 2503, 100: 100, 4: 4} {
		chain := must(tracker.Chain(t.Context(), ids[0], correlation.Descendants, correlation.Limits{MaxNodes: limit}))(t)
		if len(chain.Nodes) != want || chain.Truncated != (want < 2504) {
			t.Errorf("limit %d: %d nodes, truncated %t", limit, len(chain.Nodes), chain.Truncated)
		}
	}
	if got := must(tracker.Children(t.Context(), ids[3]))(t); len(got) != 2500 {
		t.Errorf("%d children", len(got))
	}
}

// Redis forgets scripts when it restarts.
func TestScriptIsSentAgain(t *testing.T) {
	t.Parallel()
	tracker, c, _ := setup(t, Options{})
	ids, links := line(t, 3)
	if err := tracker.Add(t.Context(), links...); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		must(c.ScriptFlush(t.Context()).Result())(t)
		chain := must(tracker.Chain(t.Context(), ids[2], correlation.Ancestors, correlation.Limits{}))(t)
		if len(chain.Nodes) != 3 {
			t.Errorf("%+v", chain)
		}
	}
}
