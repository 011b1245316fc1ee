package store

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/33god/bloodbank"
)

// value checks one value of t and brings it into its canonical form.
func (p *parser) value(t Term, text string, quoted bool) (Value, error) {
	v := Value{Text: text, Phrase: quoted}
	switch t.Field {
	case FieldText:
		return p.textValue(v)
	case FieldType:
		return p.typeValue(v)
	case FieldTopic:
		if !isTopic(text) {
			return v, p.fail("is no topic pattern; use words, * for one word and # for any number, joined by dots: topic:agent.#")
		}
		v.Phrase = false
	case FieldSource:
		if !bloodbank.SourceType(text).Valid() {
			return v, p.fail("names no source type; use manual, agent, scheduled, file_watch or hook (source.app is app:)")
		}
		v.Phrase = false
	case FieldSession, FieldProject:
		if !quoted && strings.Contains(text, "*") {
			return v, p.fail("has a *, which %s does not take; quote it to mean the character itself", t.Field)
		}
	case FieldID, FieldParent, FieldTrace:
		id, err := bloodbank.ParseEventID(text)
		if err != nil {
			return v, p.fail("needs an event id: a UUID of 36 characters, without *")
		}
		v = Value{Text: id.String()}
	case FieldIs:
		return p.oneOf(v, "failed", "replayed")
	case FieldHas:
		return p.oneOf(v, "parents", "agent", "payload.<member>")
	case FieldPayload:
		return p.payloadValue(v)
	case FieldSince, FieldUntil:
		return p.timeValue(t.Field, text)
	}
	return v, nil
}

func (p *parser) oneOf(v Value, words ...string) (Value, error) {
	v.Phrase = false
	for _, w := range words {
		if v.Text == w && !strings.Contains(w, "<") {
			return v, nil
		}
	}
	return v, p.fail("has a value that is not known; use %s", strings.Join(words, " or "))
}

func (p *parser) textValue(v Value) (Value, error) {
	words, _ := v.Words()
	if len(words) == 0 {
		return v, p.fail("holds no letter or digit to search for; add one, or leave it out")
	}
	if star := strings.IndexByte(v.Text, '*'); !v.Phrase && star >= 0 && star < len(v.Text)-1 {
		return v, p.fail("has a * inside; in a search word it may only stand at the end")
	}
	return v, nil
}

func (p *parser) typeValue(v Value) (Value, error) {
	if !isTypeText(v.Text) || v.Phrase && strings.Contains(v.Text, "*") {
		return v, p.fail("can match no event type, which has only letters, digits, _ and - in words joined by dots; * stands for any run of them")
	}
	if !strings.ContainsAny(v.Text, ".*") {
		return v, p.fail("can match no event type, which has two or more words; write type:%s.* for all that begin with it", v.Text)
	}
	v.Phrase = false
	return v, nil
}

func (p *parser) payloadValue(v Value) (Value, error) {
	if v.Phrase {
		return v, nil
	}
	for _, op := range []Op{OpGE, OpLE, OpGT, OpLT} {
		rest, found := strings.CutPrefix(v.Text, string(op))
		if !found {
			continue
		}
		n, ok := parseNumber(rest)
		if !ok {
			return v, p.fail("needs a number behind %s, such as %s0.8; quote it to mean the text", op, op)
		}
		return Value{Op: op, Text: rest, Number: n}, nil
	}
	v.Number, _ = parseNumber(v.Text)
	return v, nil
}

// parseNumber reads a number as JSON writes it; beyond float64 it is none.
func parseNumber(s string) (float64, bool) {
	digits := strings.TrimPrefix(s, "-")
	if digits == "" || strings.Trim(s, "+-.0123456789eE") != "" || digits[0] < '0' || digits[0] > '9' {
		return 0, false
	}
	if len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9' || strings.Contains(digits+"e", ".e") || strings.Contains(digits, ".E") {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil && !math.IsInf(n, 0)
}

func (p *parser) timeValue(field Field, text string) (Value, error) {
	at, ok := p.relative(text)
	if !ok {
		at, ok = absolute(field, text)
	}
	if !ok {
		return Value{}, p.fail("has no time that can be read; use 15m, 2h30m, 7d, a date such as 2026-01-27, or RFC 3339")
	}
	at = at.UTC().Truncate(time.Microsecond)
	if at.Year() < 1 || at.Year() > 9999 {
		return Value{}, p.fail("reaches outside of the years 1 to 9999")
	}
	return Value{Text: at.Format(time.RFC3339Nano), Time: at}, nil
}

// absolute reads a point in time. A date alone is its first microsecond for
// since and its last one for until.
func absolute(field Field, text string) (time.Time, bool) {
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		if field == FieldUntil {
			t = t.AddDate(0, 0, 1).Add(-time.Microsecond)
		}
		return t, true
	}
	if t, err := time.Parse("2006-01-02T15:04", text); err == nil {
		return t, true
	}
	t, err := bloodbank.ParseTimestamp(text)
	return t, err == nil
}

// relative reads a time before now: whole numbers, each with its unit.
func (p *parser) relative(text string) (time.Time, bool) {
	var total, n time.Duration
	digits := 0
	for i := range len(text) {
		c := text[i]
		if c >= '0' && c <= '9' && digits < 9 {
			n, digits = n*10+time.Duration(c-'0'), digits+1
			continue
		}
		unit := unitOf(c)
		if digits == 0 || unit == 0 || n > (math.MaxInt64-total)/unit {
			return time.Time{}, false
		}
		total, n, digits = total+n*unit, 0, 0
	}
	return p.now.Add(-total), text != "" && digits == 0
}

func unitOf(c byte) time.Duration {
	switch c {
	case 'w':
		return 7 * 24 * time.Hour
	case 'd':
		return 24 * time.Hour
	case 'h':
		return time.Hour
	case 'm':
		return time.Minute
	case 's':
		return time.Second
	}
	return 0
}
