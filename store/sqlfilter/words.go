package sqlfilter

import (
	"hash/maphash"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// MaxWord is how many bytes of a word are indexed. Payloads hold encoded
// binaries; their "words" must not fill the index. A search cuts its words in
// the same way and verifies what it finds on the event.
const MaxWord = 48

// Indexer reads what the columns and the index need out of events, one after the
// other, in one pass over the payload. The words it finds are those of
// [store.SearchText], each once. It is for one goroutine.
type Indexer struct {
	// Cut shortens a word to MaxWord bytes, of a letter none or all where the
	// database cares. It belongs to the format of the index.
	Cut func(string) string
	// MaxBytes is how many bytes of words an event has at the most, 0 for all.
	// Where there are more, Overflow stands behind them.
	MaxBytes int
	Overflow string

	// Session and Project are those of the event read last, "" for none.
	Session, Project string

	seed  maphash.Seed
	out   []byte
	table []int32 // offsets into out, plus 1; a power of two long, half full at the most
	count int
	full  bool
}

// Read returns the words of e with a space behind each, and leaves the session
// and the project.
func (x *Indexer) Read(e *bloodbank.Envelope) string {
	if x.table == nil {
		x.seed, x.table = maphash.MakeSeed(), make([]int32, 256)
	}
	x.out, x.count, x.full, x.Session, x.Project = x.out[:0], 0, false, "", ""
	clear(x.table)
	x.text([]byte(e.EventType))
	x.payload(e.Payload)
	if x.full {
		x.out = append(x.out, x.Overflow...)
	}
	return string(x.out)
}

// payload walks over valid JSON. Text in front of a colon is a member's name.
func (x *Indexer) payload(p []byte) {
	depth := 0
	var member []byte // the name read last at depth 1
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			if depth == 1 {
				member = nil
			}
		case '"':
			end := textEnd(p, i)
			quoted := p[i:end]
			i = end - 1
			if isName(p[end:]) {
				if depth == 1 {
					member = quoted
				}
				continue
			}
			plain := unquote(quoted)
			if depth == 1 && p[0] == '{' {
				x.keep(member, plain)
			}
			x.text(plain)
		}
	}
}
func (x *Indexer) keep(member, value []byte) {
	if len(member) == 0 {
		return
	}
	switch string(unquote(member)) {
	case "session_id":
		x.Session = string(value)
	case "project":
		x.Project = string(value)
	}
}

// textEnd returns the place behind the text that begins at i.
func textEnd(p []byte, i int) int {
	for i++; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(p)
}

func isName(rest []byte) bool {
	for _, c := range rest {
		switch c {
		case ' ', '\t', '\n', '\r':
		default:
			return c == ':'
		}
	}
	return false
}

func unquote(quoted []byte) []byte {
	for _, c := range quoted {
		if c == '\\' {
			plain, err := jsontext.AppendUnquote(nil, quoted)
			if err != nil {
				return nil
			}
			return plain
		}
	}
	return quoted[1 : len(quoted)-1]
}

// text adds the words of one value. Plain ASCII, the usual case, is split here;
// [store.Words] stays the rule for all else.
func (x *Indexer) text(p []byte) {
	for _, c := range p {
		if c >= 0x80 {
			for _, word := range store.Words(string(p)) {
				word = x.Cut(word)
				x.out = append(x.out, word...)
				x.endWord(len(word))
			}
			return
		}
	}
	n := 0
	for _, c := range p {
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		default:
			x.endWord(n)
			n = 0
			continue
		}
		if n < MaxWord {
			x.out = append(x.out, c)
			n++
		}
	}
	x.endWord(n)
}

// endWord keeps the last n bytes as a word with a space behind it, or drops
// them if that word is there already.
func (x *Indexer) endWord(n int) {
	if n == 0 {
		return
	}
	start := len(x.out) - n
	word := x.out[start:]
	x.out = append(x.out, ' ')
	mask := uint64(len(x.table) - 1)
	for h := maphash.Bytes(x.seed, word) & mask; ; h = (h + 1) & mask {
		at := int(x.table[h]) - 1
		if at < 0 {
			if x.full = x.full || x.MaxBytes > 0 && len(x.out) > x.MaxBytes; x.full {
				x.out = x.out[:start]
				return
			}
			x.table[h] = int32(start + 1)
			if x.count++; 2*x.count > len(x.table) {
				x.grow()
			}
			return
		}
		if at+n < start && x.out[at+n] == ' ' && string(x.out[at:at+n]) == string(word) {
			x.out = x.out[:start]
			return
		}
	}
}

func (x *Indexer) grow() {
	x.table = make([]int32, 2*len(x.table))
	mask := uint64(len(x.table) - 1)
	for start := 0; start < len(x.out); {
		end := start
		for x.out[end] != ' ' {
			end++
		}
		h := maphash.Bytes(x.seed, x.out[start:end]) & mask
		for x.table[h] != 0 {
			h = (h + 1) & mask
		}
		x.table[h] = int32(start + 1)
		start = end + 1
	}
}
