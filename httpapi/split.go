package httpapi

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"github.com/33god/bloodbank"
	"github.com/go-json-experiment/json/jsontext"
)

// splitArray cuts a JSON array into its elements without reading them: each is
// read strictly by whoever decodes it, so that what is no JSON is found there.
func splitArray(data []byte, limit int) ([][]byte, error) {
	data = trim(data)
	if len(data) < 2 || data[0] != '[' {
		return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "the body must be a JSON array of events")
	}
	var parts [][]byte
	start, depth := 1, 0
	for i := 1; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			i = endOfText(data, i)
		case c == '{' || c == '[':
			depth++
		case depth > 0 && (c == '}' || c == ']'):
			depth--
		case depth == 0 && (c == ',' || c == ']'):
			part := trim(data[start:i])
			if c == ']' && len(parts) == 0 && len(part) == 0 {
				return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "the array is empty; send at least one event")
			}
			if len(part) == 0 {
				return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "malformed JSON: nothing before %q at byte %d of the array", c, i)
			}
			if parts, start = append(parts, part), i+1; len(parts) > limit {
				return nil, tooMany(limit)
			}
			if c == ']' {
				return parts, nothingBehind(data[i+1:])
			}
		}
	}
	return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "malformed JSON: the array does not end; was the body cut off?")
}

func nothingBehind(rest []byte) error {
	if len(trim(rest)) > 0 {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "there is more text behind the array; send one JSON value")
	}
	return nil
}

// endOfText returns the index of the quote that ends the text beginning at i, or
// the last index.
func endOfText(data []byte, i int) int {
	for i++; i < len(data); i++ {
		if data[i] == '"' {
			return i
		}
		if data[i] == '\\' {
			i++ // the escaped byte
		}
	}
	return len(data) - 1
}

// splitLines cuts NDJSON into its lines; blank ones do not count.
func splitLines(data []byte, limit int) ([][]byte, error) {
	parts := slices.Collect(func(yield func([]byte) bool) {
		n := 0
		for line := range bytes.SplitSeq(data, []byte{'\n'}) {
			if line = trim(line); len(line) > 0 {
				if n++; !yield(line) || n > limit {
					return
				}
			}
		}
	})
	if len(parts) == 0 {
		return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "the body is empty; send one event a line")
	}
	if len(parts) > limit {
		return nil, tooMany(limit)
	}
	return parts, nil
}

func tooMany(limit int) error {
	return bloodbank.Errorf(bloodbank.CodeTooLarge, "the request holds more than %d events; send them in several requests", limit)
}

func trim(data []byte) []byte { return bytes.Trim(data, " \t\r\n") }

// checkValue refuses a payload that is not exactly one JSON value in UTF-8,
// without duplicate names, within the depth of an envelope.
func checkValue(data []byte) error {
	if len(data) == 0 {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "the body is empty; send the payload as JSON")
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(data))
	for {
		_, err := dec.ReadToken()
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return bloodbank.Errorf(bloodbank.CodeInvalid, "malformed JSON: %w", err)
		}
		if depth := dec.StackDepth(); depth >= bloodbank.MaxDepth {
			return bloodbank.Errorf(bloodbank.CodeInvalid, "the JSON nests %d deep; the limit is %d", depth, bloodbank.MaxDepth-1)
		}
		if dec.StackDepth() == 0 && len(trim(data[dec.InputOffset():])) > 0 {
			return bloodbank.Errorf(bloodbank.CodeInvalid, "there is more text behind the payload; send one JSON value")
		}
	}
}
