package redis

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/internal/testenv"
)

// setup returns a tracker on a Redis of its own, and a plain client beside it.
func setup(t *testing.T, o Options) (*Tracker, *goredis.Client, *testenv.RedisServer) {
	t.Helper()
	server := testenv.Redis(t)
	o.Addr = server.Addr()
	return openTest(t, o), plain(t, o.Addr), server
}

func plain(tb testing.TB, addr string) *goredis.Client {
	tb.Helper()
	c := goredis.NewClient(&goredis.Options{Addr: addr, Protocol: 2})
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

func mustID(tb testing.TB, s string) bloodbank.EventID {
	tb.Helper()
	id, err := bloodbank.ParseEventID(s)
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

func newIDs(tb testing.TB, n int) []bloodbank.EventID {
	tb.Helper()
	ids := make([]bloodbank.EventID, n)
	for i := range ids {
		var err error
		if ids[i], err = bloodbank.NewEventID(); err != nil {
			tb.Fatal(err)
		}
	}
	return ids
}

// must is for steps of a test that are not what it is about.
func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

type example struct {
	Commit   string   `json:"commit"`
	Key      string   `json:"key"`
	Value    string   `json:"value"`
	SMembers []string `json:"smembers"`
}

func examples(t *testing.T) []example {
	t.Helper()
	b, err := os.ReadFile("testdata/redis_examples.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Examples []example `json:"examples"`
	}
	if err := json.Unmarshal(b, &file); err != nil || len(file.Examples) < 3 {
		t.Fatalf("%d examples, %v", len(file.Examples), err)
	}
	return file.Examples
}

// TestWritesWhatTheOriginalWrites compares keys, values, kinds and times to live
// with the recorded ones, byte for byte.
func TestWritesWhatTheOriginalWrites(t *testing.T) {
	t.Parallel()
	at := must(time.Parse(time.RFC3339Nano, "2026-01-27T10:00:00.123456Z"))(t)
	tracker, c, _ := setup(t, Options{now: func() time.Time { return at }})
	for _, e := range examples(t) {
		child, forward := strings.CutPrefix(e.Key, forwardPrefix)
		if !forward {
			want := slices.Sorted(slices.Values(e.SMembers))
			if got := must(c.SMembers(t.Context(), e.Key).Result())(t); !slices.Equal(got, want) {
				t.Errorf("%s holds %v, want %v", e.Key, got, want)
			}
			continue
		}
		var value struct {
			Parents  []string        `json:"parent_event_ids"`
			At       string          `json:"created_at"`
			Metadata json.RawMessage `json:"metadata"`
		}
		if err := json.Unmarshal([]byte(e.Value), &value); err != nil {
			t.Fatal(err)
		}
		link := Link{Child: mustID(t, child), Metadata: value.Metadata}
		for _, p := range value.Parents {
			link.Parents = append(link.Parents, mustID(t, p))
		}
		if err := tracker.Add(t.Context(), link); err != nil {
			t.Fatal(err)
		}
		// The first commit wrote naive times, on another day; nobody reads them.
		want := strings.Replace(e.Value, value.At, "2026-01-27T10:00:00.123456+00:00", 1)
		if got := must(c.Get(t.Context(), e.Key).Result())(t); got != want {
			t.Errorf("%s holds\n%s, want\n%s", e.Key, got, want)
		}
		for _, key := range []string{e.Key, reversePrefix + value.Parents[0]} {
			if ttl := must(c.TTL(t.Context(), key).Result())(t); ttl > 2_592_000*time.Second || ttl < 2_591_990*time.Second {
				t.Errorf("%s lives for %s, want 30 days", key, ttl)
			}
		}
	}
	if keys := must(c.Keys(t.Context(), "*").Result())(t); len(keys) != 3 {
		t.Errorf("there are other keys: %v", keys)
	}
}

// TestReadsWhatTheOriginalWrote reads the recorded values of both commits, and
// the same as other JSON writers space them.
func TestReadsWhatTheOriginalWrote(t *testing.T) {
	t.Parallel()
	tracker, c, _ := setup(t, Options{})
	write := func(child, parent, value string) {
		t.Helper()
		must(c.Set(t.Context(), forwardPrefix+child, value, time.Hour).Result())(t)
		must(c.SAdd(t.Context(), reversePrefix+parent, child).Result())(t)
	}
	for _, e := range examples(t) {
		child, forward := strings.CutPrefix(e.Key, forwardPrefix)
		if !forward {
			continue
		}
		var object any
		if err := json.Unmarshal([]byte(e.Value), &object); err != nil {
			t.Fatal(err)
		}
		reordered := must(json.MarshalIndent(object, "", " "))(t) // keys by the alphabet: the parents come last
		spaced := strings.NewReplacer(":", ": ", ",", ", ").Replace(e.Value)
		for _, value := range []string{e.Value, spaced, string(reordered)} {
			parent := "550e8400-e29b-41d4-a716-446655440000"
			write(child, parent, value)
			id, first := mustID(t, child), mustID(t, parent)
			parents := must(tracker.Parents(t.Context(), id))(t)
			up := must(tracker.Chain(t.Context(), id, correlation.Ancestors, correlation.Limits{}))(t)
			down := must(tracker.Chain(t.Context(), first, correlation.Descendants, correlation.Limits{}))(t)
			if len(parents) == 0 || parents[0] != first || len(up.Nodes) != len(parents)+1 || len(down.Nodes) != 2 {
				t.Errorf("%s: parents %v, %d causes, %d effects", value, parents, len(up.Nodes), len(down.Nodes))
			}
		}
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	tracker, _, _ := setup(t, Options{})
	ids := newIDs(t, 3)
	err := tracker.Add(t.Context(), Link{ids[1], ids[:1], json.RawMessage(`{"reason":"a \"]\" b"}`)}, Link{Child: ids[2], Parents: ids[:1]})
	if err != nil {
		t.Fatal(err)
	}
	if got := must(tracker.Metadata(t.Context(), ids[1]))(t); string(got) != `{"reason":"a \"]\" b"}` {
		t.Errorf("%s", got)
	}
	if got := must(tracker.Metadata(t.Context(), ids[2]))(t); string(got) != `{}` {
		t.Errorf("%s", got)
	}
	if _, err := tracker.Metadata(t.Context(), ids[0]); bloodbank.CodeOf(err) != bloodbank.CodeNotFound {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{`[]`, `{`, `"x"`, `{"a":1}}`} {
		err := tracker.Add(t.Context(), Link{ids[1], ids[:1], json.RawMessage(bad)})
		if bloodbank.CodeOf(err) != bloodbank.CodeInvalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// T6: writing a child anew left it in the sets of the parents it had before.
func TestNewParentsReplaceTheOldOnes(t *testing.T) {
	t.Parallel()
	tracker, c, _ := setup(t, Options{})
	ids := newIDs(t, 4)
	a, b, kept, child := ids[0], ids[1], ids[2], ids[3]
	for _, parents := range [][]bloodbank.EventID{{a, kept}, {b, kept}} {
		if err := tracker.Add(t.Context(), Link{Child: child, Parents: parents}); err != nil {
			t.Fatal(err)
		}
	}
	if n := must(c.Exists(t.Context(), reverseKey(a)).Result())(t); n != 0 {
		t.Error("the old parent still has the child")
	}
	for _, p := range []bloodbank.EventID{b, kept} {
		if got := must(tracker.Children(t.Context(), p))(t); !slices.Equal(got, ids[3:]) {
			t.Errorf("%v", got)
		}
	}
	// Within one batch the last one counts, too.
	err := tracker.Add(t.Context(), Link{Child: child, Parents: ids[:1]}, Link{Child: child, Parents: ids[1:2]})
	if got, _ := tracker.Parents(t.Context(), child); err != nil || !slices.Equal(got, ids[1:2]) {
		t.Errorf("%v, %v", got, err)
	}
	if n := must(c.Exists(t.Context(), reverseKey(a)).Result())(t); n != 0 {
		t.Error("a link that was overtaken left a trace")
	}
}

// T7: the sets of a parent kept children whose own keys had expired.
func TestExpiredChildrenAreGone(t *testing.T) {
	t.Parallel()
	tracker, c, _ := setup(t, Options{})
	ids := newIDs(t, 5)
	root, old, moved, young := ids[0], ids[1], ids[2], ids[3]
	if err := tracker.Add(t.Context(), Link{Child: old, Parents: ids[:1]}, Link{Child: moved, Parents: ids[:1]}, Link{Child: young, Parents: ids[:1]}); err != nil {
		t.Fatal(err)
	}
	must(c.Del(t.Context(), forwardKey(old)).Result())(t)
	// A Python service wrote it anew, with another parent.
	must(c.Set(t.Context(), forwardKey(moved), forwardValue(ids[4:], time.Now(), nil), 0).Result())(t)
	chain := must(tracker.Chain(t.Context(), root, correlation.Descendants, correlation.Limits{}))(t)
	if len(chain.Nodes) != 2 || chain.Nodes[1].ID != young {
		t.Errorf("%+v", chain.Nodes)
	}
	if got := must(tracker.Children(t.Context(), root))(t); !slices.Equal(got, ids[3:4]) {
		t.Errorf("%v", got)
	}
	if got := must(c.SMembers(t.Context(), reverseKey(root)).Result())(t); !slices.Equal(got, []string{young.String()}) {
		t.Errorf("the set was not cleared up: %v", got)
	}
	if _, err := tracker.Chain(t.Context(), old, correlation.Ancestors, correlation.Limits{}); bloodbank.CodeOf(err) != bloodbank.CodeNotFound {
		t.Errorf("%v", err)
	}
}

// T8: one malformed member hid all children, and errors looked like no data.
func TestMalformedValuesHideNothing(t *testing.T) {
	t.Parallel()
	tracker, c, _ := setup(t, Options{})
	ids := newIDs(t, 3)
	root, child := ids[0], ids[1]
	if err := tracker.Add(t.Context(), Link{Child: child, Parents: ids[:1]}); err != nil {
		t.Fatal(err)
	}
	must(c.SAdd(t.Context(), reverseKey(root), "rubbish", "", "two\nlines", "zzzzzzzz-0000-4000-8000-000000000000").Result())(t)
	if got := must(tracker.Children(t.Context(), root))(t); !slices.Equal(got, ids[1:2]) {
		t.Errorf("%v", got)
	}
	for value, want := range map[string]int{
		`no JSON`: 0, `[]`: 0, `null`: 0, `{"parent_event_ids":7}`: 0, `{"parent_event_ids":[]}`: 0,
		`{"parent_event_ids":[1,null,"x","` + root.String() + `"],"metadata":{}}`:           1,
		`{"metadata":{"parent_event_ids":[]},"parent_event_ids":["` + root.String() + `"]}`: 1,
	} {
		must(c.Set(t.Context(), forwardKey(child), value, 0).Result())(t)
		parents := must(tracker.Parents(t.Context(), child))(t)
		chain := must(tracker.Chain(t.Context(), child, correlation.Ancestors, correlation.Limits{}))(t)
		if len(parents) != want || len(chain.Nodes) != want+1 {
			t.Errorf("%s: %d parents and %d nodes, want %d and one more", value, len(parents), len(chain.Nodes), want)
		}
	}
}

// Keys of ours that hold something of somebody else break nothing but themselves.
func TestKeysOfAnotherKind(t *testing.T) {
	t.Parallel()
	tracker, c, _ := setup(t, Options{})
	ids := newIDs(t, 4)
	root, taken, child := ids[0], ids[1], ids[2]
	must(c.HSet(t.Context(), reverseKey(taken), "a", "b").Result())(t)
	must(c.LPush(t.Context(), forwardKey(taken), "a").Result())(t)
	if err := tracker.Add(t.Context(), Link{Child: child, Parents: []bloodbank.EventID{root, taken}}, Link{Child: ids[3], Parents: ids[:1]}); err != nil {
		t.Fatal(err)
	}
	if s := tracker.Status(); s.Refused != 1 || s.Written != 1 || !s.Up {
		t.Errorf("%+v", s)
	}
	chain := must(tracker.Chain(t.Context(), child, correlation.Ancestors, correlation.Limits{}))(t)
	if len(chain.Nodes) != 3 {
		t.Errorf("%+v", chain)
	}
	chain = must(tracker.Chain(t.Context(), root, correlation.Descendants, correlation.Limits{}))(t)
	if len(chain.Nodes) != 3 {
		t.Errorf("%+v", chain)
	}
	if _, err := tracker.Children(t.Context(), taken); bloodbank.CodeOf(err) != bloodbank.CodeNotFound {
		t.Errorf("%v", err)
	}
}

// T12: Redis knows nothing of an event without links; the store does.
func TestStoreKnowsMore(t *testing.T) {
	t.Parallel()
	s := &events{byID: map[bloodbank.EventID]correlation.Node{}}
	tracker, _, _ := setup(t, Options{Lookup: s.lookup})
	ids := newIDs(t, 3)
	root, lost := ids[0], ids[1]
	s.add(bloodbank.Envelope{EventID: root, EventType: "a.b.c"}, bloodbank.Envelope{EventID: lost, CorrelationIDs: ids[:1]})
	chain := must(tracker.Chain(t.Context(), root, correlation.Ancestors, correlation.Limits{}))(t)
	if len(chain.Nodes) != 1 || !chain.Nodes[0].Known || chain.Nodes[0].Type != "a.b.c" || chain.Truncated {
		t.Errorf("%+v", chain)
	}
	// A link that Redis has lost is not passed over in silence.
	chain = must(tracker.Chain(t.Context(), lost, correlation.Ancestors, correlation.Limits{}))(t)
	if len(chain.Nodes) != 1 || !chain.Truncated {
		t.Errorf("%+v", chain)
	}
	if err := tracker.Add(t.Context(), Link{Child: ids[2], Parents: ids[1:2]}); err != nil {
		t.Fatal(err)
	}
	chain = must(tracker.Chain(t.Context(), ids[2], correlation.Ancestors, correlation.Limits{}))(t)
	if len(chain.Nodes) != 2 || !chain.Truncated {
		t.Errorf("%+v", chain)
	}
	if err := tracker.Add(t.Context(), Link{Child: lost, Parents: ids[:1]}); err != nil {
		t.Fatal(err)
	}
	chain = must(tracker.Chain(t.Context(), ids[2], correlation.Ancestors, correlation.Limits{}))(t)
	if len(chain.Nodes) != 3 || chain.Truncated {
		t.Errorf("%+v", chain)
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	ids := newIDs(t, 2)
	got := Links(bloodbank.Envelope{EventID: ids[0]}, bloodbank.Envelope{EventID: ids[1], CorrelationIDs: ids[:1]})
	if len(got) != 1 || got[0].Child != ids[1] || !slices.Equal(got[0].Parents, ids[:1]) {
		t.Errorf("%+v", got)
	}
}
