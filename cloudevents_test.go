package bloodbank_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"pgregory.net/rapid"
)

const ceID = "0198c0de-0000-7000-8000-000000000001"

// ce returns a minimal CloudEvent with members added or, where empty, removed.
func ce(changes map[string]string) []byte {
	members := map[string]string{
		"specversion": `"1.0"`, "id": `"` + ceID + `"`, "source": `"/sensors/7"`, "type": `"demo.thing.happened"`, "data": `{"n":1}`,
	}
	maps.Copy(members, changes)
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if members[name] != "" {
			parts = append(parts, `"`+name+`":`+members[name])
		}
	}
	return []byte("{" + strings.Join(parts, ",") + "}")
}

func TestCloudEventIn(t *testing.T) {
	t.Parallel()
	parent, other := ceMustID(t, "0198c0de-0000-7000-8000-0000000000aa"), ceMustID(t, "0198c0de-0000-7000-8000-0000000000bb")
	tests := []struct {
		name    string
		changes map[string]string
		check   func(*testing.T, bloodbank.Envelope)
	}{
		{"minimal", nil, func(t *testing.T, e bloodbank.Envelope) {
			ceEqual(t, e.EventID, ceMustID(t, ceID))
			ceEqual(t, e.EventType, "demo.thing.happened")
			ceEqual(t, string(e.Payload), `{"n":1}`)
			ceEqual(t, e.Source.Host, "unknown")
			ceEqual(t, e.Source.App, "sensors/7")
			ceEqual(t, e.Source.Type, bloodbank.SourceHook)
			ceEqual(t, e.Timestamp.IsZero(), true)
			ceEqual(t, e.Version, "")
			ceEqual(t, ceMember(e, "ce_source"), `"/sensors/7"`)
		}},
		{"source with a host", map[string]string{"source": `"https://box.example:8080/app/x"`}, func(t *testing.T, e bloodbank.Envelope) {
			ceEqual(t, e.Source.Host, "box.example")
			ceEqual(t, e.Source.App, "app/x")
		}},
		{"source of ours", map[string]string{"source": `"bloodbank://box/app"`}, func(t *testing.T, e bloodbank.Envelope) {
			ceEqual(t, e.Source.Host+" "+e.Source.App, "box app")
			ceEqual(t, ceMember(e, "ce_source"), "")
		}},
		{"source whose bytes are no UTF-8", map[string]string{"source": `"http://%ff/%fe"`}, func(t *testing.T, e bloodbank.Envelope) {
			ceEqual(t, e.Source.Host+e.Source.App, "\uFFFD\uFFFD")
		}},
		{"time", map[string]string{"time": `"2026-01-27T11:00:00.5+01:00"`}, func(t *testing.T, e bloodbank.Envelope) {
			ceEqual(t, bloodbank.FormatTimestamp(e.Timestamp), "2026-01-27T10:00:00.500000Z")
		}},
		{"no data", map[string]string{"data": ""}, func(t *testing.T, e bloodbank.Envelope) { ceEqual(t, string(e.Payload), "null") }},
		{"data is text", map[string]string{"data": `"a\nb"`}, func(t *testing.T, e bloodbank.Envelope) { ceEqual(t, string(e.Payload), `"a\nb"`) }},
		{"data keeps its bytes", map[string]string{"data": `{ "z": 12345678901234567890, "a":1.50 }`}, func(t *testing.T, e bloodbank.Envelope) {
			ceEqual(t, string(e.Payload), `{ "z": 12345678901234567890, "a":1.50 }`)
		}},
		{"JSON media types", map[string]string{"datacontenttype": `"application/vnd.x+JSON; charset=utf-8"`}, func(*testing.T, bloodbank.Envelope) {}},
		{"null is absent", map[string]string{"time": "null", "causationid": "null", "x": "null"}, func(t *testing.T, e bloodbank.Envelope) {
			ceEqual(t, e.Timestamp.IsZero(), true)
			ceEqual(t, ceMember(e, "x"), "")
		}},
		{"unknown extensions survive", map[string]string{"subject": `"s"`, "tracestate": `"k=v"`, "sequence": "7", "sampled": "true"}, func(t *testing.T, e bloodbank.Envelope) {
			ceEqual(t, ceMember(e, "subject")+ceMember(e, "tracestate")+ceMember(e, "sequence")+ceMember(e, "sampled"), `"s""k=v"7true`)
		}},
		{"causation is the parent", map[string]string{"causationid": `"` + parent.String() + `"`}, func(t *testing.T, e bloodbank.Envelope) {
			ceEqual(t, e.CorrelationIDs[0], parent)
			ceEqual(t, len(e.CorrelationIDs), 1)
		}},
		{"all parents win over the first", map[string]string{"causationid": `"x"`, "bbparents": `"` + other.String() + ", " + parent.String() + `"`}, func(t *testing.T, e bloodbank.Envelope) {
			ceEqual(t, slices.Equal(e.CorrelationIDs, []bloodbank.EventID{other, parent}), true)
			ceEqual(t, ceMember(e, "causationid"), "")
		}},
		{"causation by a foreign name", map[string]string{"causationid": `"order 7"`, "correlationid": `"flow 9"`}, func(t *testing.T, e bloodbank.Envelope) {
			ceEqual(t, len(e.CorrelationIDs), 0)
			ceEqual(t, ceMember(e, "causationid")+ceMember(e, "correlationid"), `"order 7""flow 9"`)
		}},
		{"id that is no UUID", map[string]string{"id": `"A-1"`}, func(t *testing.T, e bloodbank.Envelope) {
			ceEqual(t, e.EventID.IsZero(), false)
			ceEqual(t, ceMember(e, "ce_id"), `"A-1"`)
		}},
		{"the nil UUID is a foreign id", map[string]string{"id": `"00000000-0000-0000-0000-000000000000"`}, func(t *testing.T, e bloodbank.Envelope) {
			ceEqual(t, e.EventID.IsZero(), false)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := bloodbank.FromCloudEvent(ce(tt.changes))
			if err != nil {
				t.Fatal(err)
			}
			tt.check(t, e)
			ceMustRead(t, e)
		})
	}
}

