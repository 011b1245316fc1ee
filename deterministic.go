package bloodbank

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// DefaultNamespace is the namespace of deterministic ids where none is named.
const DefaultNamespace = "bloodbank"

// DeterministicID returns the id that the original system gives to the fact
// named by uniqueKey: UUIDv5(NAMESPACE_OID, "namespace:eventType:uniqueKey").
// The same three strings give the same id on every machine, so that an event
// produced twice is recognised as one. It needs no tracker and no state.
//
// The name is joined without escaping, as in the original, so different triples
// can collide ("a:b" with "c" and "a" with "b:c"). Text that is not UTF-8 is
// refused.
func DeterministicID(namespace string, eventType EventType, uniqueKey string) (EventID, error) {
	name := namespace + ":" + string(eventType) + ":" + uniqueKey
	if !utf8.ValidString(name) {
		return EventID{}, Errorf(CodeInvalid, "the name of a deterministic id must be valid UTF-8")
	}
	return EventID(uuid.NewSHA1(uuid.NameSpaceOID, []byte(name))), nil
}

// UniqueKey joins fields as the original does: "k=v|k=v", sorted by key in
// code point order, values as Python's str() prints them (True, None, 1.0,
// 1e+16, -0.0, nan). It takes string, bool, nil, all Go integers, *big.Int,
// float64, [EventID], [uuid.UUID] and [time.Time] (whole microseconds); other
// values must be rendered by the caller.
func UniqueKey(fields map[string]any) (string, error) {
	parts := make([]string, 0, len(fields))
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		v, err := pythonString(fields[k])
		if err != nil {
			return "", Errorf(CodeInvalid, "field %q of a deterministic id: %v", k, err)
		}
		parts = append(parts, k+"="+v)
	}
	return strings.Join(parts, "|"), nil
}

func pythonString(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "None", nil
	case string:
		return v, nil
	case bool:
		if v {
			return "True", nil
		}
		return "False", nil
	case int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return fmt.Sprint(v), nil
	case *big.Int:
		return v.String(), nil
	case float64:
		return pythonFloat(v), nil
	case EventID:
		return v.String(), nil
	case uuid.UUID:
		return v.String(), nil
	case time.Time:
		return pythonTime(v), nil
	default:
		return "", fmt.Errorf("a %T has no known Python form; pass its text", v)
	}
}

// pythonFloat prints the shortest digits that read back as f, with Python's
// choice of exponent: scientific below 1e-4 and from 1e16 on.
func pythonFloat(f float64) string {
	switch s := strconv.FormatFloat(f, 'g', -1, 64); s {
	case "NaN":
		return "nan"
	case "+Inf":
		return "inf"
	case "-Inf":
		return "-inf"
	}
	sci := strconv.FormatFloat(f, 'e', -1, 64)
	exp, _ := strconv.Atoi(sci[strings.IndexByte(sci, 'e')+1:])
	if f != 0 && (exp < -4 || exp >= 16) {
		return sci
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func pythonTime(t time.Time) string {
	layout := "2006-01-02 15:04:05"
	if t.Nanosecond()/1000 != 0 {
		layout += ".000000"
	}
	return t.Format(layout + "-07:00")
}
