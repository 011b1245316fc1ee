package audio_test

import (
	"encoding/binary"
	"math/bits"
	"os"
	"path/filepath"
	"testing"
)

// media reads a file of testdata.
func media(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// packets takes the Opus packets out of a file of testdata in Ogg.
func packets(t testing.TB, name string) [][]byte {
	t.Helper()
	return packetsOf(media(t, name))
}

func packetsOf(ogg []byte) (all [][]byte) {
	var packet []byte
	for b := ogg; len(b) > 0; {
		table := b[27 : 27+int(b[26])]
		b = b[27+len(table):]
		for _, s := range table {
			packet = append(packet, b[:s]...)
			if b = b[s:]; s < 255 {
				all = append(all, packet)
				packet = nil
			}
		}
	}
	return all[2:]
}

// element writes an EBML element. The sizes of -1 and of nil bodies are unknown.
func element(id uint32, body ...[]byte) []byte {
	e := idBytes(id)
	if body == nil {
		return append(e, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	}
	n := 0
	for _, b := range body {
		n += len(b)
	}
	e = append(e, 0x10|byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	for _, b := range body {
		e = append(e, b...)
	}
	return e
}

func idBytes(id uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, id)
	return b[bits.LeadingZeros32(id)/8:]
}

func number(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

const (
	ebmlHead, segment, info, scale        = 0x1A45DFA3, 0x18538067, 0x1549A966, 0x2AD7B1
	tracks, entry, trackNumber, trackType = 0x1654AE6B, 0xAE, 0xD7, 0x83
	codecID, codecPrivate, codings, sound = 0x86, 0x63A2, 0x6D80, 0xE1
	soundRate, soundChannels, soundBits   = 0xB5, 0x9F, 0x6264
	cluster, timecode, simpleBlock, group = 0x1F43B675, 0xE7, 0xA3, 0xA0
	blockInGroup, discard, void, cues     = 0xA1, 0x75A2, 0xEC, 0x1C53BB6B
	xiphLacing, fixedLacing, ebmlLacing   = 2, 4, 6
)

// opusHead is a header with no pre-skip, a gain of gain/256 dB and the mapping family.
func opusHead(skip uint16, gain int16, family byte) []byte {
	h := append([]byte("OpusHead"), 1, 2)
	h = binary.LittleEndian.AppendUint16(h, skip)
	h = binary.LittleEndian.AppendUint32(h, 48000)
	h = binary.LittleEndian.AppendUint16(h, uint16(gain))
	return append(h, family)
}

// webmHead is all before the first cluster, for one track with the number 1.
func webmHead(codec string, private []byte, more ...[]byte) []byte {
	track := [][]byte{
		element(trackNumber, number(1)), element(trackType, number(2)),
		element(codecID, []byte(codec)), element(codecPrivate, private),
	}
	b := element(ebmlHead, element(0x4282, []byte("webm")))
	b = append(b, element(segment)...)
	b = append(b, element(void, make([]byte, 30))...)
	b = append(b, element(info, element(scale, number(1_000_000)))...)
	return append(b, element(tracks, element(entry, append(track, more...)...))...)
}

// block is the body of a block of track 1.
func block(ticks int16, flags byte, body ...[]byte) []byte {
	b := []byte{0x81, byte(uint16(ticks) >> 8), byte(ticks), flags}
	for _, p := range body {
		b = append(b, p...)
	}
	return b
}

// webmStream puts packets of the given length in ms into clusters of one second and
// unknown size, without those that lost names.
func webmStream(packets [][]byte, ms int64, lost ...int) []byte {
	b := webmHead("A_OPUS", opusHead(0, 0, 0))
	gone := map[int]bool{}
	for _, i := range lost {
		gone[i] = true
	}
	begun := int64(-1)
	for i, p := range packets {
		at := int64(i) * ms
		if at/1000 != begun/1000 || begun < 0 {
			begun = at
			b = append(b, element(cluster)...)
			b = append(b, element(timecode, number(uint64(at)))...)
		}
		if !gone[i] {
			b = append(b, element(simpleBlock, block(int16(at-begun), 0x80, p))...)
		}
	}
	return b
}

// page is one page of an Ogg stream.
type page struct {
	flags   byte
	granule int64
	serial  uint32
	number  uint32
	table   []byte // nil: one packet, whole
	body    []byte
}

func (p page) bytes() []byte {
	if p.table == nil {
		for n := len(p.body); ; n -= 255 {
			p.table = append(p.table, byte(min(n, 255)))
			if n < 255 {
				break
			}
		}
	}
	b := append([]byte("OggS\x00"), p.flags)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.granule))
	b = binary.LittleEndian.AppendUint32(b, p.serial)
	b = binary.LittleEndian.AppendUint32(b, p.number)
	b = append(b, 0, 0, 0, 0, byte(len(p.table)))
	b = append(append(b, p.table...), p.body...)
	binary.LittleEndian.PutUint32(b[22:], oggChecksum(b))
	return b
}

// oggChecksum is a CRC-32 with the polynomial 0x04c11db7, bit by bit.
func oggChecksum(b []byte) (sum uint32) {
	for _, v := range b {
		sum ^= uint32(v) << 24
		for range 8 {
			sum = sum<<1 ^ sum>>31*0x04c11db7
		}
	}
	return sum
}

// oggStream puts each packet onto a page of its own; length is theirs in 1/48000 s.
func oggStream(head []byte, packets [][]byte, length int64, lost ...int) (b []byte) {
	gone := map[int]bool{}
	for _, i := range lost {
		gone[i] = true
	}
	b = append(b, page{flags: 2, serial: 7, body: head}.bytes()...)
	b = append(b, page{serial: 7, number: 1, body: []byte("OpusTags\x00\x00\x00\x00\x00\x00\x00\x00")}.bytes()...)
	for i, p := range packets {
		if !gone[i] {
			b = append(b, page{granule: int64(i+1) * length, serial: 7, number: uint32(i + 2), body: p}.bytes()...)
		}
	}
	return b
}
