package postgres

import (
	"unicode/utf8"

	"github.com/33god/bloodbank/store/sqlfilter"
)

// maxWords is how many bytes of different words are indexed of an event; a
// tsvector holds 1 MiB. An event with more has overflow among its words, which
// every search looks for as well.
const (
	maxWords = 512 << 10
	overflow = "¶"
)

// cutWord leaves no half letter, which PostgreSQL would refuse.
func cutWord(word string) string {
	if len(word) <= sqlfilter.MaxWord {
		return word
	}
	n := sqlfilter.MaxWord
	for !utf8.RuneStart(word[n]) {
		n--
	}
	return word[:n]
}
