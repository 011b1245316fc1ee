package bloodbank

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

func seeds(f *testing.F) {
	f.Helper()
	for _, file := range []string{"envelopes_valid.jsonl", "envelopes_invalid.jsonl"} {
		data, err := os.ReadFile("testdata/" + file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			f.Add(rawMember(line, "envelope"))
		}
	}
	const frame = `{"event_id":"dcbf406d-aaae-5a9a-8b36-38bb4f5ac1e7","event_type":"a.b","timestamp":"2026-01-27T10:00:00.5+23:59","version":"x",` +
		`"source":{"host":"h","type":"hook","app":"","meta":{ },"x":[]},"correlation_ids":null,"agent_context":{"type":"custom","x":1},"payload":` + "\r\n[1e400]" +
		`,"ordering_key":"k","traceparent":null,"replay_of":null,"\u0078":"\ud83e\ude78"}`
	f.Add([]byte(frame))
	f.Add([]byte(strings.Replace(frame, "2026-", "0000-", 1)))
	f.Add([]byte(`{"id":"dcbf406d-aaae-5a9a-8b36-38bb4f5ac1e7","ts":"2025-10-01 00:00:00","event_type":"a.b","source":{"host":"h","type":"hook"},"data":null,"correlation_id":null}`))
	f.Add([]byte(strings.Repeat(`{"a":[`, 70)))
}

// What decodes is written as one line, and that line decodes to the same bytes.
func FuzzDecodeEnvelope(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := DecodeEnvelope(data)
		_, draftErr := DecodeDraft(data)
		if err != nil {
			if CodeOf(err) != CodeInvalid || e.Payload != nil {
				t.Fatalf("%v with %+v", err, e)
			}
			return
		}
		if draftErr != nil {
			t.Fatalf("complete, but no draft: %v", draftErr)
		}
		e.Key()
		first, err := e.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsAny(first, "\r\n") {
			t.Fatalf("more than one line: %q", first)
		}
		again, err := DecodeEnvelope(first)
		if err != nil {
			t.Fatalf("what was written is refused: %v\n%s", err, first)
		}
		second, err := again.AppendJSON(nil)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("written twice (%v):\n%s\n%s", err, first, second)
		}
		if again.EventID != e.EventID || again.EventType != e.EventType || len(again.CorrelationIDs) != len(e.CorrelationIDs) || again.Key() != e.Key() {
			t.Fatalf("read again as another event:\n%+v\n%+v", e, again)
		}
	})
}

// What the quick scanner reads, the strict parser reads in the same way.
func FuzzQuickMembers(f *testing.F) {
	seeds(f)
	for _, s := range quickSamples() {
		f.Add([]byte(s))
	}
	f.Fuzz(checkQuick)
}

func checkQuick(t *testing.T, data []byte) {
	t.Helper()
	list, ok := quickMembers(data, []quickMember{})
	if !ok {
		return
	}
	if depth := nesting(data); depth > MaxDepth {
		t.Fatalf("the quick scanner reads a depth of %d", depth)
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(bytes.Clone(data)))
	n := 0
	err := eachMember(dec, "it", func(name string, raw []byte) error {
		if n >= len(list) || string(list[n].name) != name || !bytes.Equal(list[n].value, raw) {
			t.Fatalf("member %d is %q: %s in\n%q", n, name, raw, data)
		}
		n++
		return nil
	})
	if err != nil || n != len(list) {
		t.Fatalf("the quick scanner reads %d members, the strict parser %d: %v in\n%q", len(list), n, err, data)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		t.Fatalf("the quick scanner overlooks what is behind:\n%q", data)
	}
}

