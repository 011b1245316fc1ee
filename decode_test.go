package bloodbank_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
)

func TestEnvelopesThatTheOriginalRefuses(t *testing.T) {
	t.Parallel()
	list := vectors[envelopeVector](t, "envelopes_invalid.jsonl")
	if len(list) != 23 {
		t.Fatalf("%d vectors, want 23", len(list))
	}
	for _, v := range list {
		e, err := bloodbank.DecodeEnvelope(v.Envelope)
		if bloodbank.CodeOf(err) != bloodbank.CodeInvalid {
			t.Errorf("%s (%s): got %+v, %v", v.ID, v.Reason, e, err)
			continue
		}
		if field := faultyField(v); !strings.Contains(err.Error(), field) {
			t.Errorf("%s (%s): %q does not name %s", v.ID, v.Reason, err, field)
		}
	}
}

// faultyField is the last part of the name of the field that the original names
// first; one word of it, because the texts differ.
func faultyField(v envelopeVector) string {
	if len(v.Errors) > 0 {
		text := v.Errors[0]
		if i := strings.LastIndex(text, "field: "); i >= 0 {
			return text[i+len("field: "):]
		}
		return "event id"
	}
	if len(v.Model) > 0 {
		return strings.TrimSuffix(v.Model[0].Loc, ".0")
	}
	return "event_type"
}

// refusal is a text that must be refused with these words.
type refusal struct{ name, text, words string }

func brokenJSON() []refusal {
	deep := func(n int) string { return strings.Repeat(`[`, n) + strings.Repeat(`]`, n) }
	valid := minimal("", "")
	return []refusal{
		{"empty", "", "the input is empty"},
		{"space", " \n\t", "the input is empty"},
		{"not JSON", "hello", "malformed JSON"},
		{"cut", valid[:len(valid)-1], "malformed JSON"},
		{"cut in a name", `{"event`, "malformed JSON"},
		{"only an opening", `{`, "malformed JSON"},
		{"array", `[]`, "must be a JSON object, not a list"},
		{"array of envelopes", "[" + valid + "]", "must be a JSON object, not a list"},
		{"null", `null`, "must be a JSON object, not null"},
		{"number", `1`, "must be a JSON object, not a number"},
		{"text", `"x"`, "must be a JSON object, not text"},
		{"a second value", valid + valid, "more text behind"},
		{"garbage behind", valid + " x", "more text behind"},
		{"a stray brace", valid + "}", "more text behind"},
		{"NUL behind", valid + "\x00", "more text behind"},
		{"byte order mark", "\ufeff" + valid, "malformed JSON"},
		{"duplicate member", minimal("", "")[:len(valid)-1] + `,"payload":{}}`, "duplicate"},
		{"duplicate unknown member", minimal("x", "1")[:len(minimal("x", "1"))-1] + `,"x":2}`, "duplicate"},
		{"duplicate written with an escape", valid[:len(valid)-1] + `,"p\u0061yload":{}}`, "duplicate"},
		{"duplicate in the payload", minimal("payload", `{"a":1,"a":2}`), "duplicate"},
		{"duplicate deep in the payload", minimal("payload", `{"a":[{"b":1,"b":1}]}`), "duplicate"},
		{"duplicate in source", minimal("source", `{"host":"h","host":"i","type":"manual","app":null}`), "duplicate"},
		{"invalid UTF-8 in the payload", minimal("payload", "\"\xff\""), "UTF-8"},
		{"invalid UTF-8 in a name", minimal("payload", "{\"\xc3\x28\":1}"), "UTF-8"},
		{"overlong UTF-8", minimal("payload", "\"\xc0\xaf\""), "UTF-8"},
		{"UTF-16 surrogate in UTF-8", minimal("payload", "\"\xed\xa0\x80\""), "UTF-8"},
		{"lone surrogate", minimal("payload", `"\ud800"`), "malformed JSON"},
		{"lone low surrogate", minimal("payload", `"\udc00x"`), "malformed JSON"},
		{"lone surrogate in the type", minimal("event_type", `"a.\ud800"`), "malformed JSON"},
		{"control character in text", minimal("payload", "\"a\nb\""), "malformed JSON"},
		{"comment", strings.Replace(valid, "{", "{/* no */", 1), "malformed JSON"},
		{"trailing comma", strings.Replace(valid, "}}", "},}", 1) + "}", "malformed JSON"},
		{"single quotes", `{'event_id':1}`, "malformed JSON"},
		{"NaN", minimal("payload", "NaN"), "malformed JSON"},
		{"leading zero", minimal("payload", "01"), "malformed JSON"},
		{"too deep", minimal("payload", deep(128)), "nests 129 deep; the limit is 128"},
		{"far too deep", strings.Repeat(`{"a":`, 1_000_000), "nests 1000000 deep"},
		{"deep in an unknown member", minimal("x", deep(128)), "nests 129 deep"},
	}
}

