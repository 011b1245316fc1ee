package store

import "strings"

// String returns the canonical text: one space between terms, quotes only where
// they were written and matter, times absolute. [ParseFilter] reads it back as
// the same filter, whatever the time is then.
func (f Filter) String() string {
	terms := make([]string, len(f.Terms))
	for i, t := range f.Terms {
		terms[i] = t.String()
	}
	return strings.Join(terms, " ")
}

// String returns the term in the filter language.
func (t Term) String() string {
	values := make([]string, len(t.Values))
	for i, v := range t.Values {
		values[i] = v.String()
	}
	text := strings.Join(values, ",")
	if t.Field == FieldPayload {
		text = pathText(t.Path) + ":" + text
	} else if t.Field != FieldText || len(t.Values) != 1 || !isBareText(t.Values[0]) {
		text = string(t.Field) + ":" + text
	}
	if t.Not {
		return "-" + text
	}
	return text
}

// String returns the value in the filter language.
func (v Value) String() string {
	if v.Phrase {
		return quote(v.Text)
	}
	return string(v.Op) + v.Text
}

// isBareText reports whether v, written without a key, is read as text again.
func isBareText(v Value) bool {
	if v.Phrase {
		return true
	}
	_, keyed := keyOf(v.Text)
	return !keyed && bareField(v.Text) == FieldText && !strings.HasPrefix(v.Text, "-") && !strings.HasPrefix(v.Text, "payload.")
}

// pathText writes the way into the payload.
func pathText(path []string) string {
	b := new(strings.Builder)
	b.WriteString("payload")
	for _, name := range path {
		b.WriteByte('.')
		if name == "" || strings.ContainsAny(name, " \t\r\n.:,\"") {
			name = quote(name)
		}
		b.WriteString(name)
	}
	return b.String()
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
