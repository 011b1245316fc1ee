package bloodbank

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// quickScanner reads JSON by the rules of the strict parser (jsontext) at a
// fraction of its cost: no duplicate names, valid UTF-8, no half surrogate pairs.
//
// Its law: what it reads, the strict parser reads in the same way. Where it is
// not certain (a name with an escape, an object of many members, any fault) it
// gives up, and the strict parser decides and finds the words for it.
type quickScanner struct {
	b []byte
	// names are those of the members of all objects that are open, outermost
	// first. They are places in b and not slices, so that all of this stays on
	// the stack.
	names [quickNames]quickName
	open  int // how many names there are
}

type quickName struct{ start, end uint32 }

const (
	quickGaveUp = -1
	// quickNames is the most names of open objects that are kept, and so how many
	// are compared with each other by hand.
	quickNames = 64
	// quickLength is the longest input, so that a place fits into 32 bits.
	quickLength = 1 << 30
)

// quickMember is a member of an object; both parts point into the input.
type quickMember struct{ name, value []byte }

// quickMembers appends the members of the one object that data is. It returns
// false if it gave up.
func quickMembers(data []byte, members []quickMember) ([]quickMember, bool) {
	s := quickScanner{b: data}
	i := s.space(0)
	if len(data) > quickLength || i >= len(data) || data[i] != '{' {
		return nil, false
	}
	i, members = s.object(i, 1, members)
	return members, i != quickGaveUp && s.space(i) == len(data)
}

// quickItems appends the items of the one array that data is.
func quickItems(data []byte, items [][]byte) ([][]byte, bool) {
	s := quickScanner{b: data}
	i := s.space(0)
	if len(data) > quickLength || i >= len(data) || data[i] != '[' {
		return nil, false
	}
	i, items = s.array(i, 1, items)
	return items, i != quickGaveUp && s.space(i) == len(data)
}

func (s *quickScanner) space(i int) int {
	for i < len(s.b) && (s.b[i] == ' ' || s.b[i] == '\n' || s.b[i] == '\t' || s.b[i] == '\r') {
		i++
	}
	return i
}

// value returns the position behind the value at i.
func (s *quickScanner) value(i, depth int) int {
	if i >= len(s.b) {
		return quickGaveUp
	}
	switch s.b[i] {
	case '"':
		end, _ := s.text(i)
		return end
	case '{':
		if depth >= MaxDepth {
			return quickGaveUp
		}
		end, _ := s.object(i, depth+1, nil)
		return end
	case '[':
		if depth >= MaxDepth {
			return quickGaveUp
		}
		end, _ := s.array(i, depth+1, nil)
		return end
	case 'n':
		return s.literal(i, "null")
	case 't':
		return s.literal(i, "true")
	case 'f':
		return s.literal(i, "false")
	}
	return s.number(i)
}

// object reads the object at i, whose depth is that of its own bracket. If list
// is not nil, it collects the members.
func (s *quickScanner) object(i, depth int, list []quickMember) (int, []quickMember) {
	outer := s.open
	i = s.space(i + 1)
	if i < len(s.b) && s.b[i] == '}' {
		return i + 1, list
	}
	for {
		if i >= len(s.b) || s.b[i] != '"' {
			return quickGaveUp, nil
		}
		end, escaped := s.text(i)
		if end == quickGaveUp || escaped {
			return quickGaveUp, nil
		}
		name := s.b[i+1 : end-1]
		if !s.isNew(i+1, end-1, outer) {
			return quickGaveUp, nil
		}
		if i = s.space(end); i >= len(s.b) || s.b[i] != ':' {
			return quickGaveUp, nil
		}
		start := s.space(i + 1)
		if i = s.value(start, depth); i == quickGaveUp {
			return quickGaveUp, nil
		}
		if list != nil {
			list = append(list, quickMember{name, s.b[start:i:i]})
		}
		if i = s.space(i); i >= len(s.b) {
			return quickGaveUp, nil
		}
		if s.b[i] == '}' {
			s.open = outer
			return i + 1, list
		}
		if s.b[i] != ',' {
			return quickGaveUp, nil
		}
		i = s.space(i + 1)
	}
}

