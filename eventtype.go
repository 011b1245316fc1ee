package bloodbank

import "strings"

// MaxTypeLength is the longest event type in bytes. With the prefix of a NATS
// subject it stays within AMQP's 255 bytes for a routing key.
const MaxTypeLength = 200

// EventType names a kind of event: dot-separated words, usually
// <domain>.<entity>.<action>, for example "transcription.voice.completed".
type EventType string

// Types that the product itself publishes.
const (
	TypeVoiceCompleted EventType = "transcription.voice.completed"
	TypeSessionOpened  EventType = "transcription.session.opened"
	TypeSessionClosed  EventType = "transcription.session.closed"
)

// ParseEventType checks that s can be a routing key and a NATS subject: two or
// more words of letters, digits, "_" and "-", joined by dots.
func ParseEventType(s string) (EventType, error) {
	if s == "" {
		return "", Errorf(CodeInvalid, "event_type is empty; give one such as %s", TypeVoiceCompleted)
	}
	if len(s) > MaxTypeLength {
		return "", Errorf(CodeInvalid, "event_type has %d bytes; the limit is %d", len(s), MaxTypeLength)
	}
	words, length := 1, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.' && length > 0:
			words, length = words+1, 0
		case isWordByte(c):
			length++
		default:
			return "", invalidType(s)
		}
	}
	if words < 2 || length == 0 {
		return "", invalidType(s)
	}
	return EventType(s), nil
}

func isWordByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || c == '_' || c == '-'
}

func invalidType(s string) error {
	return Errorf(CodeInvalid, "invalid event_type %s: use two or more words of letters, digits, _ or - joined by dots", quoteShort(s))
}

// Domain is the first word of the type.
func (t EventType) Domain() string {
	domain, _, _ := strings.Cut(string(t), ".")
	return domain
}

// Match reports whether the type matches glob, in which each * stands for any
// run of characters, dots included ("agent.*", "*.failed").
func (t EventType) Match(glob string) bool {
	head, rest, found := strings.Cut(glob, "*")
	s := string(t)
	if !found {
		return s == glob
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	parts := strings.Split(rest, "*")
	last := parts[len(parts)-1]
	for _, part := range parts[:len(parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, last)
}
