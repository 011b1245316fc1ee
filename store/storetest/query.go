package storetest

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

func parse(t testing.TB, text string) store.Filter {
	t.Helper()
	f, err := store.ParseFilter(text, start())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// matches runs a filter on events that carry their number as payload.n or as
// needle<n>, and compares the numbers with want in the order of insertion. A
// small limit makes several pages of it.
func (k *kit) matches(filter string, order store.Order, want ...int) {
	k.Helper()
	f := parse(k, filter)
	var expect, got []int64
	for i, e := range ReadAll(k, k.Store) {
		if f.Match(&e.Envelope) != slices.Contains(want, i) {
			k.Fatalf("%s: Match itself does not agree on event %d: %s", filter, i, e.Raw)
		}
		if slices.Contains(want, i) {
			expect = append(expect, e.Sequence)
		}
	}
	for _, e := range AllPages(k, k.Store, store.Query{Filter: f, Order: order, Limit: 3}) {
		got = append(got, e.Sequence)
	}
	if order == store.NewestFirst {
		slices.Reverse(got)
	}
	if !slices.Equal(got, expect) {
		k.Fatalf("%s: got sequences %v, want %v", filter, got, expect)
	}
}

func testPages(t *testing.T, k *kit) {
	k.add(k.events(257, nil)...)
	for _, order := range []store.Order{"", store.NewestFirst, store.OldestFirst} {
		for _, limit := range []int{0, 1, 100, 256, 257, 258} {
			got := AllPages(t, k.Store, store.Query{Order: order, Limit: limit})
			if len(got) != 257 {
				t.Fatalf("%d events in pages of %d", len(got), limit)
			}
			if got[0].Sequence > got[256].Sequence == (order == store.OldestFirst) {
				t.Fatalf("order %q begins with %d", order, got[0].Sequence)
			}
		}
	}
	page, err := k.Query(t.Context(), store.Query{})
	if err != nil || len(page.Events) != store.DefaultLimit || page.Next == "" {
		t.Fatalf("%d events by default, next %q, %v", len(page.Events), page.Next, err)
	}
	page, err = k.Query(t.Context(), store.Query{Limit: 257})
	if err != nil || page.Next != "" {
		t.Fatalf("a page that holds all has next %q, %v", page.Next, err)
	}
}

func testEqualTimes(t *testing.T, k *kit) {
	k.add(k.events(60, func(i int, e *bloodbank.Envelope) {
		e.Timestamp = start().Add(time.Duration(i/20) * time.Microsecond)
		e.Payload = []byte(`{"session_id":"s"}`)
	})...)
	for _, filter := range []string{"", "session:s", "type:test.*", "suite", "-suite", "made", "payload.session_id:s"} {
		for _, order := range []store.Order{store.NewestFirst, store.OldestFirst} {
			q := store.Query{Filter: parse(t, filter), Order: order, Limit: 7}
			seen := map[int64]bool{}
			for _, e := range AllPages(t, k.Store, q) {
				seen[e.Sequence] = true
			}
			if want := map[bool]int{true: 0, false: 60}[filter == "suite"]; len(seen) != want {
				t.Fatalf("%q: %d events of %d", filter, len(seen), want)
			}
		}
	}
}

func testPagesUnderInserts(t *testing.T, k *kit) {
	k.add(k.events(100, func(i int, e *bloodbank.Envelope) { e.Timestamp = start().Add(time.Duration(i%10) * time.Hour) })...)
	first := map[int64]bool{}
	for _, e := range ReadAll(t, k.Store) {
		first[e.Sequence] = true
	}
	for _, order := range []store.Order{store.NewestFirst, store.OldestFirst} {
		q := store.Query{Filter: parse(t, "type:*.made"), Order: order, Limit: 9}
		seen := map[int64]bool{}
		for n := 0; ; n++ {
			page, err := k.Query(t.Context(), q)
			k.code(err, "")
			for _, e := range page.Events {
				if seen[e.Sequence] {
					t.Fatalf("sequence %d came twice", e.Sequence)
				}
				seen[e.Sequence] = true
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				break
			}
			// A bounded number, or an ascending walk would chase them for ever.
			if n < 10 {
				k.add(k.events(4, func(i int, e *bloodbank.Envelope) { e.Timestamp = start().Add(time.Duration(i*3) * time.Hour) })...)
			}
		}
		for seq := range first {
			if !seen[seq] {
				t.Fatalf("sequence %d was there from the start and never came", seq)
			}
		}
	}
}

func testBadCursors(t *testing.T, k *kit) {
	k.add(k.events(10, nil)...)
	page, err := k.Query(t.Context(), store.Query{Limit: 2, Filter: parse(t, "type:test.* since:1h")})
	k.code(err, "")
	for _, q := range []store.Query{
		{Cursor: page.Next},
		{Cursor: page.Next, Filter: parse(t, "type:other.*")},
		{Cursor: page.Next, Filter: parse(t, "type:test.* since:1h"), Order: store.OldestFirst},
		{Cursor: "nonsense"}, {Cursor: strings.Repeat("A", 34)}, {Cursor: page.Next + "A"}, {Cursor: "' OR 1=1"},
	} {
		_, err := k.Query(t.Context(), q)
		k.code(err, bloodbank.CodeInvalid)
	}
	// The same filter a minute later: its relative time is another.
	later, err := store.ParseFilter("type:test.* since:1h", start().Add(time.Minute))
	k.code(err, "")
	next, err := k.Query(t.Context(), store.Query{Limit: 2, Filter: later, Cursor: page.Next})
	if err != nil || len(next.Events) != 2 || next.Events[0].Sequence >= page.Events[1].Sequence {
		t.Fatalf("%+v, %v", next, err)
	}
}

func testBadQueries(t *testing.T, k *kit) {
	for _, q := range []store.Query{{Limit: -1}, {Limit: store.MaxLimit + 1}, {Order: "sideways"}} {
		_, err := k.Query(t.Context(), q)
		k.code(err, bloodbank.CodeInvalid)
	}
}

func testVectors(t *testing.T, k *kit) {
	data, err := os.ReadFile("../testdata/filter_vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Now    time.Time
		Events map[string]json.RawMessage
		Match  []struct {
			Filter string
			Events []string
		}
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	names := map[bloodbank.EventID]string{}
	for name, raw := range v.Events {
		e := decoded(t, raw)
		names[e.Envelope.EventID] = name
		k.add(e)
	}
	if len(v.Match) < 50 || len(names) < 4 {
		t.Fatalf("only %d vectors and %d events were read", len(v.Match), len(names))
	}
	for _, c := range v.Match {
		f, err := store.ParseFilter(c.Filter, v.Now)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range AllPages(t, k.Store, store.Query{Filter: f, Limit: 2}) {
			got = append(got, names[e.Envelope.EventID])
		}
		slices.Sort(got)
		if want := slices.Sorted(slices.Values(c.Events)); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", c.Filter, got, want)
		}
	}
}

func testFields(t *testing.T, k *kit) {
	parent := newID(t)
	name, empty := "scout", ""
	events := k.events(8, func(i int, e *bloodbank.Envelope) {
		e.Payload = fmt.Appendf(nil, `{"session_id":"s%d","text":"turn on the lights %d"}`, i%3, i)
		switch i {
		case 1:
			e.EventType, e.Source.App = "agent.tool.failed", ""
		case 2:
			e.CorrelationIDs = []bloodbank.EventID{newID(t), parent}
		case 3:
			e.AgentContext = &bloodbank.AgentContext{Type: bloodbank.AgentClaudeCode, Name: &name}
		case 4:
			e.ReplayOf, e.Source.Host = newID(t), "other.box"
		case 5:
			e.AgentContext = &bloodbank.AgentContext{Type: bloodbank.AgentCustom, Name: &empty}
			e.Source.Type = bloodbank.SourceAgent
		case 6:
			e.AgentContext = &bloodbank.AgentContext{Type: bloodbank.AgentCustom}
			e.Payload = []byte(`{"project":"bank","list":["red","green"],"n":5,"deep":{"k.v":true}}`)
		case 7:
			e.EventType, e.Payload = "llm.answer.error", []byte(`{"session_id":7,"project":null}`)
		}
	})
	k.add(events...)
	id := events[3].Envelope.EventID.String()
	for _, c := range []struct {
		filter string
		want   []int
	}{
		{"", []int{0, 1, 2, 3, 4, 5, 6, 7}},
		{"type:agent.tool.failed", []int{1}}, {"type:agent.*,llm.*", []int{1, 7}}, {"-type:test.*", []int{1, 7}}, {"type:no.*", nil}, {"-type:no.*", []int{0, 1, 2, 3, 4, 5, 6, 7}},
		{"topic:*.tool.#", []int{1}}, {"topic:#", []int{0, 1, 2, 3, 4, 5, 6, 7}}, {"-topic:test.#", []int{1, 7}},
		{"app:suite", []int{0, 2, 3, 4, 5, 6, 7}}, {"-app:suite", []int{1}}, {`app:""`, []int{1}}, {"app:*", []int{0, 1, 2, 3, 4, 5, 6, 7}},
		{"host:other.box", []int{4}}, {"host:*box -host:box", []int{4}}, {"source:agent", []int{5}},
		{"agent:scout", []int{3}}, {"agent:custom", []int{5, 6}}, {"agent:*", []int{3, 5, 6}}, {`agent:""`, []int{5}}, {"-agent:*", []int{0, 1, 2, 4, 7}}, {"agent:nobody", nil},
		{"session:s1", []int{1, 4}}, {`session:""`, []int{6, 7}}, {"session:s1,s2", []int{1, 2, 4, 5}}, {"-session:s0,s1", []int{2, 5, 6, 7}}, {"session:s9", nil},
		{"project:bank", []int{6}}, {"-project:bank", []int{0, 1, 2, 3, 4, 5, 7}},
		{"id:" + id, []int{3}}, {"-id:" + id, []int{0, 1, 2, 4, 5, 6, 7}}, {"id:" + newID(t).String(), nil},
		{"parent:" + parent.String(), []int{2}}, {"-parent:" + parent.String(), []int{0, 1, 3, 4, 5, 6, 7}}, {"parent:" + parent.String() + " lights", []int{2}},
		{"is:failed", []int{1, 7}}, {"is:replayed", []int{4}}, {"is:failed,replayed", []int{1, 4, 7}}, {"-is:failed", []int{0, 2, 3, 4, 5, 6}},
		{"has:parents", []int{2}}, {"has:agent", []int{3, 5, 6}}, {"-has:agent,parents", []int{0, 1, 4, 7}}, {"has:payload.list", []int{6}}, {"has:payload.project", []int{6}},
		{"payload.list:green", []int{6}}, {"payload.n:5", []int{6}}, {`payload.deep."k.v":true`, []int{6}}, {"payload.text:*lights*", []int{0, 1, 2, 3, 4, 5}},
		{`payload.text:"turn on the lights 2"`, []int{2}}, {`payload.text:"Turn on the lights 2"`, nil}, {`-payload.list:red`, []int{0, 1, 2, 3, 4, 5, 7}},
		{"since:" + stamp(3), []int{2, 3, 4, 5, 6, 7}}, {"until:" + stamp(3), []int{0, 1, 2}}, {"since:" + stamp(3) + " until:" + stamp(4), []int{2, 3}}, {"-since:" + stamp(3), []int{0, 1}},
		{"lights", []int{0, 1, 2, 3, 4, 5}}, {"LIGHTS 3", []int{3}}, {`"the lights"`, []int{0, 1, 2, 3, 4, 5}}, {`"lights the"`, nil}, {"light*", []int{0, 1, 2, 3, 4, 5}}, {"light", nil},
		{"-lights", []int{6, 7}}, {"failed", []int{1}}, {"text:red,3", []int{3, 6}}, {"session_id", nil}, {"type:test.* session:s1 lights", []int{4}},
	} {
		k.matches(c.filter, store.NewestFirst, c.want...)
		k.matches(c.filter, store.OldestFirst, c.want...)
	}
}

// stamp is the time of the n-th event.
func stamp(n int) string {
	return bloodbank.FormatTimestamp(start().Add(time.Duration(n) * time.Second))
}

func testNumbers(_ *testing.T, k *kit) {
	numbers := []string{"9223372036854775807", "9223372036854775806", "9007199254740993", "9007199254740992", "-1", "0.5", "5e-1", `"5"`, "1e3", "18446744073709551616"}
	k.add(k.events(len(numbers), func(i int, e *bloodbank.Envelope) { e.Payload = fmt.Appendf(nil, `{"v":%s}`, numbers[i]) })...)
	k.matches("payload.v:9223372036854775807", store.OldestFirst, 0)
	k.matches("payload.v:9007199254740993", store.OldestFirst, 2)
	k.matches("payload.v:>9007199254740992", store.OldestFirst, 0, 1, 2, 9)
	k.matches("payload.v:>=9223372036854775806", store.OldestFirst, 0, 1, 9)
	k.matches("payload.v:0.5", store.OldestFirst, 5, 6)
	k.matches("payload.v:5", store.OldestFirst, 7)
	k.matches(`payload.v:"5"`, store.OldestFirst, 7)
	k.matches("payload.v:<1", store.OldestFirst, 4, 5, 6)
	k.matches("payload.v:1000", store.OldestFirst, 8)
	k.matches("payload.v:>=1000 payload.v:<2000", store.OldestFirst, 8)
}

// No text is ever syntax of the database.
func testHostile(t *testing.T, k *kit) {
	k.add(k.events(3, func(i int, e *bloodbank.Envelope) {
		e.Payload = []byte([]string{`{"text":"robert'); DROP TABLE events; --"}`, `{"text":"NEAR AND OR NOT words : col"}`, `{"te'xt\"":"50% *_*"}`}[i])
	})...)
	for _, text := range []string{
		`"`, `""`, `'`, `'; DROP TABLE events; --`, `a" OR "b`, `NEAR(a b)`, `AND`, `OR OR OR`, `NOT x`, `words:x`, `{words}:x`, `x* y*`, `^x`, `(`, `)`, `a + b`, `-`, `--`,
		"\x00", "a\x00b", `\`, `%`, `_`, `payload.a'b:1`, `payload."a\"b":x`, `app:'%'`, `app:"[a-z]"`, `type:?.*`, `host:[*]`, `session:"' OR '1'='1"`, "¶", "ﬀ", "\u202e",
	} {
		for _, form := range []string{text, fmt.Sprintf("%q", text), "text:" + text, "app:" + text, "-host:" + text, "payload.text:" + text} {
			f, err := store.ParseFilter(form, start())
			if err != nil {
				continue
			}
			k.agree(t, f)
		}
	}
	k.matches("drop", store.OldestFirst, 0)
	k.matches("near and or", store.OldestFirst, 1)
	k.matches(`"or not words"`, store.OldestFirst, 1)
	k.matches("50", store.OldestFirst, 2)
}

// agree fails unless the store finds exactly what Match accepts.
func (k *kit) agree(t interface {
	Helper()
	Fatalf(string, ...any)
}, f store.Filter) {
	t.Helper()
	for _, order := range []store.Order{store.NewestFirst, store.OldestFirst} {
		found, err := allPages(k.Context(), k.Store, store.Query{Filter: f, Limit: 5, Order: order})
		if err != nil {
			t.Fatalf("%q: %v", f, err)
		}
		got := map[bloodbank.EventID]bool{}
		for _, e := range found {
			got[e.Envelope.EventID] = true
		}
		want := 0
		for id, raw := range k.raws {
			e, err := bloodbank.DecodeEnvelope(raw)
			if err != nil {
				t.Fatalf("%v", err)
			}
			if match := f.Match(&e); match != got[id] {
				t.Fatalf("%q: Match says %t, the store says %t, of %s", f, match, got[id], raw)
			} else if match {
				want++
			}
		}
		if len(found) != want {
			t.Fatalf("%q: %d events found, %d different", f, len(found), want)
		}
	}
}

// More events with a word than a driver may want to sort.
func testCommonText(t *testing.T, k *kit) {
	for range 11 {
		k.add(k.events(500, func(i int, e *bloodbank.Envelope) {
			e.Payload = fmt.Appendf(nil, `{"text":"common word %d"}`, i%250)
			if i%100 == 0 {
				e.EventType = "test.event.failed"
			}
		})...)
	}
	for filter, want := range map[string]int{
		"common": 5500, `"common word"`: 5500, "common 17": 22, "17": 22, `"word common"`: 0, "common type:*.failed": 55, "is:failed": 55, "com* is:failed": 55, "-common": 0,
		"type:*.made,*.failed": 5500, `payload.text:"common word 17"`: 22,
	} {
		if got := AllPages(t, k.Store, store.Query{Filter: parse(t, filter), Limit: 999}); len(got) != want {
			t.Errorf("%s: %d events, want %d", filter, len(got), want)
		}
	}
}

func testRandomFilters(_ *testing.T, k *kit) {
	words := []string{"red", "green", "blue", "Küche", "λόγος", "日本", "a1", "x-y", "5", "true", "Straße"}
	name := "scout"
	k.add(k.events(60, func(i int, e *bloodbank.Envelope) {
		e.EventType = bloodbank.EventType([]string{"a.b.c", "a.b.failed", "llm.answer", "x.error"}[i%4])
		e.Source.App = []string{"", "one", "two"}[i%3]
		e.Timestamp = start().Add(time.Duration(i%7) * time.Minute)
		w := func(n int) string { return words[(i*n+n)%len(words)] }
		e.Payload = fmt.Appendf(nil, `{"session_id":%q,"k":{"v":[%q,%d]},"text":"%s %s, %s"}`, w(1), w(3), i%6, w(5), w(7), w(11))
		if i%5 == 0 {
			e.AgentContext = &bloodbank.AgentContext{Type: bloodbank.AgentLetta, Name: &name}
		}
		if i > 3 && i%3 == 0 {
			e.CorrelationIDs = []bloodbank.EventID{{15: byte(i % 4), 0: 1}}
		}
	})...)
	rapid.Check(k, func(t *rapid.T) {
		word := rapid.SampledFrom(words)
		term := rapid.Custom(func(t *rapid.T) string {
			text := rapid.SampledFrom([]string{
				"type:a.*", "type:*.failed,x.error", "topic:a.#", "topic:*.*", "app:one,two", `app:""`, "app:*o*", "host:b*", "source:manual", "agent:scout", "agent:l*", "has:agent", "has:parents",
				"has:payload.k.v", "is:failed", "is:replayed", "since:-", "until:+", "parent:01000000-0000-0000-0000-000000000001", "trace:01000000-0000-0000-0000-000000000002", "session:" + word.Draw(t, "session"),
				`payload.k.v:"` + word.Draw(t, "value") + `"`, "payload.k.v:" + word.Draw(t, "value") + ",3", "payload.k.v:>2", "payload.text:*" + word.Draw(t, "part") + "*",
				word.Draw(t, "word"), word.Draw(t, "prefix")[:1] + "*", `"` + word.Draw(t, "one") + " " + word.Draw(t, "two") + `"`, "text:" + word.Draw(t, "one") + "," + word.Draw(t, "two"),
			}).Draw(t, "term")
			text = strings.Replace(text, "since:-", "since:2026-01-27T10:03", 1)
			text = strings.Replace(text, "until:+", "until:2026-01-27T10:02", 1)
			if rapid.Bool().Draw(t, "not") {
				text = "-" + text
			}
			return text
		})
		text := strings.Join(rapid.SliceOfN(term, 1, 3).Draw(t, "terms"), " ")
		f, err := store.ParseFilter(text, start())
		if err != nil {
			t.Skip(err)
		}
		k.agree(t, f)
	})
}
