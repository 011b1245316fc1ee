package bloodbank

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// CloudEvents 1.0 (https://github.com/cloudevents/spec, core and JSON format).
//
// The mapping, in both directions: id is event_id, type is event_type, time is
// timestamp, data is payload, and source is bloodbank://host/app with the rest
// of our source in extensions. correlationid is the root of the chain,
// causationid the first parent and bbparents all parents, comma-separated,
// because an extension attribute cannot be a list.
//
// An id that is not a UUID becomes a deterministic one over source and id, the
// pair that CloudEvents calls unique; the original stays as the unknown member
// ce_id. Attributes that we do not know survive as unknown members.
const (
	ceVersion      = "1.0"
	ceScheme       = "bloodbank"
	ceIDMember     = "ce_id"
	ceSourceMember = "ce_source"
)

// FromCloudEvent reads a structured-mode CloudEvent: one JSON object.
func FromCloudEvent(data []byte) (Envelope, error) {
	if depth := nesting(data); depth > MaxDepth {
		return Envelope{}, Errorf(CodeInvalid, "the JSON nests %d deep; the limit is %d", depth, MaxDepth)
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(data))
	c := cloudEvent{attributes: make(map[string]string)}
	if err := eachMember(dec, "a CloudEvent", c.set); err != nil {
		return Envelope{}, err
	}
	if rest := bytes.TrimSpace(data[dec.InputOffset():]); len(rest) > 0 {
		return Envelope{}, Errorf(CodeInvalid, "there is more text behind the CloudEvent; send a batch as a JSON array")
	}
	return c.envelope()
}

// FromCloudEventHeaders reads a binary-mode CloudEvent over HTTP: attributes in
// ce-* headers, percent-encoded, and the data in the body.
func FromCloudEventHeaders(h http.Header, body []byte) (Envelope, error) {
	c := cloudEvent{attributes: make(map[string]string)}
	for name, values := range h {
		attribute, ok := strings.CutPrefix(strings.ToLower(name), "ce-")
		if !ok {
			continue
		}
		value, err := url.PathUnescape(values[0])
		if err != nil || !utf8.ValidString(value) {
			return Envelope{}, Errorf(CodeInvalid, "header %s is not percent-encoded UTF-8", name)
		}
		c.attributes[attribute] = value
	}
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	if !isJSONMedia(strings.TrimSpace(media)) {
		return Envelope{}, Errorf(CodeUnsupported, "the data of a CloudEvent must be JSON, not %s", quoteShort(media))
	}
	if depth := nesting(body); depth > MaxDepth {
		return Envelope{}, Errorf(CodeInvalid, "the JSON nests %d deep; the limit is %d", depth, MaxDepth)
	}
	if !jsontext.Value(body).IsValid() {
		return Envelope{}, Errorf(CodeInvalid, "the body is not one valid JSON value")
	}
	c.data = bytes.Clone(body)
	return c.envelope()
}

// IsCloudEvent reports whether the headers announce a binary-mode CloudEvent.
func IsCloudEvent(h http.Header) bool { return h.Get("Ce-Specversion") != "" }

func isJSONMedia(media string) bool {
	media = strings.ToLower(media)
	return media == "" || media == "application/json" || strings.HasSuffix(media, "+json")
}

// cloudEvent is a CloudEvent on its way in.
type cloudEvent struct {
	attributes map[string]string // those whose value is text
	others     []Member          // those that are numbers or booleans
	data       []byte
}

func (c *cloudEvent) set(name string, raw []byte) error {
	switch {
	case name == "data":
		c.data = bytes.Clone(raw)
	case name == "data_base64":
		text, err := decodeText(name, raw)
		if err != nil {
			return err
		}
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil || nesting(decoded) > MaxDepth || !jsontext.Value(decoded).IsValid() {
			return Errorf(CodeInvalid, "data_base64 must hold JSON in base64")
		}
		c.data = decoded
	case raw[0] == '"':
		text, err := decodeText(name, raw)
		c.attributes[name] = text
		return err
	case string(raw) == "null":
	case raw[0] == '{' || raw[0] == '[':
		return Errorf(CodeInvalid, "CloudEvent attribute %s must be text, a number or a boolean", quoteShort(name))
	default:
		c.others = append(c.others, Member{Name: name, Value: bytes.Clone(raw)})
	}
	return nil
}