func quickSamples() []string {
	return []string{
		`{}`, ` { } `, `{"a":1}`, `{"a":1,"b":[{},[],[[1,"x"]],{"a":null}],"c":true,"d":false,"e":-0.5e+3}`, `{"a":{"a":{"a":1},"b":2},"b":1}`,
		`{"a":"\"\\\/\b\f\n\r\t\u00e9"}`, `{"":0}`, "{\"é\":\"🩸\"}", `{"a":0,"b":-1,"c":10,"d":1.0,"e":1E5}`, "{\"a\"\t:\r\n1 , \"b\" : [ 1 , 2 ] }",
	}
}

// The quick scanner must carry the usual load, and nothing that is wrong.
func TestQuickMembers(t *testing.T) {
	t.Parallel()
	for _, s := range quickSamples() {
		checkQuick(t, []byte(s))
		if _, ok := quickMembers([]byte(s), nil); !ok {
			t.Errorf("gave up on %s", s)
		}
	}
	long := strings.Repeat("x", 100)
	for _, s := range []string{
		``, ` `, `{`, `}`, `[]`, `1`, `"a"`, `null`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a":1 "b":2}`, `{"a":1}}`, `{"a":1} {}`, `{a:1}`, `{'a':1}`, `{"a":1`, `{"a":[1}`, `{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1`,
		`{"a":01}`, `{"a":+1}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":1e+}`, `{"a":-}`, `{"a":--1}`, `{"a":0x1}`, `{"a":NaN}`, `{"a":nul}`, `{"a":nulll}`, `{"a":tru}`, `{"a":falsy}`, `{"a":True}`,
		"{\"a\":\"\x01\"}", "{\"a\":\"" + long + "\n\"}", "{\"a\":\"\xff\"}", "{\"a\":\"" + long + "\xc3\"}", "{\"\xff\":1}", "{\"a\":\"\xed\xa0\x80\"}", "{\"a\":1}\x00", "\ufeff{}", "{\"a\":\u00a01}",
		`{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12g4"}`, `{"a":"\`, `{"a":"\u`, `{"a":"` + long, `{"a":"\ud800"}`, `{"a":"\uDC00"}`, `{"a":"\ud83e\ude78"}`, `{"\u0061":1}`,
		`{"a":1,"a":1}`, `{"a":{"b":1,"b":2}}`, `{"a":[{"b":1,"b":2}]}`, `{"a":{"b":1},"b":1,"a":2}`,
		`{"a":` + strings.Repeat("[", 128) + strings.Repeat("]", 128) + `}`,
	} {
		if _, ok := quickMembers([]byte(s), nil); ok {
			t.Errorf("did not give up on %.100q", s)
		}
		checkQuick(t, []byte(s))
	}
	if _, ok := quickMembers([]byte(`{"a":`+strings.Repeat("[", 127)+strings.Repeat("]", 127)+`}`), nil); !ok {
		t.Error("gave up on a depth of 128")
	}
	if _, ok := quickItems([]byte(` ["a",{"b":1,"b":1}]`), nil); ok {
		t.Error("a duplicate within a list")
	}
}

func TestObjectOfManyMembers(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 500 {
		b.WriteString(`"k` + strings.Repeat("x", i) + `":1,`)
	}
	const frame = `{"event_id":"dcbf406d-aaae-5a9a-8b36-38bb4f5ac1e7","event_type":"a.b","timestamp":"2026-01-27T10:00:00Z","version":"1","source":{"host":"h","type":"hook","app":null},"payload":`
	if _, err := DecodeEnvelope([]byte(frame + "{" + b.String() + `"last":1}}`)); err != nil {
		t.Error(err)
	}
	_, err := DecodeEnvelope([]byte(frame + "{" + b.String() + `"k":1}}`))
	if err == nil || !strings.Contains(err.Error(), "duplicate") {
		t.Errorf("a duplicate among many: %v", err)
	}
	nested := frame + strings.Repeat(`{"`+"a"+`":1,"b":`, 100) + "1" + strings.Repeat("}", 100) + "}"
	if _, err := DecodeEnvelope([]byte(nested)); err != nil {
		t.Errorf("many open names: %v", err)
	}
}
