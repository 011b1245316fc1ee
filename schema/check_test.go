package schema

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// compiled returns an entry made of a schema document, ready to use.
func compiled(tb testing.TB, doc string) *entry {
	tb.Helper()
	e := &entry{file: "test.case.json", doc: []byte(doc)}
	if err := e.ready(folder{}); err != nil {
		tb.Fatal(err)
	}
	return e
}

func embeddedByType(tb testing.TB) map[bloodbank.EventType]*entry {
	tb.Helper()
	r, err := Open(tb.Context(), Options{})
	if err != nil {
		tb.Fatal(err)
	}
	for t, e := range r.entries {
		if err := e.ready(folder{}); err != nil {
			tb.Fatalf("%s: %v", t, err)
		}
	}
	return r.entries
}

// agree fails the test if the quick checker accepts what the reference refuses.
// It returns what each of them says.
func agree(tb testing.TB, e *entry, payload []byte) (quick, reference bool) {
	tb.Helper()
	quick = e.quick.accepts(payload)
	err := e.judge(payload)
	if quick && err != nil {
		tb.Errorf("%s: the quick checker accepts what the reference refuses: %v\n%s", e.file, err, payload)
	}
	return quick, err == nil
}

type payloadVector struct {
	Type     bloodbank.EventType `json:"event_type"`
	Payload  json.RawMessage     `json:"payload"`
	In       json.RawMessage     `json:"payload_in"`
	Envelope struct {
		Type    bloodbank.EventType `json:"event_type"`
		Payload json.RawMessage     `json:"payload"`
	} `json:"envelope"`
}

// eachPayload calls f with every payload of testdata and its type.
func eachPayload(tb testing.TB, f func(bloodbank.EventType, []byte)) {
	tb.Helper()
	for _, file := range []string{"payloads_invalid", "transcription_invalid", "transcription_valid", "envelopes_valid"} {
		data, err := os.ReadFile("testdata/" + file + ".jsonl")
		if err != nil {
			tb.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			var v payloadVector
			if err := json.Unmarshal(line, &v); err != nil {
				tb.Fatal(err)
			}
			t := v.Type
			switch {
			case v.Envelope.Type != "":
				t = v.Envelope.Type
			case t == "":
				t = bloodbank.TypeVoiceCompleted
			}
			for _, payload := range [][]byte{v.Payload, v.In, v.Envelope.Payload} {
				if payload != nil {
					f(t, payload)
				}
			}
		}
	}
}

func TestEveryEmbeddedSchemaHasAQuickChecker(t *testing.T) {
	t.Parallel()
	for name, e := range embeddedByType(t) {
		if e.quick == nil {
			t.Errorf("%s is beyond the quick checker", name)
		}
	}
}

func TestQuickCheckerAgreesOnVectors(t *testing.T) {
	t.Parallel()
	entries := embeddedByType(t)
	valid, quickly := 0, 0
	eachPayload(t, func(name bloodbank.EventType, payload []byte) {
		e := entries[name]
		if e == nil {
			return
		}
		quick, reference := agree(t, e, payload)
		if reference {
			valid++
		}
		if quick {
			quickly++
		}
	})
	// 16000.0 as an integer is the one valid vector that goes to the reference.
	if valid < 160 || quickly < valid-1 {
		t.Errorf("the quick checker accepts %d of %d valid payloads", quickly, valid)
	}
}

// mutate changes a payload in one place in every way of a fixed list.
func mutate(payload []byte, f func([]byte)) {
	pieces := []string{"null", "true", "0", "-0.5", "1e400", "-1e-400", `"x"`, `""`, `"\u0065n"`, "{}", "[]", `[""]`, "\\", "\n", " ", ",", "\x01", "\xff", "é"}
	for i := range payload {
		switch payload[i] {
		case '"', ':', ',', '{', '}', '[', ']', '.', '0', '1':
		default:
			if i%7 != 0 {
				continue
			}
		}
		f(payload[:i])
		f(slices.Concat(payload[:i], payload[i+1:]))
		for _, p := range pieces {
			f(slices.Concat(payload[:i], []byte(p), payload[i:]))
			f(slices.Concat(payload[:i], []byte(p), payload[i+1:]))
		}
		if payload[i] == ':' {
			if end := bytes.IndexAny(payload[i:], ",}]"); end > 0 {
				for _, p := range pieces {
					f(slices.Concat(payload[:i+1], []byte(p), payload[i+end:]))
				}
			}
		}
	}
}

func TestQuickCheckerAgreesOnMutations(t *testing.T) {
	t.Parallel()
	entries := embeddedByType(t)
	tried, seen := 0, map[bloodbank.EventType]int{}
	eachPayload(t, func(name bloodbank.EventType, payload []byte) {
		e := entries[name]
		// A few payloads of each type: the mutations differ little between them.
		if seen[name]++; e == nil || len(payload) > 2000 || seen[name] > 1 && seen[name]%40 != 0 {
			return
		}
		mutate(payload, func(changed []byte) {
			tried++
			// Only what the quick checker accepts can break the law.
			if e.quick.accepts(changed) {
				agree(t, e, changed)
			}
		})
	})
	if tried < 50_000 {
		t.Errorf("only %d mutations were tried", tried)
	}
}

