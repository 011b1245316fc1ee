package bloodbank_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// vectors reads a file of testdata, one JSON value a line.
func vectors[T any](tb testing.TB, file string) []T {
	tb.Helper()
	f, err := os.Open("testdata/" + file)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var all []T
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var v T
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		all = append(all, v)
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	return all
}

type envelopeVector struct {
	ID       string          `json:"id"`
	Desc     string          `json:"desc"`
	Reason   string          `json:"reason"`
	Legacy   bool            `json:"legacy"`
	Errors   []string        `json:"reference_validate_envelope_errors"`
	Model    []modelError    `json:"reference_model_errors"`
	Envelope json.RawMessage `json:"envelope"`
}

type modelError struct {
	Loc string `json:"loc"`
}

// minimal is an envelope with one member replaced or added; value "" leaves the
// member out.
func minimal(member, value string) string {
	members := [][2]string{
		{"event_id", `"dcbf406d-aaae-5a9a-8b36-38bb4f5ac1e7"`},
		{"event_type", `"a.b.c"`},
		{"timestamp", `"2026-01-27T10:00:00Z"`},
		{"version", `"2.0.0"`},
		{"source", `{"host":"h","type":"manual","app":null,"meta":null}`},
		{"correlation_ids", `[]`},
		{"agent_context", `null`},
		{"payload", `{}`},
	}
	var parts []string
	found := false
	for _, m := range members {
		if m[0] == member {
			m[1], found = value, true
		}
		if m[1] != "" {
			parts = append(parts, `"`+m[0]+`":`+m[1])
		}
	}
	if member != "" && !found {
		parts = append(parts, `"`+member+`":`+value)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func decode(t *testing.T, text string) bloodbank.Envelope {
	t.Helper()
	e, err := bloodbank.DecodeEnvelope([]byte(text))
	if err != nil {
		t.Fatalf("%.200s: %v", text, err)
	}
	return e
}

func encode(t *testing.T, e bloodbank.Envelope) string {
	t.Helper()
	b, err := e.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// names lists the members of an object in their order.
func names(t *testing.T, object string) []string {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(object))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	var all []string
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		var skip json.RawMessage
		if err := dec.Decode(&skip); err != nil {
			t.Fatal(err)
		}
		all = append(all, name.(string))
	}
	return all
}

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestEnvelopesOfTheOriginal(t *testing.T) {
	t.Parallel()
	list := vectors[envelopeVector](t, "envelopes_valid.jsonl")
	if len(list) != 69 {
		t.Fatalf("%d vectors, want 69", len(list))
	}
	wire := []string{"event_id", "event_type", "timestamp", "version", "source", "correlation_ids", "agent_context", "payload"}
	for _, v := range list {
		if v.Legacy {
			continue
		}
		e := decode(t, string(v.Envelope))
		out := encode(t, e)
		if got := names(t, out); !slices.Equal(got[:8], wire) {
			t.Errorf("%s: the members are %v", v.ID, got)
		}
		want, got := object(t, string(v.Envelope)), object(t, out)
		at, err := bloodbank.ParseTimestamp(want["timestamp"].(string))
		if err != nil || !e.Timestamp.Equal(at) {
			t.Errorf("%s: timestamp %v, want %v (%v)", v.ID, e.Timestamp, at, err)
		}
		want["timestamp"] = bloodbank.FormatTimestamp(at)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s (%s): wrote %s\nwant the values of %s", v.ID, v.Desc, out, v.Envelope)
		}
		var raw struct{ Payload json.RawMessage }
		if err := json.Unmarshal(v.Envelope, &raw); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(e.Payload, raw.Payload) || !strings.Contains(out, `"payload":`+string(raw.Payload)) {
			t.Errorf("%s: the payload's bytes changed: %s", v.ID, e.Payload)
		}
	}
}

