package store

import (
	"slices"
	"strings"
	"time"

	"github.com/33god/bloodbank"
)

// Match reports whether the filter wants e. It means the same as a query with
// this filter on a store that holds e. It is safe for concurrent use and reads
// no clock: relative times were fixed when the filter was parsed.
func (f Filter) Match(e *bloodbank.Envelope) bool {
	s := subject{Envelope: e}
	for _, t := range f.Terms {
		holds := slices.ContainsFunc(t.Values, func(v Value) bool { return s.holds(t, v) })
		if holds == t.Not {
			return false
		}
	}
	return true
}

// subject is an event with the search text that several terms share.
type subject struct {
	*bloodbank.Envelope
	text string
}

func (s *subject) holds(t Term, v Value) bool {
	switch t.Field {
	case FieldText:
		if s.text == "" {
			s.text = SearchText(s.Envelope)
		}
		words, prefix := v.Words()
		return matchWords(s.text, words, prefix)
	case FieldType:
		return v.glob(string(s.EventType))
	case FieldTopic:
		return matchTopic(v.Text, string(s.EventType))
	case FieldApp:
		return v.glob(s.Source.App)
	case FieldHost:
		return v.glob(s.Source.Host)
	case FieldSource:
		return v.Text == string(s.Source.Type)
	case FieldAgent:
		a := s.AgentContext
		return a != nil && (v.glob(string(a.Type)) || a.Name != nil && v.glob(*a.Name))
	case FieldSession:
		return v.Text == s.SessionID()
	case FieldProject:
		return v.Text == payloadText(s.Payload, "project")
	case FieldID:
		return v.Text == s.EventID.String()
	case FieldParent:
		return slices.ContainsFunc(s.CorrelationIDs, func(id bloodbank.EventID) bool { return v.Text == id.String() })
	case FieldTrace:
		return v.traces(s.Envelope)
	case FieldIs:
		return s.is(v.Text)
	case FieldHas:
		return s.has(v)
	case FieldPayload:
		return matchMember(lookup(s.Payload, t.Path), v)
	case FieldSince:
		return !s.Timestamp.Truncate(time.Microsecond).Before(v.Time)
	case FieldUntil:
		return !s.Timestamp.Truncate(time.Microsecond).After(v.Time)
	}
	return false
}

func (s *subject) is(what string) bool {
	if what == "replayed" {
		return !s.ReplayOf.IsZero()
	}
	return strings.HasSuffix(string(s.EventType), ".failed") || strings.HasSuffix(string(s.EventType), ".error")
}

func (s *subject) has(v Value) bool {
	switch v.Text {
	case "parents":
		return len(s.CorrelationIDs) > 0
	case "agent":
		return s.AgentContext != nil
	}
	raw := lookup(s.Payload, v.Path)
	return raw != nil && raw.Kind() != 'n'
}

// glob compares text with the value, in which * is a wildcard unless quoted.
func (v Value) glob(text string) bool {
	if v.Phrase {
		return v.Text == text
	}
	return bloodbank.EventType(text).Match(v.Text)
}

// matchTopic applies an AMQP pattern: * is one word, # any number of them. It
// walks both from the left and, on a mismatch, lets the last # take one more
// word, so that the time is bounded by their product.
func matchTopic(pattern, topic string) bool {
	p, w := strings.Split(pattern, "."), strings.Split(topic, ".")
	i, j, hash, resume := 0, 0, -1, 0
	for j < len(w) {
		switch {
		case i < len(p) && p[i] == "#":
			hash, resume = i, j
			i++
		case i < len(p) && (p[i] == "*" || p[i] == w[j]):
			i, j = i+1, j+1
		case hash >= 0:
			resume++
			i, j = hash+1, resume
		default:
			return false
		}
	}
	for i < len(p) && p[i] == "#" {
		i++
	}
	return i == len(p)
}
