package gateway

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"pgregory.net/rapid"
)

func TestStamp(t *testing.T) {
	t.Parallel()
	given := oldID(1)
	stamped := "2026-01-27T10:00:00.123456Z"
	tests := []struct {
		name   string
		change func(*Request)
		want   string // the record, with the id cut off the front
	}{
		{"everything missing", func(*Request) {},
			`"timestamp":"` + stamped + `","version":"2.0.0","source":{"host":"box","type":"manual","app":"bb","meta":null},"correlation_ids":[],"agent_context":null,"payload":{"n":1}}`},
		{"the caller's app and type", func(r *Request) { r.App, r.SourceType = "web", bloodbank.SourceHook },
			`"timestamp":"` + stamped + `","version":"2.0.0","source":{"host":"box","type":"hook","app":"web","meta":null},"correlation_ids":[],"agent_context":null,"payload":{"n":1}}`},
		{"nothing missing", func(r *Request) {
			r.App = "web"
			r.Envelope.Timestamp = time.Date(2020, 1, 1, 1, 0, 0, 1999, time.FixedZone("", 3600))
			r.Envelope.Version = "1.0.0"
			r.Envelope.Source = bloodbank.Source{Host: "other", Type: bloodbank.SourceAgent}
		}, `"timestamp":"2020-01-01T00:00:00.000001Z","version":"1.0.0","source":{"host":"other","type":"agent","app":null,"meta":null},"correlation_ids":[],"agent_context":null,"payload":{"n":1}}`},
		{"app but no type", func(r *Request) { r.App = "web"; r.Envelope.Source.App = "mine" },
			`"timestamp":"` + stamped + `","version":"2.0.0","source":{"host":"box","type":"manual","app":"mine","meta":null},"correlation_ids":[],"agent_context":null,"payload":{"n":1}}`},
		{"unknown members and raw payload", func(r *Request) {
			r.Envelope.Extra = []bloodbank.Member{{Name: "x", Value: json.RawMessage("[1,\n2]")}}
			r.Envelope.Payload = json.RawMessage("{\r\n\"n\" : 12345678901234567890 }")
		}, `"timestamp":"` + stamped + `","version":"2.0.0","source":{"host":"box","type":"manual","app":"bb","meta":null},"correlation_ids":[],"agent_context":null,"payload":{  "n" : 12345678901234567890 },"x":[1, 2]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g, log := setup(t, nil)
			r := demo(given)
			tt.change(&r)
			receipt, err := g.Accept(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if want := (bloodbank.Receipt{EventID: given, Sequence: 1, Ack: bloodbank.AckWAL}); receipt != want {
				t.Errorf("receipt %+v", receipt)
			}
			_, rest, _ := strings.Cut(string(log.records[0]), `happened",`)
			if rest != tt.want {
				t.Errorf("got  %s\nwant %s", rest, tt.want)
			}
			checked, err := g.Check(r)
			if record, encoding := checked.AppendJSON(nil); err != nil || encoding != nil || string(record) != string(log.records[0]) {
				t.Errorf("Check says %s (%v)", record, err)
			}
			log.CheckAll(t)
		})
	}
}