// Each row is a schema with payloads. The reference's word is the law; the column
// quick says which of the valid ones must not need the reference.
func TestQuickCheckerOnSingleKeywords(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		schema string
		quick  []string
		rest   []string
	}{
		{`{"type":"string","minLength":2,"maxLength":3}`, []string{`"ab"`, `"äöü"`, `"\n\n"`, `"a\u00e9"`, ` "abc" `}, []string{`"a"`, `"abcd"`, `"\ud83e\ude78\ud83e\ude78"`, `"🩸"`, `"\ud83e\ude78"`, `"\ud800x"`, `5`}},
		{`{"pattern":"^a$"}`, []string{`"a"`, `5`, `null`, `{"a":[1,{"b":"\""}]}`}, []string{`"a\n"`, `"b"`, `"\u0061"`, "\"\xff\""}},
		{`{"type":"number","minimum":0,"maximum":1}`, []string{`0`, `1`, `0.5`, `1.0`, `0.0`, `-0`, `1e-3`}, []string{`-1`, `1.01`, `-1e-400`, `1e-400`, `1e400`, `1.00000000000000000001`, `0.99999999999999999999`, `-0.0000000000000000000001`, `01`, `+1`, `1.`, `.5`, `1e`, `-`}},
		{`{"type":"number","exclusiveMinimum":0,"exclusiveMaximum":10}`, []string{`1`, `9.99`}, []string{`0`, `10`, `1e-400`, `9.999999999999999999999`, `-5`}},
		{`{"type":"number","minimum":0.1}`, nil, []string{`0.1`, `0.2`}},
		{`{"type":"integer"}`, []string{`0`, `-7`, `123456789012345678901234567890`}, []string{`1.0`, `1e3`, `1.5`, `1e-3`, `true`, `""`}},
		{`{"type":["integer","null"]}`, []string{`1`, `null`}, []string{`1.5`, `nul`, `nulls`}},
		{`{"enum":["a","ä",null]}`, []string{`"a"`, `"ä"`, `null`}, []string{`"\u0061"`, `"b"`, `1`, `{}`, `[]`, `true`}},
		{`{"enum":["a",1,true,[1]]}`, []string{`"a"`}, []string{`1`, `true`, `[1]`, `1.0`, `2`}},
		{`{"type":["string","null"],"enum":["a"]}`, []string{`"a"`}, []string{`null`}},
		{`{"type":"array","minItems":2}`, []string{`[1,2]`}, []string{`[1]`}},
		{`{"pattern":"u0065"}`, nil, []string{`"\u0065"`}},
		{"{\"pattern\":\"^[^\uFFFD]$\"}", []string{`"é"`}, []string{"\"\xff\"", "\"\xe9\"", "\"\xe2\x28\""}},
		{`{"const":"a"}`, []string{`"a"`}, []string{`"b"`}},
		{`{"type":"array","items":{"type":"string"},"minItems":1,"maxItems":2}`, []string{`["a"]`, `[ "a" , "b" ]`}, []string{`[]`, `["a","b","c"]`, `[1]`, `["a",]`, `[,]`, `["a" "b"]`, `["a"`}},
		{`{"type":"object","required":["a","b"],"properties":{"a":{"type":"string"}},"additionalProperties":false}`, nil, []string{`{"a":"x"}`, `{"a":"x","b":1}`, `{}`}},
		{`{"type":"object","required":["a","b"],"properties":{"a":{"type":"string"}},"additionalProperties":{"type":"integer"}}`, []string{`{"a":"x","b":1}`, `{"b":1,"c":2,"a":""}`}, []string{`{"a":"x"}`, `{"a":"x","b":"y"}`, `{"a":"x","b":1,"c":"z"}`, `{"a":"x","b":1,}`, `{"a":"x","b"}`, `{"a":"x" "b":1}`, `{"\u0061":"x","b":1}`}},
		{`{"properties":{"a":{"type":"string"}}}`, []string{`{"a":"x","a":"y"}`, `5`}, []string{`{"a":"x","a":5}`, `{"a":5,"a":"x"}`}},
		{`{"type":"string","anyOf":[{"format":"date-time"},{"format":"date-time-local"}]}`, []string{`"2026-01-27T10:00:00Z"`, `"2026-01-27T10:00:00"`}, []string{`"2026-01-27"`, `5`}},
		{`{"definitions":{"a":{"type":"object","properties":{"next":{"$ref":"#/definitions/a"}},"required":["x"]}},"$ref":"#/definitions/a","required":["ignored"]}`, []string{`{"x":1}`, `{"x":1,"next":{"x":2}}`}, []string{`{"x":1,"next":{}}`}},
		{`{"$schema":"https://json-schema.org/draft/2020-12/schema","$defs":{"a":{"required":["x"]}},"$ref":"#/$defs/a","required":["y"]}`, []string{`{"x":1,"y":1}`}, []string{`{"x":1}`, `{"y":1}`}},
		{`{"anyOf":[{"anyOf":[{"$ref":"#"},{"$ref":"#"}]},{"$ref":"#"}]}`, nil, []string{`{"a":[1,2,3]}`}},
		{`{"type":"object","properties":{"a":false,"b":true,"c":{}}}`, []string{`{"b":1,"c":2}`}, []string{`{"a":1}`}},
	} {
		e := compiled(t, row.schema)
		if e.quick == nil && row.quick != nil {
			t.Errorf("%s has no quick checker", row.schema)
			continue
		}
		for _, payload := range row.quick {
			if quick, reference := agree(t, e, []byte(payload)); !quick || !reference {
				t.Errorf("%s with %s: quick %v, reference %v", row.schema, payload, quick, reference)
			}
		}
		if e.quick == nil {
			continue
		}
		for _, payload := range row.rest {
			agree(t, e, []byte(payload))
		}
	}
}