func (c *cloudEvent) take(name string) string {
	value := c.attributes[name]
	delete(c.attributes, name)
	return value
}

func (c *cloudEvent) envelope() (Envelope, error) {
	var e Envelope
	if v := c.take("specversion"); v != ceVersion {
		return e, Errorf(CodeInvalid, "CloudEvents specversion %s is not known; send %s", quoteShort(v), ceVersion)
	}
	if media := c.take("datacontenttype"); !isJSONMedia(media) {
		return e, Errorf(CodeUnsupported, "the data of a CloudEvent must be JSON, not %s", quoteShort(media))
	}
	for _, name := range []string{"id", "source", "type"} {
		if c.attributes[name] == "" {
			return e, Errorf(CodeInvalid, "missing required CloudEvent attribute: %s", name)
		}
	}
	if err := c.readIdentity(&e); err != nil {
		return e, err
	}
	if err := c.readCauses(&e); err != nil {
		return e, err
	}
	if err := c.readExtensions(&e); err != nil {
		return e, err
	}
	e.Payload = c.data
	if e.Payload == nil {
		e.Payload = json.RawMessage("null")
	}
	return e, e.validateParents()
}

func (c *cloudEvent) readIdentity(e *Envelope) (err error) {
	if e.EventType, err = ParseEventType(c.take("type")); err != nil {
		return err
	}
	id, source := c.take("id"), c.take("source")
	if e.EventID, err = ParseEventID(id); err != nil {
		e.EventID = EventID(uuid.NewSHA1(uuid.NameSpaceURL, []byte(source+"#"+id)))
		e.Extra = append(e.Extra, Member{Name: ceIDMember, Value: appendText(nil, id)})
	}
	if ts := c.take("time"); ts != "" {
		if e.Timestamp, err = ParseTimestamp(ts); err != nil {
			return err
		}
	}
	e.Version = c.take("bbversion")
	return c.readSource(e, source)
}

func (c *cloudEvent) readSource(e *Envelope, source string) error {
	u, err := url.Parse(source)
	if err != nil {
		return Errorf(CodeInvalid, "CloudEvent source %s is no URI reference", quoteShort(source))
	}
	if full := c.take("bbsource"); full != "" && u.Scheme == ceScheme {
		return (&decoding{Envelope: *e}).sourceInto(e, []byte(full))
	}
	e.Source = Source{Host: u.Hostname(), Type: SourceHook, App: strings.Trim(u.Path, "/")}
	if e.Source.Host == "" {
		e.Source.Host = "unknown"
	}
	if u.Scheme != ceScheme {
		e.Extra = append(e.Extra, Member{Name: ceSourceMember, Value: appendText(nil, source)})
	}
	return nil
}

// sourceInto reads a source object into e.
func (d *decoding) sourceInto(e *Envelope, raw []byte) error {
	if !jsontext.Value(raw).IsValid() || raw[0] != '{' {
		return Errorf(CodeInvalid, "bbsource must be a JSON object in text")
	}
	if err := d.setSource(raw); err != nil {
		return err
	}
	e.Source = d.Source
	return e.Source.validate()
}

func (c *cloudEvent) readCauses(e *Envelope) error {
	parents := c.take("bbparents")
	first := c.take("causationid")
	if parents == "" {
		parents = first
	}
	for part := range strings.SplitSeq(parents, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		id, err := ParseEventID(part)
		if err != nil {
			if part == first { // a foreign causation id that is no UUID cannot be a parent here
				e.Extra = append(e.Extra, Member{Name: "causationid", Value: appendText(nil, first)})
				continue
			}
			return err
		}
		e.CorrelationIDs = append(e.CorrelationIDs, id)
	}
	return nil
}

