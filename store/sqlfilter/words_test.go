package sqlfilter

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// TestIndexerFindsTheWordsOfSearchText holds the fast path against the rule.
func TestIndexerFindsTheWordsOfSearchText(t *testing.T) {
	t.Parallel()
	x := Indexer{Cut: func(w string) string { return w[:min(len(w), MaxWord)] }}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-zA-Z0-9 ,._\-]{0,300}`),
			rapid.SampledFrom([]string{"", "Ärger mit Ünïcode", "ΟΔΥΣΣΕΥΣ", "日本語 text", "a\"b\\c\n", "¶", strings.Repeat("Zz", 200), strings.Repeat("日本", 100)}))
		payload := map[string]any{
			"session_id": text.Draw(t, "session"), "n": rapid.Float64().Draw(t, "n"),
			text.Draw(t, "name"): map[string]any{"session_id": "inner", "list": rapid.SliceOfN(text, 0, 40).Draw(t, "texts"), "project": text.Draw(t, "inner")},
		}
		if rapid.Bool().Draw(t, "project") {
			payload["project"] = text.Draw(t, "project")
		}
		raw, err := json.MarshalIndent(payload, " ", "\t")
		if err != nil {
			t.Fatal(err)
		}
		e := bloodbank.Envelope{EventType: "Voice.tested-type.a_b", Payload: raw}
		want := map[string]bool{}
		for _, w := range strings.Fields(store.SearchText(&e)) {
			if w != store.TextBarrier {
				want[x.Cut(w)] = true
			}
		}
		got := strings.Fields(x.Read(&e))
		slices.Sort(got)
		if !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
			t.Fatalf("payload %s:\ngot  %q\nwant %q", raw, got, slices.Sorted(maps.Keys(want)))
		}
		if project, _ := payload["project"].(string); x.Session != e.SessionID() || x.Project != project {
			t.Fatalf("session %q, project %q of %s", x.Session, x.Project, raw)
		}
	})
}

// Beyond MaxBytes the words are cut off, and the event says so.
func TestIndexerOverflows(t *testing.T) {
	t.Parallel()
	x := Indexer{Cut: func(w string) string { return w }, MaxBytes: 20, Overflow: "¶"}
	e := bloodbank.Envelope{EventType: "a.b.c", Payload: []byte(`{"t":["one two","two one seventeen","x"],"session\u005fid":"s","project":7}`)}
	if got := x.Read(&e); got != "a b c one two ¶" || x.Session != "s" || x.Project != "" {
		t.Fatalf("%q, session %q, project %q", got, x.Session, x.Project)
	}
	e.Payload = []byte(`{"t":"one two"}`)
	if got := x.Read(&e); got != "a b c one two " || x.Session != "" {
		t.Fatalf("%q", got)
	}
}
