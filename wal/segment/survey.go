package segment

import (
	"errors"
	"fmt"
	"io"
	"math"
)

// Mark says where a record begins, to find others near it.
type Mark struct {
	Seq uint64
	Off int64
}

// MarkEvery is the distance in bytes between two marks.
const MarkEvery = 64 << 10

// Region is a stretch of bad bytes.
type Region struct {
	Off    int64  `json:"offset"`
	Len    int64  `json:"bytes"`
	After  uint64 `json:"after_seq"`            // newest good record before it; 0 = none
	Before uint64 `json:"before_seq,omitempty"` // oldest good record after it; 0 = none
	Reason string `json:"reason"`
}

// Survey is what one look over a whole segment found.
type Survey struct {
	Header *Header // nil when missing or damaged
	First  uint64  // oldest good record; 0 = none
	Last   uint64  // newest good record; 0 = none
	Count  int
	End    int64 // just after the last good line
	Size   int64
	Marks  []Mark
	Damage []Region // bad bytes before a good record
	Torn   *Region  // bad bytes after the last good line; nothing acknowledged can be there unless the disk lost it
	// Superseded is where records begin that were written again in a later segment, after a failed fsync; 0 = nowhere.
	Superseded int64
	Gaps       []Gap // sequences missing between two good records with no bad bytes between them
}

// Gap is a range of missing sequences, both ends included.
type Gap struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// Start is the sequence this segment begins with, from the header or else the first record; 0 for an empty one.
func (s *Survey) Start() uint64 {
	if s.Header != nil {
		return s.Header.First
	}
	return s.First
}

// Blank says that nothing was ever written, or nothing of it is left.
func (s *Survey) Blank() bool { return s.Header == nil && s.Count == 0 }

// Inspect reads a segment from begin to end. Records with a sequence of below or more are void (0 = no such limit).
// It fails only when the file cannot be read or, with ErrVersion, must not be.
func Inspect(src io.ReaderAt, size int64, maxLine int, below uint64) (*Survey, error) {
	if below == 0 {
		below = math.MaxUint64
	}
	s := &Survey{Size: size}
	scan := NewScanner(src, 0, size, maxLine)
	for {
		item, err := scan.Next()
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return nil, err
		}
		if item.Version != nil {
			return nil, item.Version
		}
		if item.Kind == RecordLine && item.Seq >= below {
			s.Superseded = item.Off
			return s, nil
		}
		s.add(item)
	}
}

func (s *Survey) add(item Item) {
	switch {
	case item.Kind == HeaderLine:
		s.Header, s.End = &item.Header, item.Off+item.Len
	case item.Kind == BadBytes:
		s.bad(item.Off, item.Len, item.Reason)
	case item.Seq <= s.Last || (s.Header != nil && item.Seq < s.Header.First):
		s.bad(item.Off, item.Len, fmt.Sprintf("sequence %d does not follow %d: a duplicate, or left over from an older use of the file",
			item.Seq, max(s.Last, s.Start()-min(1, s.Start()))))
	default:
		s.good(item)
	}
}

func (s *Survey) good(item Item) {
	expected := s.Last + 1
	if s.Last == 0 {
		expected = max(s.Start(), 1)
	}
	if s.Torn != nil {
		s.Torn.Before = item.Seq
		s.Damage = append(s.Damage, *s.Torn)
		s.Torn = nil
	} else if item.Seq > expected && (s.Last > 0 || s.Header != nil) {
		s.Gaps = append(s.Gaps, Gap{From: expected, To: item.Seq - 1})
	}
	if s.First == 0 {
		s.First = item.Seq
	}
	s.Last, s.End = item.Seq, item.Off+item.Len
	s.Count++
	if n := len(s.Marks); n == 0 || item.Off-s.Marks[n-1].Off >= MarkEvery {
		s.Marks = append(s.Marks, Mark{Seq: item.Seq, Off: item.Off})
	}
}

func (s *Survey) bad(off, length int64, reason string) {
	if s.Torn == nil {
		s.Torn = &Region{Off: off, After: s.Last, Reason: reason}
	}
	s.Torn.Len = off + length - s.Torn.Off
}
