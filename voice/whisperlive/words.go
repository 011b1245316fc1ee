package whisperlive

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// word is the smallest piece of text that finals are made of: a word, or one sign of a
// script that has no spaces.
type word struct {
	raw        string // as upstream wrote it, with the space before and the punctuation around
	key        string // its letters and digits in lower case: what stays when punctuation changes
	line       int    // of the snapshot; -1 for the buffers
	speaker    int
	language   string
	start, end time.Duration // on our audio clock
	// first and last: at the edge of its line, so that its time is upstream's own and no guess.
	first, last bool
	seen        int // snapshots in a row that had it unchanged, with all before it
}

// sign reports whether r is a word of its own.
func sign(r rune) bool {
	return r >= 0x0e00 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar) &&
		!unicode.Is(unicode.M, r)
}

// keyed reports whether r is text rather than punctuation.
func keyed(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.Is(unicode.M, r)
}

// split cuts text into words. Punctuation without a word belongs to the word before, or
// to the one after where there is none before; alone it is nothing.
func split(dst []word, text string) []word {
	from, known := 0, len(dst)
	for from < len(text) {
		end, hasKey := piece(text, from)
		raw := text[from:end]
		from = end
		switch {
		case hasKey:
			if n := len(dst); n > known && dst[n-1].key == "" {
				dst[n-1].raw += raw
				dst[n-1].key = key(raw)
				continue
			}
			dst = append(dst, word{raw: raw, key: key(raw)})
		case len(dst) > known:
			dst[len(dst)-1].raw += raw
		default:
			dst = append(dst, word{raw: raw})
		}
	}
	if n := len(dst); n > known && dst[n-1].key == "" {
		dst = dst[:n-1]
	}
	return dst
}

// piece finds the end of the piece of text at from: spaces and what follows up to the
// next space, or up to the next sign.
func piece(text string, from int) (end int, hasKey bool) {
	inside, signed := false, false
	for i, r := range text[from:] {
		switch {
		case unicode.IsSpace(r):
			if inside {
				return from + i, hasKey
			}
			continue
		case sign(r):
			if inside && hasKey {
				return from + i, true
			}
			signed, hasKey = true, true
		case keyed(r) && !unicode.Is(unicode.M, r):
			if signed {
				return from + i, true
			}
			hasKey = true
		}
		inside = true
	}
	return len(text), hasKey
}

// key reduces a word to what is compared.
func key(raw string) string {
	plain := strings.TrimFunc(raw, func(r rune) bool { return !keyed(r) })
	if strings.IndexFunc(plain, func(r rune) bool { return !keyed(r) || unicode.ToLower(r) != r }) < 0 {
		return plain
	}
	return strings.Map(func(r rune) rune {
		if !keyed(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, plain)
}

// digest sums up text by its keys, so that a transcript of hours is compared without
// being kept.
type digest struct {
	n   int // letters and digits
	sum uint64
}

func (d *digest) rune(r rune) {
	d.n++
	d.sum = (d.sum ^ uint64(r)) * 0x100000001b3
}

func (d *digest) words(ws []word) {
	for i := range ws {
		for _, r := range ws[i].key {
			d.rune(r)
		}
	}
}

// text reads on in text until d has n letters, and returns the bytes read.
func (d *digest) text(text string, n int) int {
	for i := 0; i < len(text); {
		if d.n >= n {
			return i
		}
		if c := text[i]; c < utf8.RuneSelf {
			i++
			switch {
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
				d.rune(rune(c))
			case 'A' <= c && c <= 'Z':
				d.rune(rune(c) + 'a' - 'A')
			}
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		i += size
		if keyed(r) {
			d.rune(unicode.ToLower(r))
		}
	}
	return len(text)
}

// restOfWord is the length of what belongs to the word that ends text[:at].
func restOfWord(text string, at int) int {
	before, _ := utf8.DecodeLastRuneInString(text[:at])
	for i, r := range text[at:] {
		if unicode.IsSpace(r) || sign(r) || sign(before) && keyed(r) {
			return i
		}
	}
	return len(text) - at
}

// join writes words as one text, with single spaces.
func join(ws []word) string {
	var b strings.Builder
	for i := range ws {
		raw := ws[i].raw
		trimmed := strings.TrimLeftFunc(raw, unicode.IsSpace)
		next, _ := utf8.DecodeRuneInString(trimmed)
		if i > 0 && (len(trimmed) < len(raw) || ws[i].line != ws[i-1].line && !sign(next)) {
			b.WriteByte(' ')
		}
		b.WriteString(trimmed)
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// endsSentence reports whether a sentence ends with ws[i]. A point after a number, an
// initial or an abbreviation, or before a small letter, ends none.
func endsSentence(ws []word, i int) bool {
	raw := strings.TrimRightFunc(ws[i].raw, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`"')]}»”’」』`, r) })
	mark, _ := utf8.DecodeLastRuneInString(raw)
	switch mark {
	case '!', '?', '\u3002', '\uff01', '\uff1f', '\uff61', '\u2026', '\u0964', '\u061f', '\u06d4', '\u1362':
		return true
	case '.':
	default:
		return false
	}
	k := ws[i].key
	last := i == len(ws)-1
	switch {
	case strings.HasSuffix(raw, ".."):
		return !last // a hesitation; the sentence may go on
	case abbreviation(k):
		return false
	case strings.IndexFunc(k, unicode.IsLetter) < 0:
		return !last // "3." may become "3.5"
	case last:
		return true
	}
	next := strings.TrimLeftFunc(ws[i+1].raw, func(r rune) bool { return !keyed(r) })
	r, _ := utf8.DecodeRuneInString(next)
	return !unicode.IsLower(r)
}

func abbreviation(key string) bool {
	switch key {
	case "mr", "mrs", "ms", "dr", "prof", "st", "vs", "etc", "eg", "ie", "jr", "sr", "approx":
		return true
	}
	return utf8.RuneCountInString(key) == 1 && key != "i"
}
