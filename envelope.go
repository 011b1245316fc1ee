package bloodbank

import (
	"encoding/json"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits of the wire form.
const (
	// Version is the envelope version that we write; any version is read.
	Version = "2.0.0"
	// MaxDepth is how deep the JSON of an envelope may nest.
	MaxDepth = 128
	// MaxParents is how many parents an event may name.
	MaxParents = 256
)

// Envelope is an event: a typed payload with the events that caused it.
//
// The payload's bytes are never parsed into numbers and written again: 64-bit
// integers and the order of keys stay as they came. Line breaks between its
// tokens become spaces, because an event is one line wherever it is kept.
type Envelope struct {
	EventID   EventID
	EventType EventType
	Timestamp time.Time
	Version   string
	Source    Source
	// CorrelationIDs are the parents, the first one first. They need not be
	// known to the bus (yet).
	CorrelationIDs []EventID
	AgentContext   *AgentContext
	Payload        json.RawMessage

	// OrderingKey keeps events with the same key in order; "" leaves it to
	// [Envelope.Key]. Not written when empty.
	OrderingKey string
	// TraceParent is a W3C trace context. Not written when empty.
	TraceParent string
	// ReplayOf is the event that this one repeats. Not written when zero.
	ReplayOf EventID
	// Extra holds members that the wire form does not name, in their order.
	Extra []Member
}

// CorrelationID is the first parent, or the zero id.
func (e *Envelope) CorrelationID() EventID {
	if len(e.CorrelationIDs) == 0 {
		return EventID{}
	}
	return e.CorrelationIDs[0]
}

// SessionID is the payload's member session_id where that is text, else "".
func (e *Envelope) SessionID() string { return textMember(e.Payload, "session_id") }

// Key names the line in which the event waits its turn: [Envelope.OrderingKey],
// or else the payload's session. Events with the key "" have no order.
func (e *Envelope) Key() string {
	if e.OrderingKey != "" {
		return e.OrderingKey
	}
	return e.SessionID()
}

// Validate checks what every accepted envelope must have, whoever made it.
func (e *Envelope) Validate() error {
	if e.EventID.IsZero() {
		return missing("event_id")
	}
	if _, err := ParseEventType(string(e.EventType)); err != nil {
		return err
	}
	if e.Timestamp.IsZero() {
		return missing("timestamp")
	}
	if year := e.Timestamp.UTC().Year(); year < 0 || year > 9999 {
		return Errorf(CodeInvalid, "timestamp lies in the year %d; use one from 0 to 9999", year)
	}
	if e.Version == "" {
		return missing("version")
	}
	if err := e.Source.validate(); err != nil {
		return err
	}
	if len(e.Payload) == 0 {
		return missing("payload")
	}
	return e.validateParents()
}

func (e *Envelope) validateParents() error {
	if len(e.CorrelationIDs) > MaxParents {
		return Errorf(CodeInvalid, "correlation_ids names %d parents; the limit is %d", len(e.CorrelationIDs), MaxParents)
	}
	for _, id := range e.CorrelationIDs {
		if id.IsZero() {
			return Errorf(CodeInvalid, "correlation_ids holds the nil UUID, which names no event")
		}
		if id == e.EventID {
			return Errorf(CodeInvalid, "event %s names itself in correlation_ids; an event cannot cause itself", id)
		}
	}
	return nil
}

func (s *Source) validate() error {
	if s.Host == "" {
		return Errorf(CodeInvalid, "missing required source field: host")
	}
	if s.Type == "" {
		return Errorf(CodeInvalid, "missing required source field: type (source.type is one of manual, agent, scheduled, file_watch, hook)")
	}
	if !s.Type.Valid() {
		return Errorf(CodeInvalid, "source.type %s is not known: use manual, agent, scheduled, file_watch or hook", quoteShort(string(s.Type)))
	}
	return nil
}

func missing(field string) error {
	return Errorf(CodeInvalid, "missing required envelope field: %s", field)
}

// textMember returns the text of the named top-level member of object, or "".
func textMember(object []byte, name string) string {
	raw := rawMember(object, name)
	if len(raw) == 0 || raw[0] != '"' {
		return ""
	}
	text, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return ""
	}
	return string(text)
}