func TestStampsFreshIDs(t *testing.T) {
	t.Parallel()
	g, log := setup(t, nil)
	for range 3 {
		receipt, err := g.Accept(t.Context(), demo(bloodbank.EventID{}))
		if err != nil || receipt.EventID[6]>>4 != 7 {
			t.Fatalf("%+v %v", receipt, err)
		}
	}
	log.CheckAll(t)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	parents := func(n int) (ids []bloodbank.EventID) {
		for i := range n {
			ids = append(ids, bloodbank.EventID{1, byte(i >> 8), byte(i)})
		}
		return ids
	}
	nested := func(n int) json.RawMessage {
		return json.RawMessage(`{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}`)
	}
	tests := []struct {
		name    string
		change  func(*Request)
		code    bloodbank.Code // "" is accepted
		says    string
		pointer string
	}{
		{"unknown parents", func(r *Request) { r.Envelope.CorrelationIDs = parents(bloodbank.MaxParents) }, "", "", ""},
		{"too many parents", func(r *Request) { r.Envelope.CorrelationIDs = parents(257) }, bloodbank.CodeInvalid, "257 parents; the limit is 256", ""},
		{"itself as parent", func(r *Request) { r.Envelope.CorrelationIDs = []bloodbank.EventID{oldID(1)} }, bloodbank.CodeInvalid, "cannot cause itself", ""},
		{"nil parent", func(r *Request) { r.Envelope.CorrelationIDs = make([]bloodbank.EventID, 1) }, bloodbank.CodeInvalid, "nil UUID", ""},
		{"no type", func(r *Request) { r.Envelope.EventType = "" }, bloodbank.CodeInvalid, "event_type is empty", ""},
		{"bad type", func(r *Request) { r.Envelope.EventType = "a b" }, bloodbank.CodeInvalid, "invalid event_type", ""},
		{"no payload", func(r *Request) { r.Envelope.Payload = nil }, bloodbank.CodeInvalid, "payload", ""},
		{"bad source type", func(r *Request) { r.Envelope.Source.Type = "who" }, bloodbank.CodeInvalid, "source.type", ""},
		{"year 10000", func(r *Request) { r.Envelope.Timestamp = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, bloodbank.CodeInvalid, "year", ""},
		{"unknown type", func(r *Request) { r.Envelope.EventType = "other.x.y" }, bloodbank.CodeUnknownType, "--permissive", ""},
		{"unknown type, permissive", func(r *Request) { r.Envelope.EventType = "other.x.y"; r.Permissive = true }, "", "", ""},
		{"bad payload", func(r *Request) { r.Envelope.Payload = json.RawMessage(`"bad"`) }, bloodbank.CodeSchema, "schema", "/where"},
		{"bad payload, permissive", func(r *Request) { r.Envelope.Payload = json.RawMessage(`"bad"`); r.Permissive = true }, bloodbank.CodeSchema, "schema", "/where"},
		{"bad payload, not looked at", func(r *Request) { r.Envelope.Payload = json.RawMessage(`"bad"`); r.SkipValidation = true }, "", "", ""},
		{"no JSON, not looked at", func(r *Request) { r.Envelope.Payload = json.RawMessage(`{`); r.SkipValidation = true }, bloodbank.CodeInvalid, "malformed JSON", ""},
		{"a name twice", func(r *Request) { r.Envelope.Payload = json.RawMessage(`{"a":1,"a":2}`) }, bloodbank.CodeInvalid, "malformed JSON", ""},
		{"no UTF-8", func(r *Request) { r.Envelope.Payload = json.RawMessage("\"\xff\"") }, bloodbank.CodeInvalid, "malformed JSON", ""},
		{"payload that closes the envelope", func(r *Request) { r.Envelope.Payload = json.RawMessage(`{}}`) }, bloodbank.CodeInvalid, "", ""},
		{"payload that adds a member", func(r *Request) { r.Envelope.Payload = json.RawMessage(`{},"event_id":"x"`) }, bloodbank.CodeInvalid, "", ""},
		{"member twice", func(r *Request) {
			r.Envelope.Extra = []bloodbank.Member{{Name: "payload", Value: json.RawMessage("1")}}
		}, bloodbank.CodeInvalid, "malformed JSON", ""},
		{"as deep as may be", func(r *Request) { r.Envelope.Payload = nested(bloodbank.MaxDepth - 1) }, "", "", ""},
		{"too deep", func(r *Request) { r.Envelope.Payload = nested(bloodbank.MaxDepth) }, bloodbank.CodeInvalid, "nests", ""},
		{"wide is not deep", func(r *Request) {
			r.Envelope.Payload = json.RawMessage(`[` + strings.Repeat("[],", 500) + `[]]`)
		}, "", "", ""},
		{"size, payload", func(r *Request) { r.Envelope.Payload = json.RawMessage(`"bad` + strings.Repeat("x", 20_000) + `"`) }, bloodbank.CodeTooLarge, "20005 bytes; the limit of an event is 20000", ""},
		{"size, whole event", func(r *Request) { r.Envelope.Payload = json.RawMessage(`"` + strings.Repeat("x", 19_990) + `"`) }, bloodbank.CodeTooLarge, "the limit of an event is 20000", ""},
		{"unknown ack level", func(r *Request) { r.Ack = "moon" }, bloodbank.CodeInvalid, "moon", ""},
		{"ack level without followers", func(r *Request) { r.Ack = bloodbank.AckBus }, bloodbank.CodeUnavailable, "ask for wal", ""},

		// The order of the checks: the cheaper first, and what is most wrong.
		{"size before schema", func(r *Request) {
			r.Envelope.EventType = "other.x.y"
			r.Envelope.Payload = make(json.RawMessage, 20_001)
		}, bloodbank.CodeTooLarge, "", ""},
		{"envelope before schema", func(r *Request) { r.Envelope.EventType = "other.x.y"; r.Envelope.Payload = nil }, bloodbank.CodeInvalid, "payload", ""},
		{"ack before all", func(r *Request) { r.Ack = "moon"; r.Envelope = bloodbank.Envelope{} }, bloodbank.CodeInvalid, "moon", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := demo(oldID(1))
			tt.change(&r)
			refuseOne(t, r, tt.code, tt.says, tt.pointer)
		})
	}
}

// refuseOne requires r to be refused with a code and words, or accepted where
// code is "".
func refuseOne(t *testing.T, r Request, code bloodbank.Code, says, pointer string) {
	g, log := setup(t, func(o *Options) { o.MaxEvent = 20_000 })
	_, err := g.Accept(t.Context(), r)
	log.CheckAll(t)
	if _, checked := g.Check(r); bloodbank.CodeOf(checked) != bloodbank.CodeOf(err) {
		t.Errorf("Check says %v", checked)
	}
	if code == "" {
		if err != nil || log.count() != 1 {
			t.Fatalf("%d records, %v", log.count(), err)
		}
		return
	}
	e := refused(t, err, code)
	if !strings.Contains(e.Error(), says) {
		t.Errorf("%q does not say %q", e, says)
	}
	if pointer != "" && (len(e.Details) != 1 || e.Details[0].Pointer != pointer) {
		t.Errorf("details %+v", e.Details)
	}
	if log.count() != 0 {
		t.Error("something was written")
	}
}

