package schema

import (
	"errors"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// formats are the formats that we check by our own rules, in the reference and
// in the quick checker alike. All others are the reference's own.
func formats() []*jsonschema.Format {
	return []*jsonschema.Format{
		textFormat("uuid", isUUID[string], "it is not 8-4-4-4-12 hexadecimal digits"),
		textFormat("date-time", isDateTime[string], "use RFC 3339 with an offset, such as 2026-01-27T10:00:00Z"),
		textFormat("date-time-local", isLocalDateTime[string], "use RFC 3339 without an offset, such as 2026-01-27T10:00:00"),
	}
}

func textFormat(name string, ok func(string) bool, reason string) *jsonschema.Format {
	return &jsonschema.Format{Name: name, Validate: func(v any) error {
		if s, isText := v.(string); isText && !ok(s) {
			return errors.New(reason)
		}
		return nil
	}}
}

// quickFormat returns the check of a format on bytes, or nil where the quick
// checker has none.
func quickFormat(name string) func([]byte) bool {
	switch name {
	case "uuid":
		return isUUID[[]byte]
	case "date-time":
		return isDateTime[[]byte]
	case "date-time-local":
		return isLocalDateTime[[]byte]
	}
	return nil
}

// isUUID accepts 36 characters, 8-4-4-4-12 hexadecimal digits of either case,
// any version, the nil UUID too.
func isUUID[T string | []byte](s T) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if !isHex(c) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// isDateTime accepts RFC 3339: a real day, an hour of 0 to 23, an offset. T and
// Z may be small. A leap second is accepted where UTC can have one: at 23:59:60.
func isDateTime[T string | []byte](s T) bool {
	n := localPrefix(s)
	if n == 0 || n == len(s) {
		return false
	}
	offset := 0
	switch c := s[n]; c {
	case 'Z', 'z':
		if n+1 != len(s) {
			return false
		}
	case '+', '-':
		if len(s) != n+6 || s[n+3] != ':' {
			return false
		}
		h, m := digits(s, n+1, 2), digits(s, n+4, 2)
		if h < 0 || h > 23 || m < 0 || m > 59 {
			return false
		}
		if offset = h*60 + m; c == '-' {
			offset = -offset
		}
	default:
		return false
	}
	if digits(s, 17, 2) < 60 {
		return true
	}
	minute := (digits(s, 11, 2)*60 + digits(s, 14, 2) - offset + 2*1440) % 1440
	return minute == 1439
}

// isLocalDateTime accepts RFC 3339 without the offset, as Python's naive
// datetimes print; T may be small.
func isLocalDateTime[T string | []byte](s T) bool {
	return len(s) > 0 && localPrefix(s) == len(s) && digits(s, 17, 2) < 60
}

// localPrefix returns how many bytes of s are a date, T, a time and maybe a
// fraction; 0 if it does not begin so.
func localPrefix[T string | []byte](s T) int {
	if len(s) < 19 || s[4] != '-' || s[7] != '-' || s[10] != 'T' && s[10] != 't' || s[13] != ':' || s[16] != ':' {
		return 0
	}
	year, month, day := digits(s, 0, 4), digits(s, 5, 2), digits(s, 8, 2)
	hour, minute, second := digits(s, 11, 2), digits(s, 14, 2), digits(s, 17, 2)
	if year < 0 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0
	}
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60 {
		return 0
	}
	if len(s) == 19 || s[19] != '.' {
		return 19
	}
	n := 20
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	if n == 20 {
		return 0
	}
	return n
}

// digits reads n decimal digits at i, or returns -1.
func digits[T string | []byte](s T, i, n int) int {
	v := 0
	for ; n > 0; i, n = i+1, n-1 {
		c := s[i] - '0'
		if c > 9 {
			return -1
		}
		v = v*10 + int(c)
	}
	return v
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}
