package rabbitmq

import (
	"encoding/json"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
)

// publishing gives m the properties of the original's messages, plus the
// correlation id that the original meant to set. Headers, type, app id and
// timestamp stay unset: its consumers never saw any.
func publishing(m bus.Message) amqp.Publishing {
	p := amqp.Publishing{
		ContentType:     "application/json",
		ContentEncoding: contentEncoding(m.Encoding),
		DeliveryMode:    amqp.Persistent,
		MessageId:       m.ID.String(),
		Body:            m.Data,
	}
	if !m.Parent.IsZero() {
		p.CorrelationId = m.Parent.String()
	}
	return p
}

// delivery reads what a producer of any kind sent. Nothing is refused here: what
// cannot be read stays zero, and the group's handler decides.
func delivery(d *amqp.Delivery) bus.Delivery {
	m := bus.Message{Type: bloodbank.EventType(d.RoutingKey), Data: d.Body, Encoding: coding(d.ContentEncoding)}
	id, err := bloodbank.ParseEventID(d.MessageId)
	if err != nil {
		id = idInside(d.Body)
	}
	m.ID = id
	if parent, err := bloodbank.ParseEventID(d.CorrelationId); err == nil {
		m.Parent = parent
	}
	return bus.Delivery{Message: m, Attempt: attempt(d)}
}

// contentEncoding is the property for a coding. The original names the character
// set there, so a plain message does too.
func contentEncoding(coding string) string {
	if coding == "" {
		return "utf-8"
	}
	return coding
}

// coding is the content coding in a content encoding, which is a character set
// with most producers: that is none.
func coding(contentEncoding string) string {
	switch name := strings.ToLower(contentEncoding); name {
	case "gzip", "deflate", "br", "zstd", "compress":
		return name
	case "x-gzip":
		return "gzip"
	}
	return ""
}

// idInside finds the id in the envelope of a producer that sets no message id.
func idInside(body []byte) bloodbank.EventID {
	var envelope struct {
		EventID string `json:"event_id"`
	}
	if json.Unmarshal(body, &envelope) != nil {
		return bloodbank.EventID{}
	}
	id, err := bloodbank.ParseEventID(envelope.EventID)
	if err != nil {
		return bloodbank.EventID{}
	}
	return id
}

// attempt counts deliveries. Classic queues only tell the first from the others.
func attempt(d *amqp.Delivery) int {
	if n, ok := d.Headers["x-delivery-count"].(int64); ok {
		return int(n) + 1
	}
	if d.Redelivered {
		return 2
	}
	return 1
}