func TestMembersOfAVector(t *testing.T) {
	t.Parallel()
	var full envelopeVector
	for _, v := range vectors[envelopeVector](t, "envelopes_valid.jsonl") {
		if v.ID == "e63" {
			full = v
		}
	}
	e := decode(t, string(full.Envelope))
	if e.EventID.String() != "dcbf406d-aaae-5a9a-8b36-38bb4f5ac1e7" || e.EventType != "agent.thread.prompt" || e.Version != "1.0.0" {
		t.Errorf("%+v", e)
	}
	if !e.Timestamp.Equal(time.Date(2026, 1, 27, 10, 0, 0, 123456000, time.UTC)) || e.Timestamp.Location() != time.UTC {
		t.Errorf("timestamp %v", e.Timestamp)
	}
	if s := e.Source; s.Host != "big-chungus" || s.Type != bloodbank.SourceAgent || s.App != "claude-code" || string(s.Meta) != `{"pid": 1}` {
		t.Errorf("source %+v", s)
	}
	c := e.AgentContext
	if c == nil || c.Type != bloodbank.AgentClaudeCode || *c.Name != "Tonny" || *c.InstanceID != "session_abc123" || c.CheckpointID != nil ||
		!slices.Equal(c.MCPServers, []string{"git"}) || *c.CodeState.LastCommitHash != "a7b3c9d" || c.CodeState.BranchDiff != nil || string(c.Meta) != `{"k": 1}` {
		t.Errorf("agent context %+v", c)
	}
	want := []string{"type", "name", "system_prompt", "instance_id", "mcp_servers", "file_references", "url_references", "code_state", "checkpoint_id", "meta"}
	raw, err := json.Marshal(object(t, encode(t, e))["agent_context"])
	if err != nil || len(names(t, string(raw))) != len(want) {
		t.Errorf("agent context written as %s (%v)", raw, err)
	}
	text := encode(t, e)
	if got := names(t, text[strings.Index(text, `{"type":"claude-code"`):strings.Index(text, `,"payload"`)]); !slices.Equal(got, want) {
		t.Errorf("members of agent_context: %v, want %v", got, want)
	}
}

func TestAbsentMembersOfAgentContextAreNull(t *testing.T) {
	t.Parallel()
	text := encode(t, decode(t, minimal("agent_context", `{"type":"custom","mcp_servers":[],"x":{"y": 1}}`)))
	want := `"agent_context":{"type":"custom","name":null,"system_prompt":null,"instance_id":null,"mcp_servers":[],"file_references":null,` +
		`"url_references":null,"code_state":null,"checkpoint_id":null,"meta":null,"x":{"y":1}}`
	if !strings.Contains(strings.ReplaceAll(text, `"y": 1`, `"y":1`), want) {
		t.Errorf("got %s\nwant %s", text, want)
	}
}

func TestLegacyEnvelope(t *testing.T) {
	t.Parallel()
	list := vectors[envelopeVector](t, "envelopes_valid.jsonl")
	legacy := list[len(list)-1]
	if !legacy.Legacy {
		t.Fatal("e69 is not the legacy one")
	}
	want := `{"event_id":"dcbf406d-aaae-5a9a-8b36-38bb4f5ac1e7","event_type":"llm.prompt","timestamp":"2025-10-01T00:00:00.000000Z","version":"1.0.0",` +
		`"source":{"host":"127.0.0.1","type":"manual","app":"http","meta":null},"correlation_ids":[],"agent_context":null,"payload":{"provider": "p", "prompt": "q"}}`
	if got := encode(t, decode(t, string(legacy.Envelope))); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	parent := `{"id":"dcbf406d-aaae-5a9a-8b36-38bb4f5ac1e7","ts":"2025-10-01T00:00:00","event_type":"llm.prompt","source":"box","data":{},` +
		`"target":"tonny","correlation_id":"550e8400-e29b-41d4-a716-446655440000"}`
	e := decode(t, parent)
	if e.CorrelationID().String() != "550e8400-e29b-41d4-a716-446655440000" || e.Source.Host != "unknown" || e.Source.App != "box" {
		t.Errorf("%+v", e)
	}
	if len(e.Extra) != 1 || e.Extra[0].Name != "target" || string(e.Extra[0].Value) != `"tonny"` {
		t.Errorf("the target did not survive: %+v", e.Extra)
	}
	if again := decode(t, encode(t, e)); !reflect.DeepEqual(again, e) {
		t.Errorf("a second reading differs:\n%+v\n%+v", again, e)
	}
}

