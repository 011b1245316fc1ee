package client

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/33god/bloodbank"
)

// PublishRequest is an event to publish.
type PublishRequest struct {
	// Envelope is the event. What it lacks of event_id, timestamp, version and
	// source is filled in here, so that sending the same request again after a
	// lost answer needs [PublishRequest.Envelope] with its event_id.
	Envelope bloodbank.Envelope
	// Type and Payload fill the envelope where it has none.
	Type    bloodbank.EventType
	Payload json.RawMessage
	// Wait is the level to wait for; "" is AckWAL. The receipt says the level
	// that was reached in time.
	Wait bloodbank.AckLevel
	// Permissive accepts a type without a schema; SkipValidation does not look
	// at the payload at all.
	Permissive, SkipValidation bool
}

// PublishAllRequest is events to publish together; its other fields are those of
// [PublishRequest].
type PublishAllRequest struct {
	Envelopes                  []bloodbank.Envelope
	Wait                       bloodbank.AckLevel
	Permissive, SkipValidation bool
}

// Publish publishes one event. After an error with CodeTimeout or
// CodeUnavailable the event may have been accepted: send it again with the same
// event_id.
func (c *Client) Publish(ctx context.Context, r PublishRequest) (bloodbank.Receipt, error) {
	var receipt bloodbank.Receipt
	e := r.Envelope
	e.EventType = cmp.Or(e.EventType, r.Type)
	if len(e.Payload) == 0 {
		e.Payload = r.Payload
	}
	body, err := c.appendEvent(nil, e)
	if err != nil {
		return receipt, err
	}
	err = c.doJSON(ctx, publishCall(body, r.Wait, r.Permissive, r.SkipValidation), &receipt)
	return receipt, err
}

// PublishAll publishes all events or none, in their order, and returns their
// receipts in that order.
func (c *Client) PublishAll(ctx context.Context, r PublishAllRequest) ([]bloodbank.Receipt, error) {
	if len(r.Envelopes) == 0 {
		return nil, nil
	}
	body := []byte{'['}
	for i, e := range r.Envelopes {
		if i > 0 {
			body = append(body, ',')
		}
		var err error
		if body, err = c.appendEvent(body, e); err != nil {
			return nil, err
		}
	}
	var receipts []bloodbank.Receipt
	err := c.doJSON(ctx, publishCall(append(body, ']'), r.Wait, r.Permissive, r.SkipValidation), &receipts)
	if err == nil && len(receipts) != len(r.Envelopes) {
		err = bloodbank.Errorf(bloodbank.CodeInternal, "%s answered %d events with %d receipts", c.base, len(r.Envelopes), len(receipts))
	}
	return receipts, err
}

func publishCall(body []byte, wait bloodbank.AckLevel, permissive, skip bool) call {
	query := url.Values{}
	if wait != "" && wait != bloodbank.AckWAL {
		query.Set("wait", string(wait))
	}
	if permissive {
		query.Set("permissive", "true")
	}
	if skip {
		query.Set("skip_validation", "true")
	}
	return call{method: http.MethodPost, path: "/events", query: query, body: body, mediaType: "application/json"}
}

// appendEvent stamps and appends an event. The id is made here, not by the
// server: an event whose answer is lost can then be recognised.
func (c *Client) appendEvent(b []byte, e bloodbank.Envelope) ([]byte, error) {
	if e.EventID.IsZero() {
		id, err := bloodbank.NewEventID()
		if err != nil {
			return nil, err
		}
		e.EventID = id
	}
	if e.Timestamp.IsZero() {
		e.Timestamp = time.Now()
	}
	e.Version = cmp.Or(e.Version, bloodbank.Version)
	c.stampSource(&e.Source)
	if err := e.Validate(); err != nil {
		return nil, err
	}
	if !json.Valid(e.Payload) {
		return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "the payload is not valid JSON")
	}
	return e.AppendJSON(b)
}

func (c *Client) stampSource(s *bloodbank.Source) {
	if s.Host == "" && s.Type == "" && s.App == "" {
		program, _, _ := strings.Cut(c.o.UserAgent, "/")
		s.App = cmp.Or(c.o.Source.App, program)
		s.Meta, s.Extra = c.o.Source.Meta, c.o.Source.Extra
	}
	s.Type = cmp.Or(s.Type, c.o.Source.Type, bloodbank.SourceManual)
	s.Host = cmp.Or(s.Host, c.o.Source.Host)
	if s.Host == "" {
		name, _ := os.Hostname() // without a name the host is unknown
		s.Host = cmp.Or(name, "unknown")
	}
}