func TestPermissiveForAll(t *testing.T) {
	t.Parallel()
	g, _ := setup(t, func(o *Options) { o.Permissive = true })
	r := demo(oldID(1))
	r.Envelope.EventType = "other.x.y"
	if _, err := g.Accept(t.Context(), r); err != nil {
		t.Error(err)
	}
}

func TestArraysAreAllOrNothing(t *testing.T) {
	t.Parallel()
	bad := func(payload string) Request {
		r := demo(bloodbank.EventID{})
		r.Envelope.Payload = json.RawMessage(payload)
		return r
	}
	good := demo(bloodbank.EventID{})
	tests := []struct {
		name    string
		in      []Request
		code    bloodbank.Code
		pointer string
		says    string
	}{
		{"schema", []Request{good, good, good, bad(`"bad"`), good}, bloodbank.CodeSchema, "/3/payload/where", "event 4 of 5"},
		{"envelope", []Request{good, bad(``)}, bloodbank.CodeInvalid, "/1", "event 2 of 2 is refused, and so nothing was accepted"},
		{"the first of several", []Request{bad(``), bad(`"bad"`)}, bloodbank.CodeInvalid, "/0", "event 1 of 2"},
		{"alone", []Request{bad(`"bad"`)}, bloodbank.CodeSchema, "/where", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g, log := setup(t, nil)
			_, err := g.AcceptAll(t.Context(), tt.in)
			e := refused(t, err, tt.code)
			if len(e.Details) != 1 || e.Details[0].Pointer != tt.pointer || !strings.Contains(e.Message, tt.says) {
				t.Errorf("%q %+v", e.Message, e.Details)
			}
			if log.count() != 0 {
				t.Error("something was written")
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		g, log := setup(t, nil)
		if receipts, err := g.AcceptAll(t.Context(), nil); err != nil || len(receipts) != 0 || log.count() != 0 {
			t.Errorf("%v %v", receipts, err)
		}
	})
}

func TestLocateKeepsOtherErrors(t *testing.T) {
	t.Parallel()
	other := errors.New("other")
	if got := locate(other, 1, 2); got != other {
		t.Errorf("got %v", got)
	}
}

// Whatever a program puts into an envelope: it is refused, or everybody behind
// the log can read the record.
func TestAcceptedIsReadable(t *testing.T) {
	t.Parallel()
	g, log := setup(t, func(o *Options) { o.Permissive = true })
	raw := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		`{}`, `null`, `{"a":1,"a":2}`, `"x"`, `1e999`, "[\n]", `{},"x":1`, `"\ud800"`, strings.Repeat("[", 130) + strings.Repeat("]", 130),
	}))
	rapid.Check(t, func(rt *rapid.T) {
		r := demo(bloodbank.EventID{})
		r.Envelope.EventType = bloodbank.EventType(rapid.SampledFrom([]string{"demo.a.b", "x.y", "x", "x..y", "x.y\n"}).Draw(rt, "type"))
		r.Envelope.Payload = json.RawMessage(raw.Draw(rt, "payload"))
		r.Envelope.OrderingKey = rapid.String().Draw(rt, "key")
		r.Envelope.Version = rapid.String().Draw(rt, "version")
		r.Envelope.Source.Host = rapid.String().Draw(rt, "host")
		r.SkipValidation = rapid.Bool().Draw(rt, "skip")
		if rapid.Bool().Draw(rt, "meta") {
			r.Envelope.Source.Meta = json.RawMessage(raw.Draw(rt, "meta value"))
		}
		if rapid.Bool().Draw(rt, "agent") {
			r.Envelope.AgentContext = &bloodbank.AgentContext{Type: rapid.SampledFrom([]bloodbank.AgentType{"who", bloodbank.AgentCustom}).Draw(rt, "agent type"), Meta: json.RawMessage(raw.Draw(rt, "agent meta"))}
		}
		if rapid.Bool().Draw(rt, "member") {
			name := rapid.SampledFrom([]string{"x", "event_id", "payload", "data", "traceparent", "replay_of", ""}).Draw(rt, "name")
			r.Envelope.Extra = []bloodbank.Member{{Name: name, Value: json.RawMessage(raw.Draw(rt, "value"))}}
		}
		_, err := g.Accept(t.Context(), r)
		if code := bloodbank.CodeOf(err); err != nil && code != bloodbank.CodeInvalid && code != bloodbank.CodeSchema {
			rt.Fatalf("code %s: %v", code, err)
		}
	})
	// Few of those are sound; these are, so that there is always something to read.
	for _, payload := range []string{`{}`, "[\n]", `"x"`, `1e999`} {
		r := demo(bloodbank.EventID{})
		r.Envelope.Payload, r.SkipValidation = json.RawMessage(payload), true
		if _, err := g.Accept(t.Context(), r); err != nil {
			t.Errorf("%s: %v", payload, err)
		}
	}
	log.CheckAll(t)
}
