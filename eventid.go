package bloodbank

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// EventID identifies an event for ever. Two envelopes with the same id are the
// same event. The zero value means "not given".
type EventID [16]byte

// NewEventID returns a UUIDv7: ids made later sort later, which keeps the
// store's index small and fast.
func NewEventID() (EventID, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return EventID{}, Errorf(CodeInternal, "cannot make an event id: %v", err)
	}
	return EventID(id), nil
}

// ParseEventID reads the canonical text form (36 characters, either case).
// Other spellings of a UUID are refused, because every reader on the bus
// compares ids as text.
func ParseEventID(s string) (EventID, error) {
	id, ok := parseID(s)
	if !ok {
		return EventID{}, invalidID(s)
	}
	return id, nil
}

func parseID[T string | []byte](s T) (id EventID, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return EventID{}, false
	}
	i := 0
	for n := range id {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			i++
		}
		high, low := hexDigit(s[i]), hexDigit(s[i+1])
		if high > 15 || low > 15 {
			return EventID{}, false
		}
		id[n] = high<<4 | low
		i += 2
	}
	return id, true
}

// hexDigit returns the value of a hexadecimal digit of either case, or 255.
func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

func invalidID(s string) error {
	return Errorf(CodeInvalid, "invalid event id: must be a UUID, got %s", quoteShort(s))
}

// quoteShort quotes input for an error message without echoing megabytes of it.
func quoteShort(s string) string {
	const limit = 80
	if len(s) > limit {
		return fmt.Sprintf("%q… (%d bytes)", strings.ToValidUTF8(s[:limit], ""), len(s))
	}
	return fmt.Sprintf("%q", s)
}

// IsZero reports whether the id was not given.
func (id EventID) IsZero() bool { return id == EventID{} }

// String returns the canonical lower-case text form.
func (id EventID) String() string { return uuid.UUID(id).String() }

// MarshalText returns the canonical text form.
func (id EventID) MarshalText() ([]byte, error) { return id.appendText(nil), nil }

// UnmarshalText reads the canonical text form.
func (id *EventID) UnmarshalText(b []byte) error {
	v, err := ParseEventID(string(b))
	if err == nil {
		*id = v
	}
	return err
}

func (id EventID) appendText(b []byte) []byte {
	const digits = "0123456789abcdef"
	for i, x := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			b = append(b, '-')
		}
		b = append(b, digits[x>>4], digits[x&15])
	}
	return b
}
