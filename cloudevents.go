package bloodbank

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// CloudEvents 1.0 (https://github.com/cloudevents/spec, core, JSON format and
// HTTP binding). This file reads them; cloudevents_out.go writes them.
//
// The mapping, in both directions: id is event_id, type is event_type, time is
// timestamp, data is payload. causationid is the first parent and bbparents all
// parents, comma-separated, because an attribute cannot be a list.
// correlationid is the root of the chain. Our source, agent context and version
// travel in bbsource, bbagentcontext and bbversion; source itself is
// bloodbank://host/app.
//
// Of a foreign event nothing is lost: an id that is not a UUID becomes a
// deterministic one over source and id, the pair that CloudEvents calls unique,
// and stays as the member ce_id; its source stays as ce_source; attributes that
// we do not know, and a correlationid, stay under their own names.
const (
	ceVersion      = "1.0"
	ceScheme       = "bloodbank"
	ceIDMember     = "ce_id"
	ceSourceMember = "ce_source"
)

// FromCloudEvent reads a structured-mode CloudEvent: one JSON object. What is
// missing from it (time, version) is left out of the envelope, for the gateway
// to stamp. The data must be JSON; without any, the payload is null.
//
// All faults come back as one [Error] with [CodeInvalid], or
// [CodeUnsupported] where the data is not JSON.
func FromCloudEvent(data []byte) (Envelope, error) {
	if err := checkDepth(data, MaxDepth); err != nil {
		return Envelope{}, err
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(data))
	c := cloudEvent{attributes: make(map[string]string)}
	if err := eachMember(dec, "a CloudEvent", c.set); err != nil {
		return Envelope{}, err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return Envelope{}, Errorf(CodeInvalid, "there is more text behind the CloudEvent; send a batch as a JSON array")
	}
	return c.envelope()
}

// FromCloudEventHeaders reads a binary-mode CloudEvent over HTTP: attributes in
// ce-* headers, percent-encoded, and the data in the body, whose media type is
// Content-Type. Errors are those of [FromCloudEvent]. The envelope keeps no
// reference to body.
func FromCloudEventHeaders(h http.Header, body []byte) (Envelope, error) {
	c := cloudEvent{attributes: make(map[string]string)}
	for name, values := range h {
		attribute, ok := strings.CutPrefix(strings.ToLower(name), "ce-")
		if !ok {
			continue
		}
		if len(values) != 1 || c.has(attribute) {
			return Envelope{}, Errorf(CodeInvalid, "header %s must be given once", quoteShort(name))
		}
		value, err := headerValue(values[0])
		if err != nil {
			return Envelope{}, Errorf(CodeInvalid, "header %s is not percent-encoded UTF-8", quoteShort(name))
		}
		if err := c.setText(attribute, value); err != nil {
			return Envelope{}, err
		}
	}
	c.attributes["datacontenttype"] = h.Get("Content-Type")
	if len(bytes.TrimSpace(body)) > 0 {
		if err := checkDepth(body, MaxDepth-1); err != nil { // the envelope is one level more
			return Envelope{}, err
		}
		c.data = bytes.Clone(body)
	}
	e, err := c.envelope() // which names a wrong media type before we mind the bytes
	if err == nil && !jsontext.Value(e.Payload).IsValid() {
		return Envelope{}, Errorf(CodeInvalid, "the body is not one valid JSON value")
	}
	return e, err
}

// IsCloudEvent reports whether the headers announce a binary-mode CloudEvent.
func IsCloudEvent(h http.Header) bool { return h.Get("Ce-Specversion") != "" }

// headerValue undoes what the HTTP binding does to a value: quotes and
// backslashes of older versions, then percent-encoding.
func headerValue(s string) (string, error) {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		var b strings.Builder
		for i := 1; i < len(s)-1; i++ {
			if s[i] == '\\' && i+1 < len(s)-1 {
				i++
			}
			b.WriteByte(s[i])
		}
		s = b.String()
	}
	s, err := url.PathUnescape(s)
	if err == nil && !utf8.ValidString(s) {
		err = errors.New("not UTF-8")
	}
	return s, err
}

func checkDepth(data []byte, limit int) error {
	if depth := nesting(data); depth > limit {
		return Errorf(CodeInvalid, "the JSON nests %d deep; the limit is %d", depth, limit)
	}
	return nil
}

// isJSONMedia reports whether a media type, with or without parameters, is JSON.
// None at all means JSON.
func isJSONMedia(media string) bool {
	media, _, _ = strings.Cut(strings.ToLower(media), ";")
	media = strings.TrimSpace(media)
	return media == "" || media == "application/json" || strings.HasSuffix(media, "+json")
}

// cloudEvent is a CloudEvent on its way in.
type cloudEvent struct {
	attributes map[string]string // those whose value is text; taken out as they are understood
	others     []Member          // those that are numbers or booleans
	data       []byte
	foreign    bool // its source is not one of ours
}

func (c *cloudEvent) set(name string, raw []byte) error {
	switch {
	case name == "data":
		c.data = bytes.Clone(raw)
	case name == "data_base64":
		return Errorf(CodeUnsupported, "the payload of an event is JSON: send it as data instead of data_base64")
	case string(raw) == "null": // the JSON format says: the same as absent
	case raw[0] == '"':
		text, err := decodeText(name, raw)
		if err != nil {
			return err
		}
		return c.setText(name, text)
	case raw[0] == '{' || raw[0] == '[' || isKnownAttribute(name):
		return Errorf(CodeInvalid, "CloudEvent attribute %s must not be %s", quoteShort(name), kindName(jsontext.Value(raw).Kind()))
	default:
		c.others = append(c.others, Member{Name: name, Value: bytes.Clone(raw)})
		return checkAttributeName(name)
	}
	return nil
}

