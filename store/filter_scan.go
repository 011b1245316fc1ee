package store

import (
	"fmt"
	"strings"

	"github.com/33god/bloodbank"
)

// peek returns the next byte, 0 at the end.
func (p *parser) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

func (p *parser) accept(c byte) bool {
	if p.pos < len(p.text) && p.text[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

// atEnd reports whether the term is over.
func (p *parser) atEnd() bool { return p.pos == len(p.text) || isSpace(p.text[p.pos]) }

func (p *parser) skipSpace() {
	for p.pos < len(p.text) && isSpace(p.text[p.pos]) {
		p.pos++
	}
}

// run reads up to the next of the stop bytes.
func (p *parser) run(stop string) string {
	begin := p.pos
	if n := strings.IndexAny(p.text[begin:], stop); n >= 0 {
		p.pos += n
	} else {
		p.pos = len(p.text)
	}
	return p.text[begin:p.pos]
}

// fail makes the error for the current term; the format goes on behind "it".
func (p *parser) fail(format string, args ...any) error {
	return bloodbank.Errorf(bloodbank.CodeInvalid, "filter term %s at byte %d %s", p.termText(), p.start, fmt.Sprintf(format, args...))
}

// termText quotes the current term up to the next space outside of quotes.
func (p *parser) termText() string {
	const limit = 80
	end, inQuotes := p.start, false
	for ; end < len(p.text); end++ {
		c := p.text[end]
		if c == '"' && p.text[end-min(end, 1)] != '\\' {
			inQuotes = !inQuotes
		}
		if isSpace(c) && !inQuotes {
			break
		}
	}
	if end-p.start > limit {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(p.text[p.start:p.start+limit], ""))
	}
	return fmt.Sprintf("%q", p.text[p.start:end])
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// isTypeByte reports whether c can stand in an event type.
func isTypeByte(c byte) bool {
	return isLetter(c) || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.'
}

// bareField says what a word without a key means, see [ParseFilter].
func bareField(word string) Field {
	parts := strings.Split(word, ",")
	types, topics := 0, 0
	for _, part := range parts {
		if isBareType(part) {
			types++
		} else if strings.Contains(part, "#") && isTopic(part) {
			topics++
		}
	}
	switch len(parts) {
	case types:
		return FieldType
	case topics:
		return FieldTopic
	}
	return FieldText
}

func isBareType(s string) bool {
	if s == "" || !isLetter(s[0]) && s[0] != '*' {
		return false
	}
	for word := range strings.SplitSeq(s, ".") {
		if word == "" || !isTypeText(word) {
			return false
		}
	}
	star := strings.IndexByte(s, '*')
	return s == "*" || strings.Contains(s, ".") || star >= 0 && star < len(s)-1
}

// isTypeText reports whether s consists of what a type, or a glob of types, does.
func isTypeText(s string) bool {
	for i := range len(s) {
		if !isTypeByte(s[i]) && s[i] != '*' {
			return false
		}
	}
	return true
}

// isTopic reports whether s is an AMQP pattern: words of a type, * and # joined
// by dots.
func isTopic(s string) bool {
	for word := range strings.SplitSeq(s, ".") {
		if word == "*" || word == "#" {
			continue
		}
		if word == "" || !isTypeText(word) || strings.Contains(word, "*") {
			return false
		}
	}
	return true
}