func brokenMembers() []refusal {
	return []refusal{
		{"event_id in capitals without dashes", minimal("event_id", `"DCBF406DAAAE5A9A8B3638BB4F5AC1E7"`), "must be a UUID"},
		{"event_id urn", minimal("event_id", `"urn:uuid:dcbf406d-aaae-5a9a-8b36-38bb4f5ac1e7"`), "must be a UUID"},
		{"event_id braces", minimal("event_id", `"{dcbf406d-aaae-5a9a-8b36-38bb4f5ac1e7}"`), "must be a UUID"},
		{"event_id nil", minimal("event_id", `"00000000-0000-0000-0000-000000000000"`), "event_id"},
		{"event_id object", minimal("event_id", `{}`), "must be a UUID"},
		{"event_id huge", minimal("event_id", `"`+strings.Repeat("x", 100_000)+`"`), "must be a UUID"},
		{"event_type number", minimal("event_type", `7`), "event_type must be text, not a number"},
		{"event_type with a space", minimal("event_type", `"a b.c"`), "invalid event_type"},
		{"event_type wildcard", minimal("event_type", `"a.*"`), "invalid event_type"},
		{"timestamp number", minimal("timestamp", `1769508000`), "timestamp must be text, not a number"},
		{"timestamp null", minimal("timestamp", `null`), "timestamp must be text, not null"},
		{"version number", minimal("version", `2`), "version must be text"},
		{"version empty", minimal("version", `""`), "version"},
		{"source list", minimal("source", `[]`), "source must be a JSON object, not a list"},
		{"source null", minimal("source", `null`), "source must be a JSON object, not null"},
		{"source text", minimal("source", `"app/host"`), "source must be an object"},
		{"source.host number", minimal("source", `{"host":1,"type":"manual","app":null}`), "source.host must be text"},
		{"source.host empty", minimal("source", `{"host":"","type":"manual","app":null}`), "host"},
		{"source.app list", minimal("source", `{"host":"h","type":"manual","app":[]}`), "source.app must be text"},
		{"source.meta text", minimal("source", `{"host":"h","type":"manual","app":null,"meta":"x"}`), "source.meta must be an object or null"},
		{"correlation_ids text", minimal("correlation_ids", `"x"`), "correlation_ids must be a list"},
		{"correlation_ids object", minimal("correlation_ids", `{}`), "correlation_ids must be a list"},
		{"correlation_ids with null", minimal("correlation_ids", `[null]`), "correlation_ids[0]"},
		{"correlation_ids second bad", minimal("correlation_ids", `["550e8400-e29b-41d4-a716-446655440000",7]`), "correlation_ids[1]"},
		{"its own parent", minimal("correlation_ids", `["DCBF406D-aaae-5a9a-8b36-38bb4f5ac1e7"]`), "itself"},
		{"257 parents", minimal("correlation_ids", "["+strings.Repeat(`"550e8400-e29b-41d4-a716-446655440000",`, 256)+`"550e8400-e29b-41d4-a716-446655440000"]`), "257 parents; the limit is 256"},
		{"agent_context text", minimal("agent_context", `"letta"`), "agent_context"},
		{"agent_context with a number for a name", minimal("agent_context", `{"type":"custom","name":7}`), "agent_context"},
		{"agent_context.meta list", minimal("agent_context", `{"type":"custom","meta":[]}`), "agent_context.meta"},
	}
}

func TestDecodeRefusesWithAReason(t *testing.T) {
	t.Parallel()
	for _, row := range append(brokenJSON(), brokenMembers()...) {
		e, err := bloodbank.DecodeEnvelope([]byte(row.text))
		if bloodbank.CodeOf(err) != bloodbank.CodeInvalid || !strings.Contains(err.Error(), row.words) {
			t.Errorf("%s: got %v, want it to say %q", row.name, err, row.words)
		} else if len(err.Error()) > 500 {
			t.Errorf("%s: the message has %d bytes", row.name, len(err.Error()))
		}
		if e.EventType != "" || e.Payload != nil {
			t.Errorf("%s: an envelope came with the error", row.name)
		}
	}
}