func TestCloudEventRefused(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", bloodbank.MaxDepth) + strings.Repeat("]", bloodbank.MaxDepth)
	invalid, unsupported := bloodbank.CodeInvalid, bloodbank.CodeUnsupported
	tests := []struct {
		name string
		in   []byte
		code bloodbank.Code
		says string
	}{
		{"empty", nil, invalid, "empty"},
		{"array", []byte(`[]`), invalid, "must be a JSON object"},
		{"cut off", []byte(`{"specversion":"1.0"`), invalid, "malformed JSON"},
		{"two values", append(ce(nil), "{}"...), invalid, "more text"},
		{"member twice", []byte(`{"id":"a","id":"b"}`), invalid, "malformed JSON"},
		{"no specversion", ce(map[string]string{"specversion": ""}), invalid, "specversion"},
		{"other specversion", ce(map[string]string{"specversion": `"0.3"`}), invalid, `"0.3" is not known; send 1.0`},
		{"specversion as a number", ce(map[string]string{"specversion": "1.0"}), invalid, "a number"},
		{"no id", ce(map[string]string{"id": ""}), invalid, "attribute: id"},
		{"empty id", ce(map[string]string{"id": `""`}), invalid, "attribute: id"},
		{"null id", ce(map[string]string{"id": "null"}), invalid, "attribute: id"},
		{"no source", ce(map[string]string{"source": ""}), invalid, "attribute: source"},
		{"source is no URI", ce(map[string]string{"source": `"http://[::1"`}), invalid, "no URI"},
		{"no type", ce(map[string]string{"type": ""}), invalid, "attribute: type"},
		{"type that is no routing key", ce(map[string]string{"type": `"a b"`}), invalid, "event_type"},
		{"bad time", ce(map[string]string{"time": `"yesterday"`}), invalid, "invalid timestamp"},
		{"time as a number", ce(map[string]string{"time": "5"}), invalid, "time"},
		{"base64", ce(map[string]string{"data": "", "data_base64": `"e30="`}), unsupported, "as data"},
		{"media type", ce(map[string]string{"datacontenttype": `"text/xml"`}), unsupported, `"text/xml"`},
		{"extension is an object", ce(map[string]string{"ext": "{}"}), invalid, "an object"},
		{"name in upper case", ce(map[string]string{"Ext": `"x"`}), invalid, "lower-case"},
		{"name that would hide the original id", ce(map[string]string{"id": `"a"`, "ce_id": `"b"`}), invalid, "lower-case"},
		{"name of a member", ce(map[string]string{"payload": `"x"`}), invalid, "member"},
		{"name of a member, number", ce(map[string]string{"version": "2"}), invalid, "member"},
		{"traceparent as a number", ce(map[string]string{"traceparent": "5"}), invalid, "a number"},
		{"parents that are no ids", ce(map[string]string{"bbparents": `"x"`}), invalid, "bbparents"},
		{"itself as parent", ce(map[string]string{"causationid": `"` + ceID + `"`}), invalid, "cannot cause itself"},
		{"replay of no id", ce(map[string]string{"bbreplayof": `"x"`}), invalid, "bbreplayof"},
		{"source object is not one", ce(map[string]string{"bbsource": `"[]"`}), invalid, "bbsource"},
		{"source object of no type", ce(map[string]string{"bbsource": `"{\"host\":\"h\"}"`}), invalid, "source.type"},
		{"agent context is not one", ce(map[string]string{"bbagentcontext": `"{\"type\":\"who\"}"`}), invalid, "agent_context.type"},
		{"deep data", ce(map[string]string{"data": deep}), invalid, "nests"},
		{"deep object in text", ce(map[string]string{"bbagentcontext": `"` + deep + `"`}), invalid, "nests"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := bloodbank.FromCloudEvent(tt.in)
			ceRefused(t, err, tt.code, tt.says)
		})
	}
}

