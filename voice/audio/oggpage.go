package audio

import (
	"bytes"
	"encoding/binary"
	"errors"
)

const (
	oggHead = 27 // bytes of a page header before its table of segments

	oggContinued = 1 // flags of a page
	oggFirst     = 2
	oggLast      = 4
)

// oggPage is a page whose checksum is right.
type oggPage struct {
	flags    byte
	granule  int64 // time at the end of the last packet that ends here; -1 if none does
	serial   uint32
	number   uint32
	segments []byte
	body     []byte
}

// nextPage takes the page that b starts with. Its slices point into b. size 0: more bytes
// are needed.
func nextPage(b []byte, table *[256]uint32) (p oggPage, size int, err error) {
	if n := min(len(b), 4); string(b[:n]) != "OggS"[:n] {
		return p, 0, errors.New("has bytes where a page should begin")
	}
	if len(b) < oggHead || len(b) < oggHead+int(b[26]) {
		return p, 0, nil
	}
	p.segments = b[oggHead : oggHead+int(b[26])]
	size = oggHead + len(p.segments)
	start := size
	for _, s := range p.segments {
		size += int(s)
	}
	if len(b) < size {
		return p, 0, nil
	}
	le := binary.LittleEndian
	if b[4] != 0 {
		return p, 0, errors.New("has a page of an unknown version")
	}
	sum := oggSum(table, 0, b[:22])
	sum = oggSum(table, sum, []byte{0, 0, 0, 0})
	if oggSum(table, sum, b[26:size]) != le.Uint32(b[22:]) {
		return p, 0, errors.New("has a page with a wrong checksum")
	}
	p.flags, p.granule = b[5], int64(le.Uint64(b[6:]))
	p.serial, p.number = le.Uint32(b[14:]), le.Uint32(b[18:])
	p.body = b[start:size]
	return p, size, nil
}

// oggTable is for Ogg's checksum: CRC-32 with the bits the other way round than the
// standard library has them.
func oggTable() *[256]uint32 {
	var table [256]uint32
	for i := range table {
		v := uint32(i) << 24
		for range 8 {
			carry := v >> 31
			v = v<<1 ^ carry*0x04c11db7
		}
		table[i] = v
	}
	return &table
}

func oggSum(table *[256]uint32, sum uint32, p []byte) uint32 {
	for _, b := range p {
		sum = sum<<8 ^ table[byte(sum>>24)^b]
	}
	return sum
}

// oggCodec names the codec by the first packet of its stream.
func oggCodec(packet []byte) string {
	for magic, name := range map[string]string{
		"OpusHead": "opus", "\x01vorbis": "Vorbis", "\x7fFLAC": "FLAC", "Speex   ": "Speex",
		"\x80theora": "Theora", "fishead\x00": "",
	} {
		if bytes.HasPrefix(packet, []byte(magic)) {
			return name
		}
	}
	return "an unknown codec"
}
