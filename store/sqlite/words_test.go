package sqlite

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
	x := newIndexer()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-zA-Z0-9 ,._\-]{0,300}`),
			rapid.SampledFrom([]string{"", "Ärger mit Ünïcode", "ΟΔΥΣΣΕΥΣ", "日本語 text", "a\"b\\c\n", "¶", strings.Repeat("Zz", 200)}))
		texts := rapid.SliceOfN(text, 0, 40).Draw(t, "texts")
		payload := map[string]any{
			"session_id": text.Draw(t, "session"), "n": rapid.Float64().Draw(t, "n"),
			text.Draw(t, "name"): map[string]any{"session_id": "inner", "list": texts, "project": text.Draw(t, "inner")},
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
				want[cutWord(w)] = true
			}
		}
		got := strings.Fields(x.read(&e))
		slices.Sort(got)
		if !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
			t.Fatalf("payload %s:\ngot  %q\nwant %q", raw, got, slices.Sorted(maps.Keys(want)))
		}
		if project, _ := payload["project"].(string); x.session != e.SessionID() || x.project != project {
			t.Fatalf("session %q, project %q of %s", x.session, x.project, raw)
		}
	})
}