func TestCloudEventHeaders(t *testing.T) {
	t.Parallel()
	header := func(extra ...string) http.Header {
		h := http.Header{}
		for _, pair := range append([]string{
			"Ce-Specversion: 1.0", "Ce-Id: " + ceID, "Ce-Source: /s", "Ce-Type: demo.thing.happened", "Content-Type: application/json; charset=utf-8",
		}, extra...) {
			name, value, _ := strings.Cut(pair, ": ")
			h.Set(name, value)
		}
		return h
	}
	twice := header()
	twice["Ce-X"] = []string{"a", "b"}
	none := header()
	none["Ce-X"] = nil
	tests := []struct {
		name string
		h    http.Header
		body string
		code bloodbank.Code
		want string // text of the member x, or of the refusal
	}{
		{"plain", header("Ce-X: abc"), `{"n":1}`, "", `"abc"`},
		{"percent-encoded", header("Ce-X: Euro%20%E2%82%AC%20%F0%9F%98%80"), `{}`, "", `"Euro € 😀"`},
		{"decoded once", header("Ce-X: %2541"), `{}`, "", `"%41"`},
		{"quoted by an older version", header(`Ce-X: "a \"b\" %41"`), `{}`, "", `"a \"b\" A"`},
		{"a plus is a plus", header("Ce-X: a+b"), `{}`, "", `"a+b"`},
		{"no body", header("Ce-X: 1"), "", "", `"1"`},
		{"line breaks in the body", header("Ce-X: 1"), "{\n\"n\":\r\n1}", "", `"1"`},
		{"bad escape", header("Ce-X: %zz"), `{}`, bloodbank.CodeInvalid, "percent-encoded"},
		{"no UTF-8", header("Ce-X: %ff"), `{}`, bloodbank.CodeInvalid, "percent-encoded"},
		{"twice", twice, `{}`, bloodbank.CodeInvalid, "once"},
		{"no value", none, `{}`, bloodbank.CodeInvalid, "once"},
		{"no specversion", header("Ce-Specversion: "), `{}`, bloodbank.CodeInvalid, "specversion"},
		{"not JSON by its type", header("Content-Type: text/plain"), `{}`, bloodbank.CodeUnsupported, "text/plain"},
		{"not JSON", header(), `{`, bloodbank.CodeInvalid, "one valid JSON value"},
		{"two values", header(), `{}{}`, bloodbank.CodeInvalid, "one valid JSON value"},
		{"member twice", header(), `{"a":1,"a":2}`, bloodbank.CodeInvalid, "one valid JSON value"},
		{"deep", header(), strings.Repeat("[", bloodbank.MaxDepth) + strings.Repeat("]", bloodbank.MaxDepth), bloodbank.CodeInvalid, "nests"},
		{"bad name", header("Ce-A-B: 1"), `{}`, bloodbank.CodeInvalid, "lower-case"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			body := []byte(tt.body)
			e, err := bloodbank.FromCloudEventHeaders(tt.h, body)
			if tt.code != "" {
				ceRefused(t, err, tt.code, tt.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			ceEqual(t, ceMember(e, "x"), tt.want)
			clear(body) // the envelope must not depend on it
			ceMustRead(t, e)
		})
	}
	ceEqual(t, bloodbank.IsCloudEvent(header()), true)
	ceEqual(t, bloodbank.IsCloudEvent(http.Header{"Content-Type": {"application/json"}}), false)
}

func TestCloudEventForeignIDs(t *testing.T) {
	t.Parallel()
	id := func(source, id string) bloodbank.EventID {
		e, err := bloodbank.FromCloudEvent(ce(map[string]string{"source": `"` + source + `"`, "id": `"` + id + `"`}))
		if err != nil {
			t.Fatal(err)
		}
		return e.EventID
	}
	// Frozen: a source that sends its event again must hit the same id for ever.
	ceEqual(t, id("/s", "a").String(), "1bf26aaf-c22f-5147-aa81-2929b1d41b17")
	ceEqual(t, id("/s", "a"), id("/s", "a"))
	seen := make(map[bloodbank.EventID]bool)
	for _, pair := range [][2]string{{"/s", "a"}, {"/s", "b"}, {"/t", "a"}, {"/s#x", "a"}, {"/s", "x#a"}} {
		if seen[id(pair[0], pair[1])] {
			t.Errorf("%q has the id of another", pair)
		}
		seen[id(pair[0], pair[1])] = true
	}
}

// An event that came in as a CloudEvent goes out under the names it came with.
func TestCloudEventForeignRoundTrip(t *testing.T) {
	t.Parallel()
	in := ce(map[string]string{
		"id": `"A-1"`, "source": `"https://shop.example/orders"`, "subject": `"s"`, "sequence": "7",
		"correlationid": `"flow 9"`, "causationid": `"order 7"`, "time": `"2026-01-27T10:00:00Z"`,
	})
	e, err := bloodbank.FromCloudEvent(in)
	if err != nil {
		t.Fatal(err)
	}
	e.Version = bloodbank.Version
	out, err := e.ToCloudEvent(bloodbank.EventID{})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"id": "A-1", "source": "https://shop.example/orders", "subject": "s", "sequence": 7.0,
		"correlationid": "flow 9", "causationid": "order 7", "time": "2026-01-27T10:00:00.000000Z", "datacontenttype": "application/json",
	} {
		ceEqual(t, got[name], want)
	}
	again, err := bloodbank.FromCloudEvent(out)
	if err != nil {
		t.Fatal(err)
	}
	ceSame(t, again, e)
}

