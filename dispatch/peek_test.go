package dispatch

import (
	"bytes"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"pgregory.net/rapid"
)

// same requires that peek, where it takes the record, reads what decoding reads.
func same(t interface{ Fatalf(string, ...any) }, data []byte) (peeked bool) {
	quick := &message{bus: bus.Message{Data: data}}
	peeked = quick.peek()
	full := (&message{bus: bus.Message{Data: data}}).decode()
	if !peeked || full.refused != "" {
		return peeked
	}
	if quick.bus.ID != full.bus.ID || quick.bus.Type != full.bus.Type || quick.bus.Parent != full.bus.Parent || quick.key != full.key {
		t.Fatalf("peek reads %+v %q, decoding %+v %q: %s", quick.bus, quick.key, full.bus, full.key, data)
	}
	return true
}

func TestPeekReadsWhatDecodingReads(t *testing.T) {
	t.Parallel()
	text := rapid.SampledFrom([]string{"", "a", "with \"quotes\"", `back\slash`, `\"`, "ü\n", "session_id", `","payload":{"session_id":"x"},"x":"`})
	payloads := rapid.SampledFrom([]string{
		`{}`, `null`, `1`, `-1.5e3`, `true`, `"x"`, `"\\"`, `[]`, `[1,{"session_id":"no"}]`, `{"session_id":"s"}`, `{"session_id":5}`, `{"session_id":null}`,
		`{"a":{"session_id":"inner"},"session_id":"outer"}`, `{ "x" : [ ] , "session_id" : "spaced" }`, `{"session_id":"\u0073\n\""}`, `{"session\u005fid":"escaped name"}`,
		`{"a":"\\\"","session_id":"after escapes"}`,
	})
	taken := 0
	rapid.Check(t, func(rt *rapid.T) {
		e := bloodbank.Envelope{
			EventID: eventID(rapid.IntRange(0, 1000).Draw(rt, "id")), EventType: "demo.thing.happened", Timestamp: time.Now(), Version: text.Draw(rt, "version") + "2",
			Source:  bloodbank.Source{Host: text.Draw(rt, "host") + "h", Type: bloodbank.SourceManual, App: text.Draw(rt, "app")},
			Payload: []byte(payloads.Draw(rt, "payload")), OrderingKey: text.Draw(rt, "key"), TraceParent: text.Draw(rt, "trace"),
		}
		for range rapid.IntRange(0, 3).Draw(rt, "parents") {
			e.CorrelationIDs = append(e.CorrelationIDs, eventID(2000+len(e.CorrelationIDs)))
		}
		if rapid.Bool().Draw(rt, "agent") {
			name := text.Draw(rt, "name")
			e.AgentContext = &bloodbank.AgentContext{Type: bloodbank.AgentCustom, Name: &name}
		}
		if rapid.Bool().Draw(rt, "extra") {
			e.Extra = []bloodbank.Member{{Name: text.Draw(rt, "member") + "_", Value: []byte(payloads.Draw(rt, "value"))}}
		}
		record, err := e.AppendJSON(nil)
		if err != nil {
			rt.Fatal(err)
		}
		if _, err := bloodbank.DecodeEnvelope(record); err != nil {
			rt.Fatal(err)
		}
		escaped := bytes.ContainsAny([]byte(e.OrderingKey), "\\\"\n")
		if same(rt, record) {
			taken++
		} else if !escaped {
			rt.Fatalf("peek does not know our own form: %s", record)
		}
	})
	if taken == 0 {
		t.Error("peek never took a record")
	}
}

func FuzzPeek(f *testing.F) {
	f.Add(record(f, "session"))
	f.Add([]byte(`{"event_id":"07000001-0000-0000-0000-000000000000","event_type":"a.b","timestamp":"","version":"","source":{},"correlation_ids":["`))
	f.Add([]byte(`{"event_type":"a.b","event_id":"07000001-0000-0000-0000-000000000000"}`))
	f.Fuzz(func(t *testing.T, data []byte) { same(t, data) })
}
