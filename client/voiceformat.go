package client

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// rawByteRate is that of 16-bit mono at 16 kHz.
const rawByteRate = 32_000

// maxHeader is how long the header of a WAV file may be that can be cut.
const maxHeader = 64 << 10

// voiceFormat is what the first bytes of a recording say of it. The server looks for
// itself; this is for pacing, and for going on in the middle of a recording.
type voiceFormat struct {
	name    string // wav, raw, or "" for anything that cannot be cut
	header  []byte // up to the first sample
	rate    int    // bytes for each second
	align   int64  // bytes that belong together
	silence byte
	size    int // where in header the length of the samples is; 0 is nowhere
}

// cuts reports whether a stream may begin in the middle of the recording.
func (f voiceFormat) cuts() bool { return f.name != "" }

// at is the position in the recording of a time.
func (f voiceFormat) at(t time.Duration) int64 {
	samples := int64(t) / int64(time.Second) * int64(f.rate)
	samples += int64(t) % int64(time.Second) * int64(f.rate) / int64(time.Second)
	return int64(len(f.header)) + samples/f.align*f.align
}

// time is the time of a position in the recording.
func (f voiceFormat) time(at int64) time.Duration {
	n := max(0, at-int64(len(f.header)))
	return time.Duration(n/int64(f.rate))*time.Second + time.Duration(n%int64(f.rate))*time.Second/time.Duration(f.rate)
}

// headerFrom is the header for a stream that lacks the first bytes of samples, so
// that what follows the samples is not heard as sound.
func (f voiceFormat) headerFrom(lacks int64) []byte {
	header := slices.Clone(f.header)
	if f.size == 0 {
		return header
	}
	size := int64(binary.LittleEndian.Uint32(header[f.size:]))
	if size == 0 || size >= 0x7FFF0000 { // written into a pipe: nobody knew
		return header
	}
	// 0 would mean that the length is not known.
	binary.LittleEndian.PutUint32(header[f.size:], uint32(max(size-lacks, 1)))
	return header
}

// formatOf reads the beginning of a recording; enough is false if more could tell more.
func formatOf(head []byte, whole bool) (f voiceFormat, enough bool) {
	other := voiceFormat{rate: rawByteRate, align: 2}
	if len(head) < 12 && !whole {
		return other, false
	}
	if len(head) >= 12 && string(head[:4]) == "RIFF" && string(head[8:12]) == "WAVE" {
		f, found := wavFormat(head)
		if found || whole || len(head) >= maxHeader {
			return f, true
		}
		return other, false
	}
	if isContainer(head) {
		return other, true
	}
	other.name = "raw"
	return other, true
}

// isContainer knows the formats whose middle means nothing without their beginning.
func isContainer(head []byte) bool {
	for _, magic := range []string{
		"\x1a\x45\xdf\xa3", "\x1f\x43\xb6\x75", "OggS", "fLaC", "ID3", ".snd\x00\x00", "caff\x00\x01", "#!AMR",
		"\x30\x26\xb2\x75", "riff\x2e\x91", "RIFF", "RF64", "RIFX", "FORM",
	} {
		if strings.HasPrefix(string(head[:min(len(head), 12)]), magic) {
			return true
		}
	}
	if len(head) >= 8 && string(head[4:8]) == "ftyp" {
		return true
	}
	// MP3 and AAC begin each frame with eleven bits that are set, which quiet samples
	// do too; those have no length of a frame in them that leads to another.
	return len(head) >= 4 && head[0] == 0xff && head[1]&0xe0 == 0xe0 && head[1]&0x06 != 0 && head[2] != 0xff &&
		bytes.Count(head, head[:2]) > 1
}

// wavFormat walks the chunks of a WAV file up to its samples.
func wavFormat(head []byte) (f voiceFormat, found bool) {
	f = voiceFormat{rate: rawByteRate, align: 2}
	known := false
	for at := 12; at+8 <= len(head); {
		size := int(binary.LittleEndian.Uint32(head[at+4:]))
		body := head[at+8:]
		switch string(head[at : at+4]) {
		case "fmt ":
			if size < 16 || len(body) < 16 {
				return f, false
			}
			known = f.layout(body)
		case "data":
			if known {
				f.name, f.header, f.size = "wav", slices.Clone(head[:at+8]), at+4
			}
			return f, true
		}
		if size > maxHeader {
			return f, true // not to be cut, as far as can be seen
		}
		at += 8 + size + size%2
	}
	return f, false
}

// layout reads the fmt chunk, and reports whether silence and whole samples are known.
func (f *voiceFormat) layout(body []byte) bool {
	tag, bits := binary.LittleEndian.Uint16(body), binary.LittleEndian.Uint16(body[14:])
	rate, align := binary.LittleEndian.Uint32(body[8:]), binary.LittleEndian.Uint16(body[12:])
	if rate < 1000 || rate > 1<<24 || align == 0 {
		return false
	}
	f.rate, f.align = int(rate), int64(align)
	switch {
	case tag == 6:
		f.silence = 0xd5 // A-law
	case tag == 7:
		f.silence = 0xff // µ-law
	case tag == 1 && bits <= 8:
		f.silence = 0x80
	}
	return tag == 1 || tag == 3 || tag == 6 || tag == 7 || tag == 0xfffe
}