func TestPayloadGoesThroughUntouched(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{
		`{"z":1,"a":2,"m":{"y":1,"b":2}}`, `{"n":9007199254740993}`, `{"n":-9223372036854775808,"m":18446744073709551615}`,
		`{"n":1.0}`, `{"n":1E+2}`, `{"n":0.1000}`, `{"n":123456789012345678901234567890.123456789}`, `{"n":1e400}`, `{"s":"\u00e9\/\u0041<>&"}`,
		`{"s":"\ud83e\ude78"}`, `{"s":"🩸\u2028"}`, `{ "a" :  [ 1 ,2 ] }`, `[1,2]`, `"text"`, `17`, `true`, `null`, `""`, `{"a\tb":"\n"}`,
	} {
		e := decode(t, minimal("payload", payload))
		if string(e.Payload) != payload {
			t.Errorf("read %s as %s", payload, e.Payload)
		}
		if out := encode(t, e); !strings.HasSuffix(out, `,"payload":`+payload+`}`) {
			t.Errorf("wrote %s as %s", payload, out)
		}
	}
}

func TestAnEventIsOneLine(t *testing.T) {
	t.Parallel()
	pretty := "{\n  \"a\": [\r\n    1,\n\t2\n  ],\n  \"s\": \"kept \\n escape\"\n}"
	text := strings.ReplaceAll(minimal("payload", pretty), `"meta":null`, "\"meta\":{\n\"k\":\n1}")
	text = strings.TrimSuffix(text, "}") + ",\n\"x_extra\":\n[\n1\n]\n}\n"
	out := encode(t, decode(t, text))
	if strings.ContainsAny(out, "\r\n") {
		t.Errorf("more than one line: %q", out)
	}
	if !strings.Contains(out, `"s": "kept \n escape"`) {
		t.Errorf("the text inside of the payload changed: %s", out)
	}
	if want, got := object(t, text), object(t, out); !reflect.DeepEqual(got["payload"], want["payload"]) || !reflect.DeepEqual(got["x_extra"], want["x_extra"]) {
		t.Errorf("the values changed: %s", out)
	}
}

func TestUnknownMembersSurvive(t *testing.T) {
	t.Parallel()
	text := strings.Replace(minimal("x_extra", `{"big":9007199254740993}`), `"meta":null`, `"meta":null,"region":"eu"`, 1)
	text = strings.TrimSuffix(text, "}") + `,"a_first":1,"":"no name","sch\u00f6n":null}`
	e := decode(t, text)
	want := []bloodbank.Member{
		{Name: "x_extra", Value: json.RawMessage(`{"big":9007199254740993}`)},
		{Name: "a_first", Value: json.RawMessage(`1`)},
		{Name: "", Value: json.RawMessage(`"no name"`)},
		{Name: "schön", Value: json.RawMessage(`null`)},
	}
	if !reflect.DeepEqual(e.Extra, want) {
		t.Errorf("read %v", e.Extra)
	}
	out := encode(t, e)
	if !strings.HasSuffix(out, `,"x_extra":{"big":9007199254740993},"a_first":1,"":"no name","schön":null}`) || !strings.Contains(out, `"meta":null,"region":"eu"}`) {
		t.Errorf("wrote %s", out)
	}
}

func TestOurExtrasAreWrittenOnlyWhenSet(t *testing.T) {
	t.Parallel()
	text := minimal("ordering_key", `"k\n"`)
	text = strings.TrimSuffix(text, "}") + `,"traceparent":"00-ab","replay_of":"550e8400-e29b-41d4-a716-446655440000"}`
	e := decode(t, text)
	if e.OrderingKey != "k\n" || e.TraceParent != "00-ab" || e.ReplayOf.String() != "550e8400-e29b-41d4-a716-446655440000" || e.Extra != nil {
		t.Errorf("%+v", e)
	}
	if out := encode(t, e); !strings.HasSuffix(out, `,"ordering_key":"k\n","traceparent":"00-ab","replay_of":"550e8400-e29b-41d4-a716-446655440000"}`) {
		t.Errorf("wrote %s", out)
	}
	for _, name := range []string{"ordering_key", "traceparent", "replay_of"} {
		if out := encode(t, decode(t, minimal(name, "null"))); !strings.HasSuffix(out, `"payload":{}}`) {
			t.Errorf("%s null: wrote %s", name, out)
		}
		if _, err := bloodbank.DecodeEnvelope([]byte(minimal(name, "7"))); bloodbank.CodeOf(err) != bloodbank.CodeInvalid {
			t.Errorf("%s 7: %v", name, err)
		}
	}
}