func TestDecodeAccepts(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nesting of 128":             minimal("payload", strings.Repeat("[", 127)+strings.Repeat("]", 127)),
		"brackets in text, strictly": minimal("payload", `"\ud83e\ude78`+strings.Repeat(`[{\"[`, 1000)+`"`),
		"brackets in text":           minimal("payload", `"`+strings.Repeat(`[{\"`, 1000)+`"`),
		"capital ids":                minimal("event_id", `"DCBF406D-AAAE-5A9A-8B36-38BB4F5AC1E7"`),
		"correlation_ids null":       minimal("correlation_ids", `null`),
		"correlation_ids left out":   minimal("correlation_ids", ""),
		"agent_context left out":     minimal("agent_context", ""),
		"meta left out":              minimal("source", `{"host":"h","type":"manual","app":"a"}`),
		"space around":               " \r\n\t" + minimal("", "") + "\n",
		"256 parents":                minimal("correlation_ids", "["+strings.Repeat(`"550e8400-e29b-41d4-a716-446655440000",`, 255)+`"550e8400-e29b-41d4-a716-446655440000"]`),
		"a payload of a megabyte":    minimal("payload", `"`+strings.Repeat("x", 1<<20)+`"`),
		"a number without an end":    minimal("payload", strings.Repeat("9", 100_000)),
		"members in another order":   `{"payload":{},"source":{"app":null,"type":"hook","host":"h"},"version":"1.0.0","timestamp":"2026-01-27T10:00:00Z","event_type":"a.b","event_id":"dcbf406d-aaae-5a9a-8b36-38bb4f5ac1e7"}`,
		"names written with escape":  strings.Replace(minimal("", ""), `"payload"`, `"p\u0061yload"`, 1),
		"data as an unknown member":  minimal("data", `{}`),
	} {
		e, err := bloodbank.DecodeEnvelope([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !json.Valid([]byte(encode(t, e))) {
			t.Errorf("%s: written as no JSON", name)
		}
	}
}

func TestDataBesidePayloadIsAnUnknownMember(t *testing.T) {
	t.Parallel()
	e := decode(t, minimal("data", `{"other":1}`))
	if string(e.Payload) != `{}` || len(e.Extra) != 1 || e.Extra[0].Name != "data" || string(e.Extra[0].Value) != `{"other":1}` {
		t.Errorf("%+v", e)
	}
}

func TestDecodedEnvelopeKeepsNoReference(t *testing.T) {
	t.Parallel()
	text := []byte(minimal("x", `"extra"`))
	buffer := append([]byte(nil), text...)
	e, err := bloodbank.DecodeEnvelope(buffer)
	if err != nil {
		t.Fatal(err)
	}
	before := encode(t, e)
	for i := range buffer {
		buffer[i] = 'X'
	}
	if after := encode(t, e); after != before {
		t.Errorf("the envelope changed with the caller's buffer: %s", after)
	}
}

func TestDraft(t *testing.T) {
	t.Parallel()
	e, err := bloodbank.DecodeDraft([]byte(`{"event_type":"a.b","payload":{"k":1},"correlation_ids":["550e8400-e29b-41d4-a716-446655440000"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if !e.EventID.IsZero() || !e.Timestamp.IsZero() || e.Version != "" || e.Source.Host != "" || len(e.CorrelationIDs) != 1 || string(e.Payload) != `{"k":1}` {
		t.Errorf("%+v", e)
	}
	for text, words := range map[string]string{
		`{"payload":{}}`:                                                                               "event_type",
		`{"event_type":"a.b"}`:                                                                         "payload",
		`{"event_type":"a","payload":{}}`:                                                              "event_type",
		`{"event_type":"a.b","payload":{},"event_id":null}`:                                            "UUID",
		`{"event_type":"a.b","payload":{},"event_id":""}`:                                              "UUID",
		`{"event_type":"a.b","payload":{},"timestamp":"soon"}`:                                         "timestamp",
		`{"event_type":"a.b","payload":{},"source":{}}`:                                                "host",
		`{"event_type":"a.b","payload":{},"source":{"host":"h","type":"x"}}`:                           "source.type",
		`{"event_type":"a.b","payload":{},"correlation_ids":["x"]}`:                                    "correlation_ids[0]",
		`{"event_type":"a.b","payload":{},"agent_context":{}}`:                                         "agent_context",
		`{"event_type":"a.b","payload":{}} {}`:                                                         "more text behind",
		`{"event_type":"a.b","payload":{},"correlation_ids":["00000000-0000-0000-0000-000000000000"]}`: "nil UUID",
	} {
		if _, err := bloodbank.DecodeDraft([]byte(text)); bloodbank.CodeOf(err) != bloodbank.CodeInvalid || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: got %v, want it to say %q", text, err, words)
		}
	}
}

func TestEnvelopeWithinJSON(t *testing.T) {
	t.Parallel()
	var list []bloodbank.Envelope
	if err := json.Unmarshal([]byte("["+minimal("", "")+","+minimal("x", "1")+"]"), &list); err != nil || len(list) != 2 {
		t.Fatalf("%d envelopes, %v", len(list), err)
	}
	out, err := json.Marshal(list[1])
	if err != nil || string(out) != encode(t, list[1]) {
		t.Errorf("got %s, %v", out, err)
	}
	err = json.Unmarshal([]byte("["+minimal("payload", "")+"]"), &list)
	if bloodbank.CodeOf(err) != bloodbank.CodeInvalid {
		t.Errorf("got %v", err)
	}
}

func TestTimestamps(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2026-01-27T10:00:00Z":                "2026-01-27T10:00:00.000000Z",
		"2026-01-27T10:00:00.123456+00:00":    "2026-01-27T10:00:00.123456Z",
		"2026-01-27T12:00:00+02:00":           "2026-01-27T10:00:00.000000Z",
		"2026-01-27T04:30:00.5-05:30":         "2026-01-27T10:00:00.500000Z",
		"2026-01-27T10:00:00-00:00":           "2026-01-27T10:00:00.000000Z",
		"2026-01-27t10:00:00z":                "2026-01-27T10:00:00.000000Z",
		"2026-01-27 10:00:00+00:00":           "2026-01-27T10:00:00.000000Z",
		"2026-01-27T10:00:00":                 "2026-01-27T10:00:00.000000Z",
		"2026-01-27T10:00:00.123456":          "2026-01-27T10:00:00.123456Z",
		"2026-01-27T10:00:00.1":               "2026-01-27T10:00:00.100000Z",
		"2026-01-27T10:00:00.999999999Z":      "2026-01-27T10:00:00.999999Z",
		"2026-01-27T10:00:00.1234567890123Z":  "2026-01-27T10:00:00.123456Z",
		"2024-02-29T23:59:59.000001Z":         "2024-02-29T23:59:59.000001Z",
		"0001-01-01T00:00:01Z":                "0001-01-01T00:00:01.000000Z",
		"9999-12-31T23:59:59Z":                "9999-12-31T23:59:59.000000Z",
		"2016-12-31T23:59:60Z":                "2017-01-01T00:00:00.000000Z",
		"2017-01-01T00:59:60.5+01:00":         "2017-01-01T00:00:00.500000Z",
		"2016-12-31T23:59:61Z":                "",
		"2016-12-31T22:59:60Z":                "",
		"2016-12-31T23:59:60+01:00":           "",
		"":                                    "",
		"2026-01-27":                          "",
		"10:00:00":                            "",
		"2026-01-27T10:00":                    "",
		"2026-02-30T10:00:00Z":                "",
		"2026-02-29T10:00:00Z":                "",
		"2026-13-01T10:00:00Z":                "",
		"2026-01-27T24:00:00Z":                "",
		"2026-01-27T10:60:00Z":                "",
		"2026-01-27T10:00:60Z":                "",
		"2026-01-27T10:00:00.Z":               "",
		"2026-01-27T10:00:00,5Z":              "",
		"2026-01-27T10:00:00,5":               "",
		"2026-1-27T10:00:00Z":                 "",
		"2026-01-27T1:00:00Z":                 "",
		"2026-01-27T10:00:00+0200":            "",
		"2026-01-27T10:00:00+24:00":           "",
		"2026-01-27T10:00:00+02:60":           "",
		"2026-01-27T10:00:00ZZ":               "",
		"2026-01-27T10:00:00Z ":               "",
		"+2026-01-27T10:00:00Z":               "",
		"12026-01-27T10:00:00Z":               "",
		"1769508000":                          "",
		"yesterday":                           "",
		"2026-01-27_10:00:00Z":                "",
		"2026-01-27T10:00:00\x00":             "",
		strings.Repeat("2026-01-27T10", 1000): "",
	} {
		at, err := bloodbank.ParseTimestamp(text)
		if want == "" {
			if bloodbank.CodeOf(err) != bloodbank.CodeInvalid || len(err.Error()) > 300 {
				t.Errorf("%.40q: read as %v, %v", text, at, err)
			}
			continue
		}
		if err != nil || bloodbank.FormatTimestamp(at) != want || at.Location() != time.UTC {
			t.Errorf("%q: read as %v, %v; want %s", text, at, err, want)
		}
	}
}
