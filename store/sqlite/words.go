package sqlite

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// maxWord is how many bytes of a word are indexed. Payloads hold encoded
// binaries; their "words" must not fill the index. A search cuts its words in
// the same way and verifies what it finds on the event.
const maxWord = 48

// indexWords returns the words of an event for the index, each once.
func indexWords(e *bloodbank.Envelope) string {
	text := store.SearchText(e)
	b := make([]byte, 0, len(text))
	seen := make(map[string]struct{}, 64)
	for word := range strings.SplitSeq(text, " ") {
		word = cutWord(word)
		if _, twice := seen[word]; twice || word == store.TextBarrier || word == "" {
			continue
		}
		seen[word] = struct{}{}
		if len(b) > 0 {
			b = append(b, ' ')
		}
		b = append(b, word...)
	}
	return string(b)
}

func cutWord(word string) string { return word[:min(len(word), maxWord)] }

// textMember returns the text of the named member of a JSON object, or "".
func textMember(object []byte, name string) string {
	if !strings.Contains(string(object), name) {
		return ""
	}
	dec := jsontext.NewDecoder(strings.NewReader(string(object)))
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != '{' {
		return ""
	}
	for dec.PeekKind() == '"' {
		tok, err := dec.ReadToken()
		if err != nil {
			return ""
		}
		if tok.String() != name {
			if dec.SkipValue() != nil {
				return ""
			}
			continue
		}
		if tok, err = dec.ReadToken(); err != nil || tok.Kind() != '"' {
			return ""
		}
		return tok.String()
	}
	return ""
}
