// Package segment is the bytes of one file of the write-ahead log: how a header and a record are written as lines of
// JSON, how they are read back, checked and told from damage.
//
// It knows one file at a time. It knows no order between files, no appenders and no meaning of a record.
package segment

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strconv"
	"time"
)

// Version is the format this code writes. It reads this one and older ones.
const Version = 1

// MaxSeq is the greatest sequence; one beyond it can only be damage, and would leave none to follow.
const MaxSeq = 1 << 62

// Limits of the format in bytes.
const (
	// MaxHeader is room enough for a header line.
	MaxHeader = 256
	// Overhead is the most that a record's line is longer than the record.
	Overhead = len(seqKey) + 20 + len(crcKey) + 8 + len(eventKey) + len(lineEnd)
)

// The pieces of a line. A segment file is lines of JSON, and nothing but newlines after the last one:
//
//	{"wal":1,"first":101,"created":"2026-11-21T10:00:00Z","crc":"89abcdef"}\n       header, at offset 0
//	{"seq":101,"crc":"1a2b3c4d","event":<the record's bytes as they came>}\n         record
//	{"seq":102,"crc":"5e6f7a8b","event":<...>}\n
//	\n\n\n\n\n\n\n\n ...                                                              never written
//
//	crc of a header  CRC-32C (Castagnoli) of the line's bytes before `,"crc":`, the same in every version to come
//	crc of a record  CRC-32C of the record's bytes followed by the sequence in decimal digits, so that neither can
//	                 change alone; always eight lower-case hexadecimal digits
//
// Nothing else is allowed: no spaces, no other order, no leading zeros.
const (
	seqKey   = `{"seq":`
	crcKey   = `,"crc":"`
	eventKey = `","event":`
	lineEnd  = "}\n"

	walKey     = `{"wal":`
	firstKey   = `,"first":`
	createdKey = `,"created":"`
	headerEnd  = `"}`
)

// ErrVersion says that a segment was written by a newer version of this program.
var ErrVersion = errors.New("segment format is newer than this program")

// Header is the first line of a segment.
type Header struct {
	Version int
	First   uint64 // sequence of the first record this segment was opened for
	Created time.Time
}

// AppendHeader appends the header's line to dst, in the current version whatever h.Version says.
func AppendHeader(dst []byte, h Header) []byte {
	start := len(dst)
	dst = append(dst, walKey...)
	dst = strconv.AppendInt(dst, Version, 10)
	dst = append(dst, firstKey...)
	dst = strconv.AppendUint(dst, h.First, 10)
	dst = append(dst, createdKey...)
	dst = h.Created.UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, '"')
	sum := Sum(dst[start:])
	dst = append(dst, crcKey...)
	dst = appendHex(dst, sum)
	return append(dst, headerEnd+"\n"...)
}

// ParseHeader reads a header's line without its newline. The error is [ErrVersion] when the checksum is right and the
// version too high, so that damage never looks like a newer version.
func ParseHeader(line []byte) (Header, error) {
	cut := len(line) - len(headerEnd) - 8 - len(crcKey)
	if cut < len(walKey) || !bytes.HasPrefix(line, []byte(walKey)) {
		return Header{}, errors.New("not a header")
	}
	body, tail := line[:cut], line[cut:]
	sum, ok := parseHex(tail[len(crcKey):])
	if !ok || !bytes.HasPrefix(tail, []byte(crcKey)) || !bytes.HasSuffix(tail, []byte(headerEnd)) {
		return Header{}, errors.New("header is cut short or has no checksum")
	}
	if sum != Sum(body) {
		return Header{}, errors.New("header checksum is wrong")
	}
	rest := body[len(walKey):]
	version, rest, ok := parseUint(rest)
	if ok && version > Version {
		return Header{}, fmt.Errorf("%w: version %d, this program reads up to %d; run a newer one", ErrVersion, version, Version)
	}
	first, rest, ok := parseField(rest, firstKey)
	if !ok || version == 0 || first == 0 || first > MaxSeq || len(rest) <= len(createdKey) || !bytes.HasPrefix(rest, []byte(createdKey)) {
		return Header{}, errors.New("header fields are wrong")
	}
	created, err := time.Parse(time.RFC3339Nano, string(rest[len(createdKey):len(rest)-1]))
	if err != nil {
		return Header{}, fmt.Errorf("header time: %w", err)
	}
	return Header{Version: int(version), First: first, Created: created}, nil
}

// AppendRecord appends the line of a record to dst. sum is [Sum] of the record's bytes; it is given so that it can be
// computed before the sequence is known.
func AppendRecord(dst []byte, seq uint64, record []byte, sum uint32) []byte {
	dst = append(dst, seqKey...)
	digits := len(dst)
	dst = strconv.AppendUint(dst, seq, 10)
	sum = crc32.Update(sum, castagnoli(), dst[digits:])
	dst = append(dst, crcKey...)
	dst = appendHex(dst, sum)
	dst = append(dst, eventKey...)
	dst = append(dst, record...)
	return append(dst, lineEnd...)
}

// ParseRecord reads a record's line without its newline. The record shares memory with line.
func ParseRecord(line []byte) (seq uint64, record []byte, err error) {
	if !bytes.HasPrefix(line, []byte(seqKey)) {
		return 0, nil, errors.New("not a record")
	}
	digits := line[len(seqKey):]
	seq, rest, ok := parseUint(digits)
	if !ok || seq == 0 || seq > MaxSeq {
		return 0, nil, errors.New("record has no sequence that can be")
	}
	digits = digits[:len(digits)-len(rest)]
	if !bytes.HasPrefix(rest, []byte(crcKey)) {
		return 0, nil, errors.New("record has no checksum")
	}
	sum, ok := parseHex(rest[len(crcKey):])
	if !ok {
		return 0, nil, errors.New("record has no checksum")
	}
	rest = rest[len(crcKey)+8:]
	if !bytes.HasPrefix(rest, []byte(eventKey)) || len(rest) <= len(eventKey)+1 || rest[len(rest)-1] != '}' {
		return 0, nil, errors.New("record is cut short")
	}
	record = rest[len(eventKey) : len(rest)-1]
	if sum != crc32.Update(Sum(record), castagnoli(), digits) {
		return 0, nil, errors.New("record checksum is wrong")
	}
	return seq, record, nil
}

// Sum is the CRC-32C of b.
func Sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli()) }

// castagnoli returns the table that package crc32 keeps; it is built once there, and has an instruction of its own.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func appendHex(dst []byte, v uint32) []byte {
	const digits = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, digits[v>>shift&15])
	}
	return dst
}

func parseHex(b []byte) (v uint32, ok bool) {
	if len(b) < 8 {
		return 0, false
	}
	for _, c := range b[:8] {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint32(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint32(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// parseUint reads digits up to the first other byte; a leading zero or an overflow is refused.
func parseUint(b []byte) (v uint64, rest []byte, ok bool) {
	i := 0
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		d := uint64(b[i] - '0')
		if v > (math.MaxUint64-d)/10 || (i == 1 && b[0] == '0') {
			return 0, b, false
		}
		v = v*10 + d
		i++
	}
	return v, b[i:], i > 0
}

func parseField(b []byte, key string) (v uint64, rest []byte, ok bool) {
	if !bytes.HasPrefix(b, []byte(key)) {
		return 0, b, false
	}
	return parseUint(b[len(key):])
}