// A member ce_id that the id does not come from must not change who the event is.
func TestCloudEventForgedID(t *testing.T) {
	t.Parallel()
	e, err := bloodbank.FromCloudEvent(ce(nil))
	if err != nil {
		t.Fatal(err)
	}
	e.Version = bloodbank.Version
	e.Extra = append(e.Extra, bloodbank.Member{Name: "ce_id", Value: []byte(`"somebody else"`)})
	out, err := e.ToCloudEvent(bloodbank.EventID{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(out, []byte(`"id":"`+ceID+`"`)) {
		t.Errorf("%s", out)
	}
}

func TestCloudEventRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := ceDrawEnvelope(t)
		root := ceDrawID(t)
		out, err := e.ToCloudEvent(root)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsAny(out, "\r\n") {
			t.Fatalf("more than one line: %q", out)
		}
		if want := `"correlationid":"` + root.String() + `"`; !bytes.Contains(out, []byte(want)) {
			t.Fatalf("no %s in %s", want, out)
		}
		back, err := bloodbank.FromCloudEvent(out)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		ceSame(t, back, e)
	})
}

func FuzzFromCloudEvent(f *testing.F) {
	f.Add(ce(nil))
	f.Add(ce(map[string]string{"id": `"x"`, "ext": "1.5", "bbparents": `"` + ceID + `"`}))
	f.Add(ce(map[string]string{"bbsource": `"{\"host\":\"h\",\"type\":\"hook\",\"x\":[1]}"`, "bbagentcontext": `"{\"type\":\"custom\",\"y\":{}}"`}))
	f.Add(ce(map[string]string{"source": `"bloodbank://a%20b/%ff"`, "time": `"0000-01-01T00:00:00+14:00"`}))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := bloodbank.FromCloudEvent(data)
		if err != nil {
			if code := bloodbank.CodeOf(err); code != bloodbank.CodeInvalid && code != bloodbank.CodeUnsupported {
				t.Fatalf("code %s: %v", code, err)
			}
			return
		}
		if year := e.Timestamp.UTC().Year(); year < 0 || year > 9999 {
			return // the gateway's check of the envelope refuses it
		}
		ceMustRead(t, e)
	})
}

