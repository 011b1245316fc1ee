package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Kind says what a stretch of a segment is.
type Kind int

// The kinds of an Item.
const (
	HeaderLine Kind = iota
	RecordLine
	BadBytes // neither a header at offset 0 nor a record
)

// Item is one stretch of a segment. Newlines that stand alone are not reported.
type Item struct {
	Kind   Kind
	Off    int64 // where it begins
	Len    int64 // bytes, with the line's newline if there is one
	Seq    uint64
	Data   []byte // the record; valid until the next call
	Header Header
	Reason string // why it is bad
	// Version is ErrVersion when a header is fine but too new for this program.
	Version error
}

// Scanner walks over the lines of a segment between two offsets. It checks each line by itself; the order of sequences
// is the caller's to check.
type Scanner struct {
	src     io.ReaderAt
	end     int64
	maxLine int
	buf     []byte
	base    int64 // offset of buf[0]
	pos     int   // next byte of buf to look at
	queued  []Item
}

const chunk = 256 << 10

// NewScanner starts at off, which must be the begin of a line, and never reads at or after end. A line longer than
// maxLine bytes is bad.
func NewScanner(src io.ReaderAt, off, end int64, maxLine int) *Scanner {
	return &Scanner{src: src, base: off, end: end, maxLine: maxLine}
}

// End is the offset at which the scanner stops.
func (s *Scanner) End() int64 { return s.end }

// Extend moves the end forward, for a segment that has grown. It must move to the end of a line.
func (s *Scanner) Extend(end int64) { s.end = max(s.end, end) }

// Unread makes the next call of Next return item, which must be the one it returned last.
func (s *Scanner) Unread(item Item) { s.queued = append([]Item{item}, s.queued...) }

// Next returns the next item, or io.EOF at the end, or the error of the file.
func (s *Scanner) Next() (Item, error) {
	if len(s.queued) > 0 {
		item := s.queued[0]
		s.queued = s.queued[1:]
		return item, nil
	}
	if err := s.skipNewlines(); err != nil {
		return Item{}, err
	}
	n, whole, err := s.line()
	if err != nil {
		return Item{}, err
	}
	off := s.base + int64(s.pos)
	line := s.buf[s.pos : s.pos+n]
	s.pos += n
	if !whole {
		return Item{Kind: BadBytes, Off: off, Len: int64(n), Reason: "line is cut short"}, nil
	}
	s.pos++
	return s.judge(line, off), nil
}

func (s *Scanner) judge(line []byte, off int64) Item {
	if len(line) > s.maxLine {
		return Item{Kind: BadBytes, Off: off, Len: int64(len(line)) + 1, Reason: "line is too long"}
	}
	item := parseLine(line, off)
	if item.Kind != BadBytes || item.Version != nil {
		return item
	}
	if left, right, ok := splitLine(line, off); ok {
		bad := Item{Kind: BadBytes, Off: right.Off - 1, Len: 1, Reason: "newline between two records is damaged"}
		left.Len-- // its newline is the bad byte
		s.queued = append(s.queued[:0], bad, right)
		return left
	}
	return item
}

func parseLine(line []byte, off int64) Item {
	item := Item{Off: off, Len: int64(len(line)) + 1}
	if off == 0 && !bytes.HasPrefix(line, []byte(seqKey)) {
		header, err := ParseHeader(line)
		if err == nil {
			item.Kind, item.Header = HeaderLine, header
			return item
		}
		item.Kind, item.Reason = BadBytes, err.Error()
		if errors.Is(err, ErrVersion) {
			item.Version = err
		}
		return item
	}
	seq, record, err := ParseRecord(line)
	if err != nil {
		item.Kind, item.Reason = BadBytes, err.Error()
		return item
	}
	item.Kind, item.Seq, item.Data = RecordLine, seq, record
	return item
}

// splitLine finds two good lines whose newline was damaged, so that one wrong byte there loses nothing. Both must be
// right: a record is never picked out of the middle of other bytes, where a sender could have planted it.
func splitLine(line []byte, off int64) (left, right Item, ok bool) {
	for at := 1; ; {
		next := bytes.Index(line[at:], []byte(seqKey))
		if next < 0 {
			return Item{}, Item{}, false
		}
		at += next
		left = parseLine(line[:at-1], off)
		if left.Kind != BadBytes {
			right = parseLine(line[at:], off+int64(at))
			return left, right, right.Kind == RecordLine
		}
		at++
	}
}

// skipNewlines moves to the next byte that is not a newline, or returns io.EOF.
func (s *Scanner) skipNewlines() error {
	for {
		for s.pos < len(s.buf) {
			if s.buf[s.pos] != '\n' {
				return nil
			}
			s.pos += newlines(s.buf[s.pos:])
		}
		if err := s.more(chunk); err != nil {
			return err
		}
	}
}

// newlines counts the newlines at the front of b; a block at a time, because empty segments are long.
func newlines(b []byte) int {
	n := 0
	for len(b)-n >= len(blank) && string(b[n:n+len(blank)]) == blank {
		n += len(blank)
	}
	for n < len(b) && b[n] == '\n' {
		n++
	}
	return n
}

// line finds the newline that ends the line at pos, reading more as needed; whole is false when the end comes first.
// The buffer grows with the line, so at most to the size of the file.
func (s *Scanner) line() (n int, whole bool, err error) {
	seen := 0
	for {
		if i := bytes.IndexByte(s.buf[s.pos+seen:], '\n'); i >= 0 {
			return seen + i, true, nil
		}
		seen = len(s.buf) - s.pos
		err := s.more(max(chunk, min(seen, 4<<20)))
		if errors.Is(err, io.EOF) {
			return seen, false, nil
		}
		if err != nil {
			return 0, false, err
		}
	}
}

// more reads at least one byte behind what is buffered, dropping what was passed.
func (s *Scanner) more(want int) error {
	s.base += int64(s.pos)
	kept := copy(s.buf, s.buf[s.pos:])
	s.buf, s.pos = s.buf[:kept], 0
	from := s.base + int64(kept)
	want = int(min(int64(want), s.end-from))
	if want <= 0 {
		return io.EOF
	}
	if cap(s.buf) < kept+want {
		grown := make([]byte, kept, kept+want)
		copy(grown, s.buf)
		s.buf = grown
	}
	n, err := s.src.ReadAt(s.buf[kept:kept+want], from)
	s.buf = s.buf[:kept+n]
	if n > 0 {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.EOF
	}
	return fmt.Errorf("read at %d: %w", from, err)
}