func TestKeyAndCorrelationID(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ payload, ordering, want string }{
		{`{"session_id":"s1"}`, "", "s1"},
		{`{"a":{"session_id":"no"},"session_id" : "s\u0031"}`, "", "s1"},
		{`{"session_id":"s1"}`, "k", "k"},
		{`{"session_id":7}`, "", ""},
		{`{"session_id":null}`, "", ""},
		{`{"session_id":{}}`, "", ""},
		{`{"other":"session_id"}`, "", ""},
		{`["session_id","s1"]`, "", ""},
		{`"session_id"`, "", ""},
		{`null`, "", ""},
		{`{}`, "", ""},
	} {
		e := bloodbank.Envelope{Payload: json.RawMessage(row.payload), OrderingKey: row.ordering}
		if got := e.Key(); got != row.want {
			t.Errorf("Key of %s with %q: %q, want %q", row.payload, row.ordering, got, row.want)
		}
	}
	var none bloodbank.Envelope
	if !none.CorrelationID().IsZero() || none.Key() != "" {
		t.Error("an empty envelope has a parent or a key")
	}
	first, second := bloodbank.EventID{1}, bloodbank.EventID{2}
	two := bloodbank.Envelope{CorrelationIDs: []bloodbank.EventID{first, second}}
	if two.CorrelationID() != first {
		t.Error("the first parent is not the first one")
	}
}

func TestValidateNamesTheField(t *testing.T) {
	t.Parallel()
	many := make([]bloodbank.EventID, bloodbank.MaxParents+1)
	for i := range many {
		many[i] = bloodbank.EventID{1, byte(i), byte(i >> 8)}
	}
	for _, row := range []struct {
		change func(*bloodbank.Envelope)
		words  string
	}{
		{func(e *bloodbank.Envelope) { e.EventID = bloodbank.EventID{} }, "event_id"},
		{func(e *bloodbank.Envelope) { e.EventType = "" }, "event_type"},
		{func(e *bloodbank.Envelope) { e.EventType = "one" }, "event_type"},
		{func(e *bloodbank.Envelope) { e.Timestamp = time.Time{} }, "timestamp"},
		{func(e *bloodbank.Envelope) { e.Timestamp = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, "timestamp"},
		{func(e *bloodbank.Envelope) { e.Timestamp = time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC) }, "timestamp"},
		{func(e *bloodbank.Envelope) { e.Version = "" }, "version"},
		{func(e *bloodbank.Envelope) { e.Source.Host = "" }, "host"},
		{func(e *bloodbank.Envelope) { e.Source.Type = "robot" }, "source.type"},
		{func(e *bloodbank.Envelope) { e.Payload = nil }, "payload"},
		{func(e *bloodbank.Envelope) { e.CorrelationIDs = []bloodbank.EventID{e.EventID} }, "itself"},
		{func(e *bloodbank.Envelope) { e.CorrelationIDs = []bloodbank.EventID{{}} }, "correlation_ids"},
		{func(e *bloodbank.Envelope) { e.CorrelationIDs = many }, "257"},
	} {
		e := decode(t, minimal("", ""))
		if err := e.Validate(); err != nil {
			t.Fatal(err)
		}
		row.change(&e)
		if err := e.Validate(); bloodbank.CodeOf(err) != bloodbank.CodeInvalid || !strings.Contains(err.Error(), row.words) {
			t.Errorf("got %v, want it to say %q", err, row.words)
		}
	}
	e := decode(t, minimal("", ""))
	e.CorrelationIDs = many[:bloodbank.MaxParents]
	if err := e.Validate(); err != nil {
		t.Errorf("%d parents: %v", bloodbank.MaxParents, err)
	}
}
