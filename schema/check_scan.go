package schema

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strconv"
)

// What scanText found in a text besides plain ASCII.
type finding uint8

const (
	escaped   finding = 1 << iota // a backslash
	wide                          // a byte from 0x80 on
	surrogate                     // an escape that is half of a pair
)

// space returns the position of the next byte that is not white space.
func (c *checker) space(i int) int {
	for i < len(c.b) && (c.b[i] == ' ' || c.b[i] == '\n' || c.b[i] == '\t' || c.b[i] == '\r') {
		i++
	}
	return i
}

// scanText reads the string whose opening quote is at i and returns the position
// behind the closing one.
func (c *checker) scanText(i int) (int, finding) {
	b := c.b
	var what finding
	for i++; ; {
		for i+8 <= len(b) {
			x := special(binary.LittleEndian.Uint64(b[i:]))
			i += bits.TrailingZeros64(x) / 8
			if x != 0 {
				break
			}
		}
		if i >= len(b) {
			return giveUp, 0
		}
		switch ch := b[i]; {
		case ch == '"':
			return i + 1, what
		case ch == '\\':
			n, half := escape(b[i:])
			if n == 0 {
				return giveUp, 0
			}
			if what |= escaped; half {
				what |= surrogate
			}
			i += n
		case ch < ' ':
			return giveUp, 0
		case ch >= 0x80:
			what |= wide
			i++
		default:
			i++
		}
	}
}

// special marks the high bit of each of the eight bytes that is a quote, a
// backslash, a control character or beyond ASCII. The lowest mark is exact;
// those above it may be false.
func special(x uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	quote, backslash := x^ones*'"', x^ones*'\\'
	return (x | (x - ones*' ') | (quote - ones) | (backslash - ones)) & highs
}

// escape returns the length of the escape at the start of b, 0 if it is none,
// and whether it is half of a surrogate pair.
func escape(b []byte) (int, bool) {
	if len(b) < 2 {
		return 0, false
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, false
	case 'u':
		if len(b) < 6 || !isHex(b[2]) || !isHex(b[3]) || !isHex(b[4]) || !isHex(b[5]) {
			return 0, false
		}
		return 6, (b[2] == 'd' || b[2] == 'D') && b[3] >= '8'
	}
	return 0, false
}

func (c *checker) literal(i int, text string, allowed bool) int {
	if !allowed || len(c.b)-i < len(text) || string(c.b[i:i+len(text)]) != text {
		return giveUp
	}
	return i + len(text)
}

// scanNumber returns the position behind the number at i, and whether it is
// written as a plain integer, without a fraction and an exponent.
func (c *checker) scanNumber(i int) (end int, whole bool) {
	if i < len(c.b) && c.b[i] == '-' {
		i++
	}
	switch {
	case i >= len(c.b):
		return giveUp, false
	case c.b[i] == '0':
		i++
	default:
		if i = c.digits(i); i == giveUp {
			return giveUp, false
		}
	}
	whole = true
	if i < len(c.b) && c.b[i] == '.' {
		whole = false
		if i = c.digits(i + 1); i == giveUp {
			return giveUp, false
		}
	}
	if i < len(c.b) && c.b[i]|0x20 == 'e' {
		whole = false
		if i++; i < len(c.b) && (c.b[i] == '+' || c.b[i] == '-') {
			i++
		}
		i = c.digits(i)
	}
	return i, whole
}

// digits skips one or more decimal digits.
func (c *checker) digits(i int) int {
	start := i
	for i < len(c.b) && '0' <= c.b[i] && c.b[i] <= '9' {
		i++
	}
	if i == start {
		return giveUp
	}
	return i
}

func (c *checker) number(n *node, i int) int {
	if n.kinds&(isNumber|isInteger) == 0 || n.limited {
		return giveUp
	}
	end, whole := c.scanNumber(i)
	if end == giveUp || n.kinds&isNumber == 0 && !whole {
		return giveUp
	}
	if len(n.bounds) > 0 && !within(n.bounds, c.b[i:end]) {
		return giveUp
	}
	return end
}

// within reports whether a number certainly keeps all bounds. Rounding to
// float64 never crosses a bound that float64 holds exactly, but it can reach it.
// So a number that equals the bound after rounding counts only if it has so few
// digits, and no exponent, that no other number of that form rounds there.
func within(bounds []bound, raw []byte) bool {
	const exactLength = 15
	if len(raw) > 32 {
		return false
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return false
	}
	for _, b := range bounds {
		if f == b.limit {
			if b.exclusive || len(raw) > exactLength || bytes.ContainsAny(raw, "eE") || b.limit != float64(int32(b.limit)) {
				return false
			}
		} else if (f > b.limit) == b.upper {
			return false
		}
	}
	return true
}

// skip reads any value and checks only that it is JSON.
func (c *checker) skip(i, depth int) int {
	if i >= len(c.b) || depth > maxQuickDepth {
		return giveUp
	}
	switch c.b[i] {
	case '"':
		end, _ := c.scanText(i)
		return end
	case '{':
		return c.skipAll(i, depth, '}', true)
	case '[':
		return c.skipAll(i, depth, ']', false)
	case 'n':
		return c.literal(i, "null", true)
	case 't':
		return c.literal(i, "true", true)
	case 'f':
		return c.literal(i, "false", true)
	}
	end, _ := c.scanNumber(i)
	return end
}

func (c *checker) skipAll(i, depth int, closing byte, named bool) int {
	i = c.space(i + 1)
	if i < len(c.b) && c.b[i] == closing {
		return i + 1
	}
	for {
		if named {
			if _, i = c.name(i); i == giveUp {
				return giveUp
			}
		}
		if i = c.skip(i, depth+1); i == giveUp {
			return giveUp
		}
		if i = c.space(i); i >= len(c.b) {
			return giveUp
		}
		if c.b[i] == closing {
			return i + 1
		}
		if c.b[i] != ',' {
			return giveUp
		}
		i = c.space(i + 1)
	}
}
