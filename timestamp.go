package bloodbank

import "time"

// timestampLayout is the one form that we emit: UTC, microseconds, Z.
const timestampLayout = "2006-01-02T15:04:05.000000Z"

// FormatTimestamp returns t in the form that envelopes carry: UTC with
// microseconds and Z. Finer digits are cut off.
func FormatTimestamp(t time.Time) string { return t.UTC().Format(timestampLayout) }

// ParseTimestamp reads RFC 3339 with any offset, and the same without an offset
// (as Python's naive datetimes print), which is taken as UTC. The separator may
// be T, t or a space.
func ParseTimestamp(s string) (time.Time, error) {
	norm := []byte(s)
	if len(norm) > 10 && (norm[10] == ' ' || norm[10] == 't') {
		norm[10] = 'T'
	}
	if n := len(norm); n > 0 && norm[n-1] == 'z' {
		norm[n-1] = 'Z'
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, string(norm)); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, Errorf(CodeInvalid, "invalid timestamp %s: use RFC 3339, such as 2026-01-27T10:00:00Z", quoteShort(s))
}