func (c *cloudEvent) setText(name, text string) error {
	c.attributes[name] = text
	return checkAttributeName(name)
}

// checkAttributeName refuses a name that CloudEvents does not allow, or that a
// member of the envelope has: as an unknown member it would hide that one.
func checkAttributeName(name string) error {
	if !isAttributeName(name) {
		return Errorf(CodeInvalid, "%s is no name for a CloudEvent attribute: use lower-case letters and digits", quoteShort(name))
	}
	switch name {
	case "timestamp", "version", "payload":
		return Errorf(CodeInvalid, "CloudEvent attribute %s has the name of an envelope's member; use another", quoteShort(name))
	}
	return nil
}

// isAttributeName reports whether CloudEvents allows the name.
func isAttributeName(name string) bool {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return name != "" && name != "data"
}

// isKnownAttribute names the attributes that mean something here, all of them
// text.
func isKnownAttribute(name string) bool {
	switch name {
	case "specversion", "id", "source", "type", "time", "datacontenttype", "traceparent",
		"correlationid", "causationid", "bbparents", "bbversion", "bbsource", "bborderingkey", "bbreplayof", "bbagentcontext":
		return true
	}
	return false
}

func (c *cloudEvent) has(name string) bool {
	_, ok := c.attributes[name]
	return ok
}

func (c *cloudEvent) take(name string) string {
	value := c.attributes[name]
	delete(c.attributes, name)
	return value
}

// takeObject takes a JSON object that travels in text.
func (c *cloudEvent) takeObject(name string) ([]byte, error) {
	text := []byte(c.take(name))
	if len(text) == 0 {
		return nil, nil
	}
	if err := checkDepth(text, MaxDepth-1); err != nil {
		return nil, err
	}
	if text[0] != '{' || !jsontext.Value(text).IsValid() {
		return nil, Errorf(CodeInvalid, "%s must be a JSON object in text", name)
	}
	return text, nil
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
	for _, read := range []func(*Envelope) error{c.readIdentity, c.readCauses, c.readExtensions} {
		if err := read(&e); err != nil {
			return e, err
		}
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
	if e.EventID, err = ParseEventID(id); err != nil || e.EventID.IsZero() {
		e.EventID = foreignID(source, id)
		keep(e, ceIDMember, id)
	}
	if ts := c.take("time"); ts != "" {
		if e.Timestamp, err = ParseTimestamp(ts); err != nil {
			return err
		}
	}
	e.Version = c.take("bbversion")
	return c.readSource(e, source)
}

// foreignID is the event id of a CloudEvent whose id is not a UUID. A URI holds
// no line break, so no two pairs give the same name.
func foreignID(source, id string) EventID {
	return EventID(uuid.NewSHA1(uuid.NameSpaceURL, []byte(source+"\n"+id)))
}

// keep stores an attribute as an unknown member of the envelope.
func keep(e *Envelope, name, value string) {
	e.Extra = append(e.Extra, Member{Name: name, Value: appendText(nil, value)})
}

func (c *cloudEvent) readSource(e *Envelope, source string) error {
	u, err := url.Parse(source)
	if err != nil {
		return Errorf(CodeInvalid, "CloudEvent source %s is no URI reference", quoteShort(source))
	}
	if c.foreign = u.Scheme != ceScheme; c.foreign {
		keep(e, ceSourceMember, source)
	}
	full, err := c.takeObject("bbsource")
	if err != nil {
		return err
	}
	if full != nil {
		var d decoding
		if err := d.setSource(full); err != nil {
			return err
		}
		e.Source = d.Source
		return e.Source.validate()
	}
	host, app := strings.ToValidUTF8(u.Hostname(), "\uFFFD"), strings.ToValidUTF8(strings.Trim(u.Path, "/"), "\uFFFD")
	e.Source = Source{Host: host, Type: SourceHook, App: app}
	if e.Source.Host == "" {
		e.Source.Host = "unknown"
	}
	return nil
}

func (c *cloudEvent) readCauses(e *Envelope) error {
	first := c.take("causationid")
	if parents := c.take("bbparents"); parents != "" {
		for part := range strings.SplitSeq(parents, ",") {
			id, err := ParseEventID(strings.TrimSpace(part))
			if err != nil {
				return Errorf(CodeInvalid, "CloudEvent attribute bbparents: %w", err)
			}
			e.CorrelationIDs = append(e.CorrelationIDs, id)
		}
	} else if id, err := ParseEventID(first); err == nil {
		e.CorrelationIDs = []EventID{id}
	}
	if len(e.CorrelationIDs) == 0 && first != "" { // no UUID, so it names no event here
		keep(e, "causationid", first)
	}
	return nil
}

func (c *cloudEvent) readExtensions(e *Envelope) error {
	if !c.foreign {
		c.take("correlationid") // computed from the parents when it was written
	}
	e.OrderingKey = c.take("bborderingkey")
	e.TraceParent = c.take("traceparent")
	if id := c.take("bbreplayof"); id != "" {
		var err error
		if e.ReplayOf, err = ParseEventID(id); err != nil {
			return Errorf(CodeInvalid, "CloudEvent attribute bbreplayof: %w", err)
		}
	}
	agent, err := c.takeObject("bbagentcontext")
	if err != nil {
		return err
	}
	if agent != nil {
		if e.AgentContext, err = decodeAgentContext(agent); err != nil {
			return err
		}
	}
	for name, value := range c.attributes {
		keep(e, name, value)
	}
	e.Extra = append(e.Extra, c.others...)
	slices.SortFunc(e.Extra, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return nil
}