// isNew notes a name of the innermost object, whose names begin at outer. It
// returns false for a duplicate, or where there are too many to compare.
func (s *quickScanner) isNew(start, end, outer int) bool {
	if s.open == len(s.names) {
		return false
	}
	name := s.b[start:end]
	for _, other := range s.names[outer:s.open] {
		if int(other.end-other.start) == len(name) && string(s.b[other.start:other.end]) == string(name) {
			return false
		}
	}
	s.names[s.open] = quickName{uint32(start), uint32(end)}
	s.open++
	return true
}

func (s *quickScanner) array(i, depth int, list [][]byte) (int, [][]byte) {
	i = s.space(i + 1)
	if i < len(s.b) && s.b[i] == ']' {
		return i + 1, list
	}
	for {
		start := i
		if i = s.value(start, depth); i == quickGaveUp {
			return quickGaveUp, nil
		}
		if list != nil {
			list = append(list, s.b[start:i:i])
		}
		if i = s.space(i); i >= len(s.b) {
			return quickGaveUp, nil
		}
		if s.b[i] == ']' {
			return i + 1, list
		}
		if s.b[i] != ',' {
			return quickGaveUp, nil
		}
		i = s.space(i + 1)
	}
}

// text returns the position behind the string whose opening quote is at i, and
// whether it holds an escape.
func (s *quickScanner) text(i int) (end int, escaped bool) {
	b, start, wide := s.b, i+1, false
	for i++; ; {
		for i+8 <= len(b) {
			x := specialBytes(binary.LittleEndian.Uint64(b[i:]))
			i += bits.TrailingZeros64(x) / 8
			if x != 0 {
				break
			}
		}
		if i >= len(b) {
			return quickGaveUp, false
		}
		switch c := b[i]; {
		case c == '"':
			if wide && !utf8.Valid(b[start:i]) {
				return quickGaveUp, false
			}
			return i + 1, escaped
		case c == '\\':
			n := escapeLength(b[i:])
			if n == 0 {
				return quickGaveUp, false
			}
			i, escaped = i+n, true
		case c < ' ':
			return quickGaveUp, false
		default:
			wide = wide || c >= utf8.RuneSelf
			i++
		}
	}
}

// specialBytes marks the high bit of each of the eight bytes that is a quote, a
// backslash, a control character or beyond ASCII. The lowest mark is exact;
// those above it may be false.
func specialBytes(x uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	quote, backslash := x^ones*'"', x^ones*'\\'
	return (x | (x - ones*' ') | (quote - ones) | (backslash - ones)) & highs
}

// escapeLength returns the length of the escape at the start of b, or 0 if it is
// none or part of a surrogate pair, which is left to the strict parser.
func escapeLength(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 || hexDigit(b[2]) > 15 || hexDigit(b[3]) > 15 || hexDigit(b[4]) > 15 || hexDigit(b[5]) > 15 {
			return 0
		}
		if hexDigit(b[2]) == 0xd && hexDigit(b[3]) >= 8 {
			return 0
		}
		return 6
	}
	return 0
}

func (s *quickScanner) literal(i int, text string) int {
	if len(s.b)-i < len(text) || string(s.b[i:i+len(text)]) != text {
		return quickGaveUp
	}
	return i + len(text)
}

func (s *quickScanner) number(i int) int {
	if s.b[i] == '-' {
		i++
	}
	if i < len(s.b) && s.b[i] == '0' {
		i++
	} else if i = s.digits(i); i == quickGaveUp {
		return quickGaveUp
	}
	if i < len(s.b) && s.b[i] == '.' {
		if i = s.digits(i + 1); i == quickGaveUp {
			return quickGaveUp
		}
	}
	if i < len(s.b) && s.b[i]|0x20 == 'e' {
		if i++; i < len(s.b) && (s.b[i] == '+' || s.b[i] == '-') {
			i++
		}
		i = s.digits(i)
	}
	return i
}

// digits skips one or more decimal digits.
func (s *quickScanner) digits(i int) int {
	start := i
	for i < len(s.b) && '0' <= s.b[i] && s.b[i] <= '9' {
		i++
	}
	if i == start {
		return quickGaveUp
	}
	return i
}