func (c *cloudEvent) readExtensions(e *Envelope) (err error) {
	e.OrderingKey = c.take("bborderingkey")
	e.TraceParent = c.take("traceparent")
	if id := c.take("bbreplayof"); id != "" {
		if e.ReplayOf, err = ParseEventID(id); err != nil {
			return err
		}
	}
	if agent := c.take("bbagentcontext"); agent != "" {
		if e.AgentContext, err = decodeAgentContext([]byte(agent)); err != nil {
			return err
		}
	}
	for name, value := range c.attributes {
		if isEnvelopeMember(name) {
			return Errorf(CodeInvalid, "CloudEvent attribute %s has the name of an envelope's member", quoteShort(name))
		}
		e.Extra = append(e.Extra, Member{Name: name, Value: appendText(nil, value)})
	}
	e.Extra = append(e.Extra, c.others...)
	slices.SortStableFunc(e.Extra, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

func isEnvelopeMember(name string) bool {
	switch name {
	case "event_id", "event_type", "timestamp", "version", "source", "correlation_ids", "agent_context",
		"payload", "ordering_key", "traceparent", "replay_of":
		return true
	}
	return false
}

// ToCloudEvent returns the event as a structured-mode CloudEvent. root is the
// oldest ancestor, for correlationid; zero means the event itself.
func (e *Envelope) ToCloudEvent(root EventID) ([]byte, error) {
	if root.IsZero() {
		root = e.EventID
	}
	extra, id, source := e.ceIdentity()
	b := appendText([]byte(`{"specversion":"1.0","id":`), id)
	b = appendText(append(b, `,"source":`...), source)
	b = appendText(append(b, `,"type":`...), string(e.EventType))
	b = append(e.Timestamp.UTC().AppendFormat(append(b, `,"time":"`...), timestampLayout), '"')
	b = append(b, `,"datacontenttype":"application/json","correlationid":"`...)
	b = append(root.appendText(b), '"')
	if len(e.CorrelationIDs) > 0 {
		b = append(e.CorrelationIDs[0].appendText(append(b, `,"causationid":"`...)), '"')
		b = append(b, `,"bbparents":"`...)
		for i, parent := range e.CorrelationIDs {
			if i > 0 {
				b = append(b, ',')
			}
			b = parent.appendText(b)
		}
		b = append(b, '"')
	}
	b = appendText(append(b, `,"bbversion":`...), e.Version)
	b = appendText(append(b, `,"bbsource":`...), string(e.Source.appendJSON(nil)))
	b, err := e.appendCEOptional(b)
	if err != nil {
		return nil, err
	}
	b = appendMembers(b, extra)
	return append(appendOneLine(append(b, `,"data":`...), e.Payload), '}'), nil
}

// ceIdentity gives back the id and source under which a CloudEvent came in.
func (e *Envelope) ceIdentity() (extra []Member, id, source string) {
	id = e.EventID.String()
	source = (&url.URL{Scheme: ceScheme, Host: url.PathEscape(e.Source.Host), Path: "/" + e.Source.App}).String()
	for _, m := range e.Extra {
		text, err := decodeText(m.Name, m.Value)
		switch {
		case m.Name == ceIDMember && err == nil:
			id = text
		case m.Name == ceSourceMember && err == nil:
			source = text
		case isAttributeName(m.Name) && !(m.Value[0] == '{' || m.Value[0] == '['):
			extra = append(extra, m)
		}
	}
	return extra, id, source
}

// isAttributeName reports whether CloudEvents allows the name: lower-case
// letters and digits.
func isAttributeName(name string) bool {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return name != "" && name != "data"
}

func (e *Envelope) appendCEOptional(b []byte) ([]byte, error) {
	if e.OrderingKey != "" {
		b = appendText(append(b, `,"bborderingkey":`...), e.OrderingKey)
	}
	if e.TraceParent != "" {
		b = appendText(append(b, `,"traceparent":`...), e.TraceParent)
	}
	if !e.ReplayOf.IsZero() {
		b = append(e.ReplayOf.appendText(append(b, `,"bbreplayof":"`...)), '"')
	}
	if e.AgentContext != nil {
		agent, err := e.AgentContext.appendJSON(nil)
		if err != nil {
			return nil, err
		}
		b = appendText(append(b, `,"bbagentcontext":`...), string(agent))
	}
	return b, nil
}
