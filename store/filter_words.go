package store

import (
	"bytes"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/text/unicode/norm"

	"github.com/33god/bloodbank"
)

// TextBarrier stands between the values in a [SearchText], so that no phrase
// reaches from one value into the next. No word contains it.
const TextBarrier = "¶"

// Words splits text for free-text search: runs of letters and digits (Unicode
// L and N), without diacritics (canonical decomposition, marks dropped) and in
// lower case, a final sigma as any other. All else separates. It is the one
// rule for what a word is, in the live stream and in every store.
func Words(text string) []string {
	fold := func(r rune) rune {
		switch {
		case unicode.Is(unicode.M, r):
			return -1
		case !unicode.IsLetter(r) && !unicode.Is(unicode.N, r):
			return ' '
		}
		if r = unicode.ToLower(r); r == 'ς' {
			return 'σ'
		}
		return r
	}
	return strings.Fields(strings.Map(fold, norm.NFD.String(text)))
}

// Words returns the words that must follow each other in one text value for a
// FieldText value to match. With prefix the last of them may go on: the value
// was unquoted and ends in *. A word matches whole words only.
func (v Value) Words() (words []string, prefix bool) {
	return Words(v.Text), !v.Phrase && strings.HasSuffix(v.Text, "*")
}

// SearchText returns what free-text search looks through: the [Words] of the
// type, then those of each text value in the payload in order, with a space
// between words and [TextBarrier] between values. It is made to be indexed by a
// tokenizer that splits at spaces alone and folds nothing but ASCII case.
func SearchText(e *bloodbank.Envelope) string {
	b := new(strings.Builder)
	b.WriteString(strings.Join(Words(string(e.EventType)), " "))
	eachText(e.Payload, func(text string) {
		if words := Words(text); len(words) > 0 {
			b.WriteString(" " + TextBarrier + " ")
			b.WriteString(strings.Join(words, " "))
		}
	})
	return b.String()
}

// eachText hands over every text value in raw, at any depth, and no member
// names. It stops at the first fault of the JSON.
func eachText(raw []byte, visit func(string)) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowDuplicateNames(true))
	for {
		tok, err := dec.ReadToken()
		if err != nil {
			return
		}
		if tok.Kind() != '"' {
			continue
		}
		if kind, n := dec.StackIndex(dec.StackDepth()); kind != '{' || n%2 == 0 {
			visit(tok.String())
		}
	}
}

// matchWords reports whether words follow each other in text, a [SearchText].
func matchWords(text string, words []string, prefix bool) bool {
	want := " " + strings.Join(words, " ")
	if !prefix {
		want += " "
	}
	return strings.Contains(" "+text+" ", want)
}
