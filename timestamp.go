package bloodbank

import "time"

// timestampLayout is the one form that we emit: UTC, microseconds, Z.
const timestampLayout = "2006-01-02T15:04:05.000000Z"

// FormatTimestamp returns t in the form that envelopes carry: UTC with
// microseconds and Z. Finer digits are cut off.
func FormatTimestamp(t time.Time) string { return t.UTC().Format(timestampLayout) }

// ParseTimestamp reads RFC 3339 with any offset, and the same without an offset
// (as Python's naive datetimes print), which is taken as UTC. The separator may
// be T, t or a space. A leap second becomes the second after it; digits finer
// than nanoseconds are cut off.
func ParseTimestamp(s string) (time.Time, error) {
	t, ok := parseTimestamp(s)
	if !ok {
		return time.Time{}, Errorf(CodeInvalid, "invalid timestamp %s: use RFC 3339, such as 2026-01-27T10:00:00Z", quoteShort(s))
	}
	return t, nil
}

// parseTimestamp is stricter than [time.Parse], which also takes commas, single
// digits and offsets of more than a day.
func parseTimestamp(s string) (time.Time, bool) {
	if len(s) < 19 || s[4] != '-' || s[7] != '-' || s[13] != ':' || s[16] != ':' || s[10] != 'T' && s[10] != 't' && s[10] != ' ' {
		return time.Time{}, false
	}
	year, month, day := number(s[0:4]), number(s[5:7]), number(s[8:10])
	hour, minute, second := number(s[11:13]), number(s[14:16]), number(s[17:19])
	if year < 0 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60 {
		return time.Time{}, false
	}
	nanos, rest, ok := fraction(s[19:])
	offset, known := offsetSeconds(rest)
	if !ok || !known {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, min(second, 59), nanos, time.UTC)
	if t.Day() != day {
		return time.Time{}, false // there is no such day in that month
	}
	t = t.Add(-time.Duration(offset) * time.Second)
	if second == 60 {
		if t.Hour() != 23 || t.Minute() != 59 {
			return time.Time{}, false
		}
		t = t.Add(time.Second)
	}
	return t, true
}

// number reads decimal digits; it returns -1 if there is anything else.
func number(s string) int {
	n := 0
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return -1
		}
		n = n*10 + int(c)
	}
	return n
}

// fraction reads a decimal fraction of a second, if s begins with one.
func fraction(s string) (nanos int, rest string, ok bool) {
	if s == "" || s[0] != '.' {
		return 0, s, true
	}
	i, scale := 1, 100_000_000
	for ; i < len(s) && '0' <= s[i] && s[i] <= '9'; i++ {
		nanos += int(s[i]-'0') * scale
		scale /= 10
	}
	return nanos, s[i:], i > 1
}

// offsetSeconds reads Z, an offset such as +02:00, or nothing.
func offsetSeconds(s string) (int, bool) {
	if s == "" || s == "Z" || s == "z" {
		return 0, true
	}
	if len(s) != 6 || s[0] != '+' && s[0] != '-' || s[3] != ':' {
		return 0, false
	}
	hours, minutes := number(s[1:3]), number(s[4:6])
	if hours < 0 || hours > 23 || minutes < 0 || minutes > 59 {
		return 0, false
	}
	seconds := hours*3600 + minutes*60
	if s[0] == '-' {
		seconds = -seconds
	}
	return seconds, true
}