func FuzzFromCloudEventHeaders(f *testing.F) {
	f.Add("id", "a%20b", "application/json", []byte(`{"n":1}`))
	f.Add("x", `"quoted\"`, "", []byte(`[[[`))
	f.Fuzz(func(t *testing.T, name, value, media string, body []byte) {
		h := http.Header{
			"Ce-Specversion": {"1.0"}, "Ce-Id": {ceID}, "Ce-Source": {"/s"}, "Ce-Type": {"demo.thing.happened"}, "Content-Type": {media},
		}
		h["Ce-"+name] = []string{value}
		e, err := bloodbank.FromCloudEventHeaders(h, body)
		if year := e.Timestamp.UTC().Year(); err == nil && year >= 0 && year <= 9999 {
			ceMustRead(t, e)
		}
	})
}

// ceMustRead stamps e as the gateway does and requires its wire form to be read.
func ceMustRead(t *testing.T, e bloodbank.Envelope) {
	t.Helper()
	if e.Timestamp.IsZero() {
		e.Timestamp = time.Date(2026, 1, 27, 10, 0, 0, 0, time.UTC)
	}
	if e.Version == "" {
		e.Version = bloodbank.Version
	}
	record, err := e.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	back, err := bloodbank.DecodeEnvelope(record)
	if err != nil {
		t.Fatalf("%v: %s", err, record)
	}
	ceSame(t, back, e)
}

type ceFailer interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