func TestQuickCheckerLeavesTheRestToTheReference(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{
		`{"oneOf":[{"type":"string"}]}`, `{"not":{}}`, `{"if":{},"then":{}}`, `{"uniqueItems":true}`, `{"contains":{}}`,
		`{"multipleOf":2}`, `{"patternProperties":{"a":{}}}`, `{"propertyNames":{}}`, `{"minProperties":1}`, `{"maxProperties":1}`,
		`{"dependencies":{"a":["b"]}}`, `{"items":[{}]}`, `{"format":"ipv4"}`, `{"minimum":0.1}`,
		`{"properties":{"a":{"properties":{"b":{"not":{}}}}}}`,
		`{"$schema":"https://json-schema.org/draft/2020-12/schema","prefixItems":[{}]}`,
		`{"$schema":"https://json-schema.org/draft/2020-12/schema","unevaluatedProperties":false}`,
		`{"$schema":"https://json-schema.org/draft/2020-12/schema","$dynamicRef":"#"}`,
	} {
		if compiled(t, doc).quick != nil {
			t.Errorf("%s has a quick checker, which knows nothing of the keyword", doc)
		}
	}
}

// The quick checker must know of every keyword that the reference knows.
func TestQuickCompilerKnowsEveryField(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("check_compile.go")
	if err != nil {
		t.Fatal(err)
	}
	harmless := strings.Fields(`DraftVersion Location ID Anchor RecursiveAnchor DynamicAnchor
		Title Description Default Comment ReadOnly WriteOnly Examples Deprecated`)
	for f := range reflect.TypeFor[jsonschema.Schema]().Fields() {
		if f.IsExported() && !slices.Contains(harmless, f.Name) && !bytes.Contains(data, []byte("s."+f.Name)) {
			t.Errorf("check_compile.go says nothing about %s", f.Name)
		}
	}
}

func TestDeepAndHugeInputDoesNoHarm(t *testing.T) {
	t.Parallel()
	e := compiled(t, `{"properties":{"n":{"type":"number","minimum":0},"i":{"type":"integer"},"a":{"$ref":"#"}}}`)
	for _, row := range []struct {
		payload string
		valid   bool
	}{
		{strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000), true},
		{strings.Repeat(`{"a":`, 20000), false},
		{strings.Repeat("[", 100_000), false},
		{`{"n":1e999999999999999999999}`, true},
		{`{"n":-1e999999999}`, false},
		{`{"n":-1e-999999999}`, false},
		{`{"n":1e-999999999}`, true},
		{`{"n":0e999999999}`, true},
		{`{"i":1e999999999}`, true},
		{`{"i":1e-999999999}`, false},
		{`{"i":0.000e-999999999}`, true},
		{`{"i":1` + strings.Repeat("0", 100_000) + `}`, true},
		{`{"i":1` + strings.Repeat("0", 100_000) + `.5}`, false},
		{`{"i":1` + strings.Repeat("0", 100_000) + `e-100000}`, true},
		{`{"n":-0.` + strings.Repeat("0", 100_000) + `1}`, false},
	} {
		_, valid := agree(t, e, []byte(row.payload))
		if valid != row.valid {
			t.Errorf("%.60s…: valid %v, want %v", row.payload, valid, row.valid)
		}
	}
}

func FuzzQuickChecker(f *testing.F) {
	entries := embeddedByType(f)
	names := slices.Sorted(func(yield func(bloodbank.EventType) bool) {
		for name := range entries {
			if !yield(name) {
				return
			}
		}
	})
	eachPayload(f, func(name bloodbank.EventType, payload []byte) {
		if i, ok := slices.BinarySearch(names, name); ok && len(payload) < 4096 {
			f.Add(byte(i), []byte(payload))
		}
	})
	f.Fuzz(func(t *testing.T, i byte, payload []byte) {
		agree(t, entries[names[int(i)%len(names)]], payload)
	})
}
