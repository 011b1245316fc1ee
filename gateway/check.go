package gateway

import (
	"bytes"
	"cmp"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/33god/bloodbank"
)

// pendingEvent is a checked event on its way into the log.
type pendingEvent struct {
	id     bloodbank.EventID
	given  bool // the caller chose the id, so it may be a duplicate
	record []byte
	twin   int // index of the first event with this id in the same batch
}

// Check stamps and checks an event as [Gateway.Accept] would, and writes
// nothing. It returns the stamped envelope, also with an error.
func (g *Gateway) Check(r Request) (bloodbank.Envelope, error) {
	e, _, err := g.prepare(&r)
	return e, err
}

// prepare stamps and checks one event and renders its record.
func (g *Gateway) prepare(r *Request) (bloodbank.Envelope, pendingEvent, error) {
	e := r.Envelope
	p := pendingEvent{given: !e.EventID.IsZero()}
	if err := g.checkAck(r.Ack); err != nil {
		return e, p, err
	}
	if len(e.Payload) > g.o.MaxEvent { // before anything reads it
		return e, p, g.tooLarge("payload", len(e.Payload))
	}
	if err := g.stamp(&e, r); err != nil {
		return e, p, err
	}
	if err := e.Validate(); err != nil {
		return e, p, err
	}
	if err := g.checkPayload(r, &e); err != nil {
		return e, p, err
	}
	record, err := e.AppendJSON(make([]byte, 0, 512+len(e.Payload)))
	if err == nil && !r.Decoded {
		err = checkRecord(&e, record)
	}
	if err == nil && len(record) > g.o.MaxEvent {
		err = g.tooLarge("event", len(record))
	}
	p.id, p.record = e.EventID, record
	return e, p, err
}

func (g *Gateway) checkAck(level bloodbank.AckLevel) error {
	level, err := bloodbank.ParseAckLevel(string(level))
	if err == nil && level != bloodbank.AckWAL && g.o.Progress == nil {
		err = bloodbank.Errorf(bloodbank.CodeUnavailable, "nothing here can wait for ack level %s; ask for wal", level)
	}
	return err
}

func (g *Gateway) tooLarge(what string, size int) error {
	return bloodbank.Errorf(bloodbank.CodeTooLarge,
		"the %s has %d bytes; the limit of an event is %d. Store large content elsewhere and publish its address", what, size, g.o.MaxEvent)
}

// stamp fills in what is missing and touches nothing else.
func (g *Gateway) stamp(e *bloodbank.Envelope, r *Request) error {
	if e.EventID.IsZero() {
		id, err := bloodbank.NewEventID()
		if err != nil {
			return err
		}
		e.EventID = id
	}
	if e.Timestamp.IsZero() {
		e.Timestamp = g.o.Now()
	}
	e.Version = cmp.Or(e.Version, bloodbank.Version)
	e.Source.Host = cmp.Or(e.Source.Host, g.o.Host)
	if e.Source.Type == "" {
		e.Source.Type = cmp.Or(r.SourceType, bloodbank.SourceManual)
		e.Source.App = cmp.Or(e.Source.App, r.App, "bb")
	}
	return nil
}

func (g *Gateway) checkPayload(r *Request, e *bloodbank.Envelope) error {
	switch {
	case r.SkipValidation:
		return nil
	case g.o.Permissive || r.Permissive:
		return g.o.Schemas.ValidatePermissive(e.EventType, e.Payload)
	default:
		return g.o.Schemas.Validate(e.EventType, e.Payload)
	}
}

// checkRecord makes sure that everybody behind the log can read the record of an
// envelope that was made by a program, which may hold anything in its raw parts. The quick test covers an envelope whose only raw part is the
// payload.
func checkRecord(e *bloodbank.Envelope, record []byte) error {
	plain := e.AgentContext == nil && len(e.Source.Meta)+len(e.Source.Extra)+len(e.Extra) == 0
	// JSON nests at most as deep as it has opening brackets.
	shallow := bytes.Count(record, []byte{'{'})+bytes.Count(record, []byte{'['}) <= bloodbank.MaxDepth
	if plain && shallow && jsontext.Value(record).IsValid() {
		return nil
	}
	_, err := bloodbank.DecodeEnvelope(record)
	return err
}
