package postgres

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

const (
	// maxWord is how many bytes of a word are indexed. Payloads hold encoded
	// binaries; their "words" must not fill the index. A search cuts its words in
	// the same way and verifies what it finds on the event.
	maxWord = 48

	// maxWords is how many bytes of different words are indexed of an event; a
	// tsvector holds 1 MiB. An event with more has overflow among its words, which
	// every search looks for as well.
	maxWords = 512 << 10
	overflow = "¶"
)

func cutWord(word string) string {
	if len(word) <= maxWord {
		return word
	}
	n := maxWord
	for !utf8.RuneStart(word[n]) {
		n--
	}
	return word[:n]
}

// indexer reads what the columns and the index need out of events, one after
// the other, in one pass over the payload. The words are those of
// [store.SearchText], each once, with a space between them.
type indexer struct {
	out  strings.Builder
	seen map[string]struct{}
	full bool

	session, project string
}

// read returns the words of e, and leaves the session and the project.
func (x *indexer) read(e *bloodbank.Envelope) string {
	x.out.Reset()
	if x.seen == nil {
		x.seen = map[string]struct{}{}
	}
	clear(x.seen)
	x.session, x.project, x.full = "", "", false
	x.add(string(e.EventType))
	x.payload(e.Payload)
	if x.full {
		x.out.WriteString(" " + overflow)
	}
	return x.out.String()
}

func (x *indexer) payload(raw []byte) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowDuplicateNames(true))
	member := ""
	for {
		tok, err := dec.ReadToken()
		if err != nil {
			return
		}
		if tok.Kind() != '"' {
			continue
		}
		text := tok.String()
		kind, n := dec.StackIndex(dec.StackDepth())
		if kind == '{' && n%2 == 1 {
			member = text
			continue
		}
		if kind == '{' && dec.StackDepth() == 1 {
			x.keep(member, text)
		}
		x.add(text)
	}
}

func (x *indexer) keep(member, value string) {
	switch member {
	case "session_id":
		x.session = value
	case "project":
		x.project = value
	}
}

// add takes the words of one value. Plain ASCII, the usual case, is split here;
// [store.Words] stays the rule for all else.
func (x *indexer) add(text string) {
	begin := -1
	for i := range len(text) {
		switch c := text[i]; {
		case c >= utf8.RuneSelf:
			for _, w := range store.Words(text) {
				x.word(w)
			}
			return
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			if begin < 0 {
				begin = i
			}
		case begin >= 0:
			x.word(strings.ToLower(text[begin:i]))
			begin = -1
		}
	}
	if begin >= 0 {
		x.word(strings.ToLower(text[begin:]))
	}
}

func (x *indexer) word(w string) {
	w = cutWord(w)
	if _, twice := x.seen[w]; twice || x.full {
		return
	}
	if x.out.Len()+len(w) > maxWords {
		x.full = true
		return
	}
	x.seen[w] = struct{}{}
	if x.out.Len() > 0 {
		x.out.WriteByte(' ')
	}
	x.out.WriteString(w)
}

// allWords is a tsquery for all of these words. They are letters and digits, and
// quoted all the same: no text of a user is syntax.
func allWords(words []string, prefix bool) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = "'" + strings.ReplaceAll(cutWord(w), "'", "''") + "'"
	}
	if prefix {
		quoted[len(quoted)-1] += ":*"
	}
	return "(" + strings.Join(quoted, " & ") + ")"
}
