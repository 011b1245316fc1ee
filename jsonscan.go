package bloodbank

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// nesting returns how deep objects and arrays nest in data, which need not be
// valid. It runs before the parser, so that no input can make that work hard.
func nesting(data []byte) int {
	depth, deepest, inText := 0, 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

// rawMember returns the value of the named top-level member of a JSON object,
// or nil where there is no such member or no object. The result points into
// object.
func rawMember(object []byte, name string) (found []byte) {
	if !bytes.Contains(object, []byte(name)) && !bytes.ContainsRune(object, '\\') {
		return nil
	}
	var space [16]quickMember
	if members, ok := quickMembers(object, space[:0]); ok {
		for _, m := range members {
			if string(m.name) == name {
				return m.value
			}
		}
		return nil
	}
	if len(object) == 0 || object[0] != '{' {
		return nil
	}
	err := eachMember(jsontext.NewDecoder(bytes.NewBuffer(object)), "an object", func(n string, raw []byte) error {
		if n == name {
			found = raw
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return found
}

func decodeText(field string, raw []byte) (string, error) {
	if raw[0] != '"' {
		return "", Errorf(CodeInvalid, "%s must be text, not %s", field, kindName(jsontext.Value(raw).Kind()))
	}
	if !bytes.ContainsRune(raw, '\\') {
		return string(raw[1 : len(raw)-1]), nil
	}
	text, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return "", Errorf(CodeInvalid, "%s is not valid text: %v", field, err)
	}
	return string(text), nil
}

func decodeOptionalText(field string, raw []byte) (string, error) {
	if string(raw) == "null" {
		return "", nil
	}
	return decodeText(field, raw)
}

func decodeID(raw []byte) (EventID, error) {
	if raw[0] != '"' {
		return EventID{}, invalidID(string(raw))
	}
	if id, ok := parseID(raw[1 : len(raw)-1]); ok {
		return id, nil
	}
	s, err := decodeText("event id", raw)
	if err != nil {
		return EventID{}, err
	}
	return ParseEventID(s)
}

func isObjectOrNull(raw []byte) bool {
	return len(raw) == 0 || raw[0] == '{' || string(raw) == "null"
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "text"
	case '0':
		return "a number"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "nothing"
}
