package redis

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/33god/bloodbank"
)

const (
	forwardPrefix = "bloodbank:correlation:forward:"
	reversePrefix = "bloodbank:correlation:reverse:"

	// createdAt is Python's isoformat of an aware time in UTC. Nobody reads it.
	createdAt = "2006-01-02T15:04:05.000000+00:00"
)

func forwardKey(id bloodbank.EventID) string { return forwardPrefix + id.String() }
func reverseKey(id bloodbank.EventID) string { return reversePrefix + id.String() }

// forwardValue writes what stands under a forward key, byte for byte as the
// original does. Metadata must be a JSON object; empty means {}.
func forwardValue(parents []bloodbank.EventID, at time.Time, metadata json.RawMessage) string {
	var b strings.Builder
	b.WriteString(`{"parent_event_ids":[`)
	for i, p := range parents {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + p.String() + `"`)
	}
	b.WriteString(`],"created_at":"` + at.UTC().Format(createdAt) + `","metadata":`)
	if len(metadata) == 0 {
		b.WriteString("{}")
	} else {
		b.Write(metadata)
	}
	b.WriteByte('}')
	return b.String()
}

// readForward returns the parents within a forward value. Members that are no
// ids are left out, one by one; a value that is no such object has no parents.
func readForward(value []byte) []bloodbank.EventID { return appendForward(nil, value) }

func appendForward(parents []bloodbank.EventID, value []byte) []bloodbank.EventID {
	// The usual form with one parent is cut, not parsed.
	const usual = `{"parent_event_ids":["`
	if len(value) > len(usual)+38 && string(value[:len(usual)]) == usual && string(value[len(usual)+36:len(usual)+38]) == `"]` {
		return appendID(parents, value[len(usual):len(usual)+36])
	}
	var object struct {
		Parents []any `json:"parent_event_ids"`
	}
	if len(value) == 0 || json.Unmarshal(value, &object) != nil {
		return parents
	}
	for _, p := range object.Parents {
		if text, ok := p.(string); ok {
			parents = appendID(parents, text)
		}
	}
	return parents
}

func appendID[T string | []byte](ids []bloodbank.EventID, text T) []bloodbank.EventID {
	if id, ok := parseID(text); ok {
		ids = append(ids, id)
	}
	return ids
}

// digits holds the value of each character as a hexadecimal digit, or 0xff.
const digits = "" +
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" +
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\xff\xff\xff\xff\xff\xff" +
	"\xff\x0a\x0b\x0c\x0d\x0e\x0f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" +
	"\xff\x0a\x0b\x0c\x0d\x0e\x0f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"

// parseID does what [bloodbank.ParseEventID] does, in a third of the time and
// without an error to build: a chain has thousands.
func parseID[T string | []byte](s T) (id bloodbank.EventID, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, false
	}
	bad, at := byte(0), 0
	for i := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			at++
		}
		high, low := s[at], s[at+1]
		bad |= high | low // no ASCII sets the highest bit
		high, low = digits[high&0x7f], digits[low&0x7f]
		bad |= high | low // nor does a digit
		id[i] = high<<4 | low&0xf
		at += 2
	}
	return id, bad < 0x80
}
