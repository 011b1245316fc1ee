package bloodbank

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// AppendJSON appends the wire form to b: one line, no spaces of our own, the
// members in the order of the original, absent values as null.
func (e *Envelope) AppendJSON(b []byte) ([]byte, error) {
	b = append(b, `{"event_id":"`...)
	b = e.EventID.appendText(b)
	b = append(b, `","event_type":`...)
	b = appendText(b, string(e.EventType))
	b = append(b, `,"timestamp":"`...)
	b = e.Timestamp.UTC().AppendFormat(b, timestampLayout)
	b = append(b, `","version":`...)
	b = appendText(b, e.Version)
	b = append(b, `,"source":`...)
	b = e.Source.appendJSON(b)
	b = append(b, `,"correlation_ids":[`...)
	for i, id := range e.CorrelationIDs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(id.appendText(append(b, '"')), '"')
	}
	b = append(b, `],"agent_context":`...)
	b, err := e.AgentContext.appendJSON(b)
	if err != nil {
		return nil, err
	}
	b = append(b, `,"payload":`...)
	b = appendOneLine(b, e.Payload)
	return append(e.appendOptional(b), '}'), nil
}

// MarshalJSON returns the wire form.
func (e Envelope) MarshalJSON() ([]byte, error) {
	return e.AppendJSON(make([]byte, 0, 320+len(e.Payload)))
}

func (e *Envelope) appendOptional(b []byte) []byte {
	if e.OrderingKey != "" {
		b = appendText(append(b, `,"ordering_key":`...), e.OrderingKey)
	}
	if e.TraceParent != "" {
		b = appendText(append(b, `,"traceparent":`...), e.TraceParent)
	}
	if !e.ReplayOf.IsZero() {
		b = append(e.ReplayOf.appendText(append(b, `,"replay_of":"`...)), '"')
	}
	return appendMembers(b, e.Extra)
}

func (s *Source) appendJSON(b []byte) []byte {
	b = appendText(append(b, `{"host":`...), s.Host)
	b = appendText(append(b, `,"type":`...), string(s.Type))
	b = append(b, `,"app":`...)
	if s.App == "" {
		b = append(b, "null"...)
	} else {
		b = appendText(b, s.App)
	}
	b = append(b, `,"meta":`...)
	if len(s.Meta) == 0 {
		b = append(b, "null"...)
	} else {
		b = appendOneLine(b, s.Meta)
	}
	return append(appendMembers(b, s.Extra), '}')
}

func appendMembers(b []byte, members []Member) []byte {
	for _, m := range members {
		b = appendText(append(b, ','), m.Name)
		b = appendOneLine(append(b, ':'), m.Value)
	}
	return b
}

// appendText appends s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD; decoded input never holds any.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			quoted, _ := jsontext.AppendQuote(b, s) // errs only by replacing invalid UTF-8
			return quoted
		}
	}
	b = append(append(b, '"'), s...)
	return append(b, '"')
}

// appendOneLine appends JSON text with its line breaks turned into spaces. In
// valid JSON a raw line break can only stand between tokens, so the value does
// not change.
func appendOneLine(b, raw []byte) []byte {
	start := len(b)
	b = append(b, raw...)
	if bytes.ContainsAny(raw, "\r\n") {
		for i, c := range b[start:] {
			if c == '\n' || c == '\r' {
				b[start+i] = ' '
			}
		}
	}
	return b
}
