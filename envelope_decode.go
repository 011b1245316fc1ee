package bloodbank

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// DecodeEnvelope reads the complete wire form of an event. It refuses anything
// that the original's validator or its models refuse: missing members, wrong
// types, unknown enum values; and, beyond that, text that is not UTF-8,
// duplicate names, nesting deeper than [MaxDepth] and a second value behind the
// first. Unknown members are kept. The pre-2025 form (id, ts, data) is read too.
//
// All faults come back as one [Error] with [CodeInvalid]. The envelope keeps
// no reference to data.
func DecodeEnvelope(data []byte) (Envelope, error) {
	e, seen, err := decodeEnvelope(data)
	if err != nil {
		return Envelope{}, err
	}
	for _, m := range requiredMembers() {
		if !seen[m] {
			return Envelope{}, missing(m)
		}
	}
	if !e.legacy && !e.hasApp {
		return Envelope{}, Errorf(CodeInvalid, "missing required source field: app")
	}
	return e.Envelope, e.Validate()
}

// DecodeDraft reads an envelope in which event_id, timestamp, version, source
// and correlation_ids may be missing, for a door that fills them in. What is
// there must be well-formed, and event_type and payload must be there.
func DecodeDraft(data []byte) (Envelope, error) {
	e, seen, err := decodeEnvelope(data)
	if err != nil {
		return Envelope{}, err
	}
	if !seen["event_type"] {
		return Envelope{}, missing("event_type")
	}
	if !seen["payload"] {
		return Envelope{}, missing("payload")
	}
	if seen["source"] {
		if err := e.Source.validate(); err != nil {
			return Envelope{}, err
		}
	}
	return e.Envelope, e.validateParents()
}

// UnmarshalJSON is [DecodeEnvelope].
func (e *Envelope) UnmarshalJSON(data []byte) error {
	v, err := DecodeEnvelope(data)
	if err == nil {
		*e = v
	}
	return err
}

func requiredMembers() []string {
	return []string{"event_id", "event_type", "timestamp", "version", "source", "payload"}
}

// decoding is an envelope on its way in, with what the strict form must know
// beyond its values.
type decoding struct {
	Envelope
	hasApp     bool
	textSource bool
	legacy     bool
}

func decodeEnvelope(data []byte) (decoding, map[string]bool, error) {
	var e decoding
	if depth := nesting(data); depth > MaxDepth {
		return e, nil, Errorf(CodeInvalid, "the JSON nests %d deep; the limit is %d", depth, MaxDepth)
	}
	seen := make(map[string]bool, 8)
	dec := jsontext.NewDecoder(bytes.NewBuffer(data))
	err := eachMember(dec, "an envelope", func(name string, raw []byte) error {
		seen[name] = true
		return e.setMember(name, raw)
	})
	if err != nil {
		return e, nil, err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return e, nil, Errorf(CodeInvalid, "there is more text behind the envelope; send one JSON value (or an array of them)")
	}
	if seen["data"] && !seen["payload"] {
		if err := e.fromLegacy(seen); err != nil {
			return e, nil, err
		}
	} else if e.textSource {
		return e, nil, Errorf(CodeInvalid, "source must be an object with host, type, app and meta")
	}
	return e, seen, nil
}

// eachMember reads one JSON object and hands over its members. raw is valid
// only during the call.
func eachMember(dec *jsontext.Decoder, what string, set func(name string, raw []byte) error) error {
	tok, err := dec.ReadToken()
	if err != nil {
		return malformed(err)
	}
	if tok.Kind() != '{' {
		return Errorf(CodeInvalid, "%s must be a JSON object, not %s", what, kindName(tok.Kind()))
	}
	for dec.PeekKind() != '}' {
		tok, err := dec.ReadToken()
		if err != nil {
			return malformed(err)
		}
		name := tok.String()
		raw, err := dec.ReadValue()
		if err != nil {
			return malformed(err)
		}
		if err := set(name, raw); err != nil {
			return err
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return malformed(err)
	}
	return nil
}

func malformed(err error) error {
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return Errorf(CodeInvalid, "the input is empty; send a JSON envelope")
	}
	return Errorf(CodeInvalid, "malformed JSON: %w", err)
}

