package bloodbank

import (
	"bytes"
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
	e, err := decodeEnvelope(data)
	if err != nil {
		return Envelope{}, err
	}
	for _, name := range requiredMembers() {
		if !e.has(name) {
			return Envelope{}, missing(name)
		}
	}
	if err := e.Validate(); err != nil {
		return Envelope{}, err
	}
	if !e.legacy && !e.hasApp {
		return Envelope{}, Errorf(CodeInvalid, "missing required source field: app")
	}
	return e.Envelope, nil
}

// DecodeDraft reads an envelope in which event_id, timestamp, version, source
// and correlation_ids may be missing, for a door that fills them in. What is
// there must be well-formed, and event_type and payload must be there.
func DecodeDraft(data []byte) (Envelope, error) {
	e, err := decodeEnvelope(data)
	if err != nil {
		return Envelope{}, err
	}
	for _, name := range []string{"event_type", "payload"} {
		if !e.has(name) {
			return Envelope{}, missing(name)
		}
	}
	if e.has("source") {
		if err := e.Source.validate(); err != nil {
			return Envelope{}, err
		}
	}
	if err := e.validateParents(); err != nil {
		return Envelope{}, err
	}
	return e.Envelope, nil
}

// UnmarshalJSON is [DecodeEnvelope].
func (e *Envelope) UnmarshalJSON(data []byte) error {
	v, err := DecodeEnvelope(data)
	if err == nil {
		*e = v
	}
	return err
}

func requiredMembers() [6]string {
	return [...]string{"event_id", "event_type", "timestamp", "version", "source", "payload"}
}

// decoding is an envelope on its way in, with what the strict form must know
// beyond its values.
type decoding struct {
	Envelope
	seen       uint16 // a bit of memberBit for each member that was there
	hasApp     bool
	textSource bool
	legacy     bool
}

func (e *decoding) has(name string) bool { return e.seen&memberBit(name) != 0 }

// memberBit numbers the members that may be asked for; 0 for any other.
func memberBit(name string) uint16 {
	switch name {
	case "event_id":
		return 1
	case "event_type":
		return 2
	case "timestamp":
		return 4
	case "version":
		return 8
	case "source":
		return 16
	case "payload":
		return 32
	case "data":
		return 64
	}
	return 0
}

func decodeEnvelope(data []byte) (decoding, error) {
	var e decoding
	if err := members(data, "an envelope", e.setMember); err != nil {
		return e, err
	}
	if e.has("data") && !e.has("payload") {
		return e, e.fromLegacy()
	}
	if e.textSource {
		return e, Errorf(CodeInvalid, "source must be an object with host, type, app and meta")
	}
	return e, nil
}

// members hands over the members of the one JSON object that data is. raw is
// valid only during the call.
func members(data []byte, what string, set func(name string, raw []byte) error) error {
	var space [16]quickMember
	if list, ok := quickMembers(data, space[:0]); ok {
		for _, m := range list {
			if err := set(memberName(m.name), m.value); err != nil {
				return err
			}
		}
		return nil
	}
	// Deep input is refused before the strict parser can spend time on it.
	if depth := nesting(data); depth > MaxDepth {
		return Errorf(CodeInvalid, "the JSON nests %d deep; the limit is %d", depth, MaxDepth)
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(data))
	if err := eachMember(dec, what, set); err != nil {
		return err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return Errorf(CodeInvalid, "there is more text behind the envelope; send one JSON value (or an array of them)")
	}
	return nil
}

// memberName returns the name as a string, without a copy of those that are in
// every envelope.
func memberName(name []byte) string {
	switch string(name) {
	case "event_id":
		return "event_id"
	case "event_type":
		return "event_type"
	case "timestamp":
		return "timestamp"
	case "version":
		return "version"
	case "source":
		return "source"
	case "correlation_ids":
		return "correlation_ids"
	case "agent_context":
		return "agent_context"
	case "payload":
		return "payload"
	case "host":
		return "host"
	case "type":
		return "type"
	case "app":
		return "app"
	case "meta":
		return "meta"
	}
	return string(name)
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
	e.seen |= memberBit(name)
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
	return members(raw, "source", func(name string, raw []byte) (err error) {
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
func (e *decoding) fromLegacy() (err error) {
	e.legacy = true
	rest := e.Extra[:0:0]
	for _, m := range e.Extra {
		switch {
		case m.Name == "id":
			e.EventID, err = decodeID(m.Value)
			e.seen |= memberBit("event_id")
		case m.Name == "ts":
			var s string
			if s, err = decodeText("ts", m.Value); err == nil {
				e.Timestamp, err = ParseTimestamp(s)
			}
			e.seen |= memberBit("timestamp")
		case m.Name == "data":
			e.Payload = m.Value
			e.seen |= memberBit("payload")
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
	if !e.has("version") {
		e.Version = "1.0.0"
		e.seen |= memberBit("version")
	}
	return nil
}

func decodeParents(raw []byte) ([]EventID, error) {
	if string(raw) == "null" {
		return nil, nil
	}
	var space [8][]byte
	items, ok := quickItems(raw, space[:0])
	if !ok { // not a list, or one that cannot hold ids alone
		return nil, Errorf(CodeInvalid, "correlation_ids must be a list of event ids")
	}
	ids := make([]EventID, len(items))
	for i, item := range items {
		id, err := decodeID(item)
		if err != nil {
			return nil, Errorf(CodeInvalid, "correlation_ids[%d]: %w", i, err)
		}
		ids[i] = id
	}
	return ids, nil
}