func ceEqual[T comparable](t ceFailer, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// ceSame compares by the wire form, and members regardless of their order.
func ceSame(t ceFailer, got, want bloodbank.Envelope) {
	t.Helper()
	a, b := ceMembers(got), ceMembers(want)
	got.Extra, want.Extra = nil, nil
	x, errX := got.AppendJSON(nil)
	y, errY := want.AppendJSON(nil)
	if errX != nil || errY != nil || !bytes.Equal(x, y) || !reflect.DeepEqual(a, b) {
		t.Fatalf("got  %s %v (%v)\nwant %s %v (%v)", x, a, errX, y, b, errY)
	}
}

func ceMembers(e bloodbank.Envelope) map[string]string {
	m := make(map[string]string)
	for _, x := range e.Extra {
		m[x.Name] = string(x.Value)
	}
	return m
}

func ceMember(e bloodbank.Envelope, name string) string { return ceMembers(e)[name] }

func ceMustID(t *testing.T, s string) bloodbank.EventID {
	t.Helper()
	id, err := bloodbank.ParseEventID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func ceRefused(t *testing.T, err error, code bloodbank.Code, says string) {
	t.Helper()
	if got := bloodbank.CodeOf(err); got != code {
		t.Fatalf("code %q (%v), want %q", got, err, code)
	}
	if !strings.Contains(err.Error(), says) {
		t.Errorf("%q does not say %q", err, says)
	}
}

func ceDrawID(t *rapid.T) bloodbank.EventID {
	id := bloodbank.EventID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	id[0] |= 1 // never the nil UUID
	return id
}

func ceDrawEnvelope(t *rapid.T) bloodbank.Envelope {
	word := rapid.StringMatching(`[a-z0-9]{1,12}`)
	text := rapid.String().Filter(func(s string) bool { return strings.ToValidUTF8(s, "") == s })
	raw := rapid.SampledFrom([]string{`{}`, `{"a": [1, {"b":null}]}`, "{\n\"x\":1\n}", `{"ü":"\u0001"}`})
	e := bloodbank.Envelope{
		EventID: ceDrawID(t), EventType: "demo.thing.happened", Version: rapid.SampledFrom([]string{"2.0.0", "1.0.0"}).Draw(t, "version"),
		Timestamp: time.UnixMicro(rapid.Int64Range(-1<<50, 1<<51).Draw(t, "time")).UTC(),
		Source: bloodbank.Source{
			Host: rapid.StringN(1, 20, -1).Draw(t, "host"), Type: bloodbank.SourceAgent, App: text.Draw(t, "app"),
		},
		Payload:        []byte(raw.Draw(t, "payload")),
		CorrelationIDs: rapid.SliceOfN(rapid.Custom(ceDrawID), 0, 4).Draw(t, "parents"),
		OrderingKey:    text.Draw(t, "key"), TraceParent: text.Draw(t, "trace"),
	}
	e.CorrelationIDs = slices.DeleteFunc(e.CorrelationIDs, func(id bloodbank.EventID) bool { return id == e.EventID })
	if rapid.Bool().Draw(t, "meta") {
		e.Source.Meta = []byte(`{"k":[1]}`)
		e.Source.Extra = []bloodbank.Member{{Name: "more", Value: []byte(`{"x":1}`)}}
	}
	if rapid.Bool().Draw(t, "replay") {
		e.ReplayOf = ceDrawID(t)
	}
	if rapid.Bool().Draw(t, "agent") {
		name := text.Draw(t, "name")
		e.AgentContext = &bloodbank.AgentContext{Type: bloodbank.AgentCustom, Name: &name, MCPServers: []string{"a"}, Meta: []byte(`{"m":1}`), Extra: []byte(`{"u":[true]}`)}
	}
	known := []string{"id", "source", "type", "time", "specversion", "data", "timestamp", "version", "payload", "traceparent"}
	for _, name := range rapid.SliceOfNDistinct(word, 0, 3, rapid.ID[string]).Draw(t, "members") {
		if !slices.Contains(known, name) {
			e.Extra = append(e.Extra, bloodbank.Member{Name: name, Value: []byte(rapid.SampledFrom([]string{`"t"`, "1.5", "true", `""`}).Draw(t, "value"))})
		}
	}
	return e
}