func (e *decoding) setMember(name string, raw []byte) (err error) {
	switch name {
	case "event_id":
		e.EventID, err = decodeID(raw)
	case "event_type":
		var s string
		if s, err = decodeText(name, raw); err == nil {
			e.EventType, err = ParseEventType(s)
		}
	case "timestamp":
		var s string
		if s, err = decodeText(name, raw); err == nil {
			e.Timestamp, err = ParseTimestamp(s)
		}
	case "version":
		e.Version, err = decodeText(name, raw)
	case "source":
		err = e.setSource(raw)
	case "correlation_ids":
		e.CorrelationIDs, err = decodeParents(raw)
	case "agent_context":
		e.AgentContext, err = decodeAgentContext(raw)
	case "payload":
		e.Payload = bytes.Clone(raw)
	case "ordering_key":
		e.OrderingKey, err = decodeOptionalText(name, raw)
	case "traceparent":
		e.TraceParent, err = decodeOptionalText(name, raw)
	case "replay_of":
		if string(raw) != "null" {
			e.ReplayOf, err = decodeID(raw)
		}
	default:
		e.Extra = append(e.Extra, Member{Name: name, Value: bytes.Clone(raw)})
	}
	return err
}

// setSource reads the source object. A text is kept aside: only the legacy form
// may have one.
func (e *decoding) setSource(raw []byte) error {
	if raw[0] == '"' {
		s, err := decodeText("source", raw)
		e.Source, e.textSource = Source{App: s}, true
		return err
	}
	return eachMember(jsontext.NewDecoder(bytes.NewBuffer(raw)), "source", func(name string, raw []byte) (err error) {
		switch name {
		case "host":
			e.Source.Host, err = decodeText("source.host", raw)
		case "type":
			var s string
			s, err = decodeText("source.type", raw)
			e.Source.Type = SourceType(s)
		case "app":
			e.hasApp = true
			e.Source.App, err = decodeOptionalText("source.app", raw)
		case "meta":
			if !isObjectOrNull(raw) {
				return Errorf(CodeInvalid, "source.meta must be an object or null")
			}
			if string(raw) != "null" {
				e.Source.Meta = bytes.Clone(raw)
			}
		default:
			e.Source.Extra = append(e.Source.Extra, Member{Name: name, Value: bytes.Clone(raw)})
		}
		return err
	})
}

// fromLegacy turns the pre-2025 form {id, ts, event_type, source, data} into
// today's. Its target and session_id survive as unknown members.
func (e *decoding) fromLegacy(seen map[string]bool) (err error) {
	e.legacy = true
	rest := e.Extra[:0:0]
	for _, m := range e.Extra {
		switch {
		case m.Name == "id":
			e.EventID, err = decodeID(m.Value)
			seen["event_id"] = true
		case m.Name == "ts":
			var s string
			if s, err = decodeText("ts", m.Value); err == nil {
				e.Timestamp, err = ParseTimestamp(s)
			}
			seen["timestamp"] = true
		case m.Name == "data":
			e.Payload = m.Value
			seen["payload"] = true
		case m.Name == "correlation_id" && string(m.Value) != "null":
			var id EventID
			id, err = decodeID(m.Value)
			e.CorrelationIDs = []EventID{id}
		case m.Name == "correlation_id" || string(m.Value) == "null":
		default:
			rest = append(rest, m)
		}
		if err != nil {
			return err
		}
	}
	e.Extra = rest
	if e.textSource {
		e.Source = ParseSource(e.Source.App)
	}
	if !seen["version"] {
		e.Version, seen["version"] = "1.0.0", true
	}
	return nil
}

func decodeParents(raw []byte) ([]EventID, error) {
	if string(raw) == "null" {
		return nil, nil
	}
	var texts []json.RawMessage
	if raw[0] != '[' || json.Unmarshal(raw, &texts) != nil {
		return nil, Errorf(CodeInvalid, "correlation_ids must be a list of event ids")
	}
	ids := make([]EventID, len(texts))
	for i, text := range texts {
		id, err := decodeID(text)
		if err != nil {
			return nil, Errorf(CodeInvalid, "correlation_ids[%d]: %w", i, err)
		}
		ids[i] = id
	}
	return ids, nil
}
