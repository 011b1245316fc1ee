package store

import (
	"bytes"
	"cmp"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// lookup returns the member of the JSON object raw at path, nil where there is
// none. Only objects are walked into. The result points into raw's copy.
func lookup(raw []byte, path []string) jsontext.Value {
	value := jsontext.Value(raw)
	for _, name := range path {
		value = member(value, name)
	}
	return value
}

// member returns the named member of object, nil where there is none. Of names
// that occur twice, which no accepted event has, the first one counts.
func member(object jsontext.Value, name string) jsontext.Value {
	if object.Kind() != '{' {
		return nil
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(object), jsontext.AllowDuplicateNames(true))
	if _, err := dec.ReadToken(); err != nil {
		return nil
	}
	for dec.PeekKind() == '"' {
		tok, err := dec.ReadToken()
		if err != nil {
			return nil
		}
		found := tok.String() == name
		if !found {
			if dec.SkipValue() != nil {
				return nil
			}
			continue
		}
		value, err := dec.ReadValue()
		if err != nil {
			return nil
		}
		return value
	}
	return nil
}

// payloadText returns the text of a member, "" where it is absent or not text.
func payloadText(payload []byte, name string) string {
	text, _ := textOf(lookup(payload, []string{name}))
	return text
}

func textOf(raw jsontext.Value) (string, bool) {
	if raw.Kind() != '"' {
		return "", false
	}
	text, err := jsontext.AppendUnquote(nil, raw)
	return string(text), err == nil
}

// matchMember applies the rules of FieldPayload to the value found.
func matchMember(raw jsontext.Value, v Value) bool {
	if raw.Kind() != '[' {
		return matchScalar(raw, v)
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowDuplicateNames(true))
	if _, err := dec.ReadToken(); err != nil {
		return false
	}
	for dec.PeekKind() != ']' {
		element, err := dec.ReadValue()
		if err != nil {
			return false
		}
		if matchScalar(element, v) {
			return true
		}
	}
	return false
}

func matchScalar(raw jsontext.Value, v Value) bool {
	switch raw.Kind() {
	case '"':
		text, ok := textOf(raw)
		return ok && v.Op == OpMatch && v.glob(text)
	case '0':
		return matchNumber(string(raw), v)
	case 't', 'f', 'n':
		return v.Op == OpMatch && !v.Phrase && v.Text == string(raw)
	}
	return false
}

func matchNumber(number string, v Value) bool {
	if v.Phrase {
		return false
	}
	if _, ok := parseNumber(v.Text); !ok {
		return false
	}
	c := compareNumbers(number, v)
	switch v.Op {
	case OpGT:
		return c > 0
	case OpGE:
		return c >= 0
	case OpLT:
		return c < 0
	case OpLE:
		return c <= 0
	}
	return c == 0
}

// compareNumbers compares whole numbers that fit int64 exactly, so that ids of
// 64 bits are told apart, and all others as float64.
func compareNumbers(number string, v Value) int {
	a, errA := strconv.ParseInt(number, 10, 64)
	b, errB := strconv.ParseInt(v.Text, 10, 64)
	if errA == nil && errB == nil {
		return cmp.Compare(a, b)
	}
	f, _ := strconv.ParseFloat(number, 64) // out of range gives an infinity, which still has its place
	return cmp.Compare(f, v.Number)
}
