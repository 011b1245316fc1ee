package schema

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

// The quick checker walks the bytes of a payload once and builds nothing. Its
// law: what it accepts, the reference accepts. Where it cannot be certain (an
// escape in a name, a number near a bound, any fault at all) it gives up, and the
// reference decides.

const (
	// giveUp is returned instead of a position.
	giveUp = -1
	// maxQuickDepth is the deepest nesting that the quick checker follows.
	maxQuickDepth = 200
)

// checker is one walk.
type checker struct {
	b []byte
	// budget bounds how many bytes may be read again for allOf and anyOf, so that
	// a schema that contains itself cannot make the work grow without end.
	budget int
}

// accepts reports whether payload is certainly valid.
func (n *node) accepts(payload []byte) bool {
	c := checker{b: payload, budget: 8*len(payload) + 256}
	end := c.value(n, c.space(0), 0)
	return end != giveUp && c.space(end) == len(payload)
}

// value checks the value at i and returns the position behind it. A nil node
// allows anything.
func (c *checker) value(n *node, i, depth int) int {
	if i >= len(c.b) || depth > maxQuickDepth {
		return giveUp
	}
	if n == nil {
		return c.skip(i, depth)
	}
	if n.never {
		return giveUp
	}
	var end int
	switch ch := c.b[i]; ch {
	case '"':
		end = c.text(n, i)
	case '{':
		end = c.object(n, i, depth)
	case '[':
		end = c.array(n, i, depth)
	case 'n':
		end = c.literal(i, "null", n.kinds&isNull != 0 && (!n.limited || n.enumNull))
	case 't':
		end = c.literal(i, "true", n.kinds&isBoolean != 0 && !n.limited)
	case 'f':
		end = c.literal(i, "false", n.kinds&isBoolean != 0 && !n.limited)
	default:
		end = c.number(n, i)
	}
	if end != giveUp && (n.all != nil || n.any != nil) && !c.combined(n, i, end, depth) {
		return giveUp
	}
	return end
}

// combined checks the value from i to end against the schemas of allOf and anyOf.
func (c *checker) combined(n *node, i, end, depth int) bool {
	c.budget -= (len(n.all) + len(n.any)) * (end - i)
	if c.budget < 0 {
		return false
	}
	for _, inner := range n.all {
		if c.value(inner, i, depth+1) == giveUp {
			return false
		}
	}
	return n.any == nil || slices.ContainsFunc(n.any, func(inner *node) bool { return c.value(inner, i, depth+1) != giveUp })
}

func (c *checker) object(n *node, i, depth int) int {
	if n.kinds&isObject == 0 || n.limited {
		return giveUp
	}
	seen := uint64(0)
	i = c.space(i + 1)
	if i < len(c.b) && c.b[i] == '}' {
		if n.required != 0 {
			return giveUp
		}
		return i + 1
	}
	for {
		name, value := c.name(i)
		if value == giveUp {
			return giveUp
		}
		inner := n.additional
		if p, ok := n.properties[string(name)]; ok {
			inner = p.node
			seen |= p.required
		}
		i = c.value(inner, value, depth+1)
		if i == giveUp {
			return giveUp
		}
		i = c.space(i)
		if i >= len(c.b) {
			return giveUp
		}
		if c.b[i] == '}' {
			break
		}
		if c.b[i] != ',' {
			return giveUp
		}
		i = c.space(i + 1)
	}
	if seen != n.required {
		return giveUp
	}
	return i + 1
}

// name reads a member's name, the colon and the space around it. It returns the
// name and the position of the value.
func (c *checker) name(i int) ([]byte, int) {
	if i >= len(c.b) || c.b[i] != '"' {
		return nil, giveUp
	}
	end, what := c.scanText(i)
	if end == giveUp || what&escaped != 0 {
		return nil, giveUp
	}
	colon := c.space(end)
	if colon >= len(c.b) || c.b[colon] != ':' {
		return nil, giveUp
	}
	return c.b[i+1 : end-1], c.space(colon + 1)
}

func (c *checker) array(n *node, i, depth int) int {
	if n.kinds&isArray == 0 || n.limited {
		return giveUp
	}
	count := 0
	i = c.space(i + 1)
	if i < len(c.b) && c.b[i] == ']' {
		if n.minItems > 0 {
			return giveUp
		}
		return i + 1
	}
	for {
		i = c.value(n.items, i, depth+1)
		if i == giveUp {
			return giveUp
		}
		count++
		i = c.space(i)
		if i >= len(c.b) {
			return giveUp
		}
		if c.b[i] == ']' {
			break
		}
		if c.b[i] != ',' {
			return giveUp
		}
		i = c.space(i + 1)
	}
	if count < n.minItems || n.maxItems >= 0 && count > n.maxItems {
		return giveUp
	}
	return i + 1
}

func (c *checker) text(n *node, i int) int {
	if n.kinds&isString == 0 {
		return giveUp
	}
	end, what := c.scanText(i)
	if end == giveUp {
		return giveUp
	}
	raw := c.b[i+1 : end-1]
	if n.minLength > 0 || n.maxLength >= 0 {
		if what&surrogate != 0 {
			return giveUp
		}
		length := len(raw)
		if what != 0 {
			length = codePoints(raw)
		}
		if length < n.minLength || n.maxLength >= 0 && length > n.maxLength {
			return giveUp
		}
	}
	if !n.limited && n.pattern == nil && n.format == nil {
		return end
	}
	if what&escaped != 0 {
		return giveUp
	}
	if n.limited && !containsText(n.enum, raw) || n.pattern != nil && !n.pattern.Match(raw) || n.format != nil && !n.format(raw) {
		return giveUp
	}
	return end
}

func containsText(list []string, raw []byte) bool {
	for _, s := range list {
		if s == string(raw) {
			return true
		}
	}
	return false
}

// codePoints counts the characters of the text between the quotes, of which each
// escape is one. Surrogates must have been ruled out.
func codePoints(raw []byte) int {
	n := 0
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return n + utf8.RuneCount(raw)
		}
		n += utf8.RuneCount(raw[:i]) + 1
		if raw[i+1] == 'u' {
			i += 4
		}
		raw = raw[i+2:]
	}
}
