package bloodbank

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// ToCloudEvent returns the event as a structured-mode CloudEvent: one line.
// root is the oldest ancestor, for correlationid; zero means the event itself.
// An event that came in as a CloudEvent goes out under the id, source and
// correlationid that it came with. Unknown members whose names or values
// CloudEvents does not allow for attributes are left out.
func (e *Envelope) ToCloudEvent(root EventID) ([]byte, error) {
	f := e.foreign(root)
	b := appendText([]byte(`{"specversion":"1.0","id":`), f.id)
	b = appendText(append(b, `,"source":`...), f.source)
	b = appendText(append(b, `,"type":`...), string(e.EventType))
	b = append(e.Timestamp.UTC().AppendFormat(append(b, `,"time":"`...), timestampLayout), '"')
	b = append(b, `,"datacontenttype":"application/json","correlationid":`...)
	b = appendText(b, f.correlation)
	b = e.appendCECauses(b)
	b = appendText(append(b, `,"bbversion":`...), e.Version)
	b = appendText(append(b, `,"bbsource":`...), string(e.Source.appendJSON(nil)))
	b, err := e.appendCEOptional(b)
	if err != nil {
		return nil, err
	}
	b = appendMembers(b, f.extra)
	return append(appendOneLine(append(b, `,"data":`...), e.Payload), '}'), nil
}

// foreignParts is what an event that came in as a CloudEvent came with.
type foreignParts struct {
	id, source, correlation string
	extra                   []Member
}

func (e *Envelope) foreign(root EventID) foreignParts {
	if root.IsZero() {
		root = e.EventID
	}
	f := foreignParts{id: e.EventID.String(), source: e.Source.uri(), correlation: root.String()}
	id, correlation := "", ""
	for _, m := range e.Extra {
		text, err := decodeText(m.Name, m.Value)
		switch {
		case m.Name == ceIDMember && err == nil:
			id = text
		case m.Name == ceSourceMember && err == nil && isForeignSource(text):
			f.source = text
		case m.Name == "correlationid" && err == nil:
			correlation = text
		case m.Name == "causationid" && err == nil && len(e.CorrelationIDs) == 0,
			isAttributeName(m.Name) && !isKnownAttribute(m.Name) && m.Value[0] != '{' && m.Value[0] != '[':
			f.extra = append(f.extra, m)
		}
	}
	if correlation != "" && isForeignSource(f.source) {
		f.correlation = correlation
	}
	// Anybody can write a member ce_id. It is the event's id only where the event
	// got its own from it.
	if id != "" && foreignID(f.source, id) == e.EventID {
		f.id = id
	}
	return f
}

// uri is the source for readers who know no bbsource. A host may be any text, a
// URI's may not: what does not fit becomes a dash.
func (s *Source) uri() string {
	host := strings.Map(func(c rune) rune {
		if c < utf8.RuneSelf && (isWordByte(byte(c)) || c == '.') {
			return c
		}
		return '-'
	}, s.Host)
	return (&url.URL{Scheme: ceScheme, Host: host, Path: "/" + s.App}).String()
}

func isForeignSource(text string) bool {
	u, err := url.Parse(text)
	return err == nil && text != "" && u.Scheme != ceScheme
}

func (e *Envelope) appendCECauses(b []byte) []byte {
	if len(e.CorrelationIDs) == 0 {
		return b
	}
	b = append(e.CorrelationIDs[0].appendText(append(b, `,"causationid":"`...)), '"')
	b = append(b, `,"bbparents":"`...)
	for i, parent := range e.CorrelationIDs {
		if i > 0 {
			b = append(b, ',')
		}
		b = parent.appendText(b)
	}
	return append(b, '"')
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
