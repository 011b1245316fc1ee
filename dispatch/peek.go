package dispatch

import (
	"bytes"

	"github.com/33god/bloodbank"
)

// peek reads of a record what dispatch needs, at a fraction of the cost of
// decoding it. It knows the one form in which the gateway writes events (the
// order of the members, no spaces) and reports false for anything else, which is
// then decoded. What it reads it reads as [bloodbank.DecodeEnvelope] does; what
// it passes over it does not check, because the log holds nothing but records
// that the gateway could decode, under a checksum.
func (m *message) peek() bool {
	p := peeker{data: m.bus.Data, ok: true}
	p.expect(`{"event_id":`)
	m.bus.ID = p.id()
	p.expect(`,"event_type":`)
	eventType, err := bloodbank.ParseEventType(string(p.text()))
	p.expect(`,"timestamp":`)
	p.value()
	p.expect(`,"version":`)
	p.value()
	p.expect(`,"source":`)
	p.value()
	p.expect(`,"correlation_ids":`)
	if bytes.HasPrefix(p.data, []byte(`["`)) {
		q := peeker{data: p.data[1:], ok: true}
		m.bus.Parent = q.id()
		p.ok = p.ok && q.ok
	}
	p.value()
	p.expect(`,"agent_context":`)
	p.value()
	p.expect(`,"payload":`)
	e := bloodbank.Envelope{Payload: p.value()}
	if bytes.HasPrefix(p.data, []byte(`,"ordering_key":`)) {
		p.expect(`,"ordering_key":`)
		e.OrderingKey = string(p.text())
	}
	p.ok = p.ok && err == nil && len(p.data) > 0
	m.bus.Type, m.key = eventType, ""
	if p.ok {
		m.key = e.Key()
	}
	return p.ok
}

// peeker walks over JSON text. Once ok is false it stays so.
type peeker struct {
	data []byte // what is left
	ok   bool
}

func (p *peeker) expect(literal string) {
	if len(p.data) < len(literal) || string(p.data[:len(literal)]) != literal {
		p.fail()
		return
	}
	p.data = p.data[len(literal):]
}

func (p *peeker) fail() { p.data, p.ok = nil, false }

// text takes a string without escapes and returns what is between the quotes.
func (p *peeker) text() []byte {
	raw := p.value()
	if len(raw) < 2 || raw[0] != '"' || bytes.IndexByte(raw, '\\') >= 0 {
		p.fail()
		return nil
	}
	return raw[1 : len(raw)-1]
}

func (p *peeker) id() bloodbank.EventID {
	id, err := bloodbank.ParseEventID(string(p.text()))
	if err != nil {
		p.fail()
	}
	return id
}

// value takes any value.
func (p *peeker) value() []byte {
	end := valueEnd(p.data)
	if end < 0 {
		p.fail()
		return nil
	}
	raw := p.data[:end]
	p.data = p.data[end:]
	return raw
}

// valueEnd returns the length of the value at the front of data, -1 where none
// ends.
func valueEnd(data []byte) int {
	depth := 0
	for i := 0; i < len(data); {
		switch data[i] {
		case '"':
			end := textEnd(data[i+1:])
			if end < 0 {
				return -1
			}
			i += 1 + end
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			} else if depth < 0 {
				return i // the end of what a bare word stands in
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return -1
}

// textEnd returns the length of a string behind its opening quote, with the
// closing one; -1 where it has none.
func textEnd(data []byte) int {
	for at := 0; ; {
		i := bytes.IndexByte(data[at:], '"')
		if i < 0 {
			return -1
		}
		i += at
		escapes := 0
		for i-escapes > 0 && data[i-escapes-1] == '\\' {
			escapes++
		}
		at = i + 1
		if escapes%2 == 0 {
			return at
		}
	}
}
