package audio

import (
	"encoding/binary"
	"fmt"
)

const (
	// A header with more than this before its samples is damage or an attack.
	maxWAVHeader = 1 << 20

	wavPCM        = 1
	wavFloat      = 3
	wavAlaw       = 6
	wavMulaw      = 7
	wavExtensible = 0xFFFE

	// The tail of the GUIDs that hold a tag of the above in their first two bytes.
	wavGUID = "\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
)

// wavReader takes a WAV stream apart as it comes. The declared length of the data
// is believed only where it can be: piped writers put 0 or a huge number there.
type wavReader struct {
	buf     []byte // header bytes not yet understood
	skip    int64  // bytes of an uninteresting chunk still to pass over
	seen    int64  // header bytes so far
	state   wavState
	left    int64 // bytes of data still to come; negative: until the end of the stream
	samples *sampleReader
}

type wavState int

const (
	wavRIFF wavState = iota
	wavChunks
	wavData
)

func (w *wavReader) decode(dst []int16, p []byte) ([]int16, error) {
	if w.state >= wavData {
		return w.data(dst, p), nil
	}
	w.buf = append(w.buf, p...)
	for w.state < wavData {
		advanced, err := w.header()
		if err != nil {
			return dst, err
		}
		if !advanced {
			return dst, nil
		}
	}
	p, w.buf = w.buf, nil
	return w.data(dst, p), nil
}

func (w *wavReader) settled() bool { return w.state >= wavData }

// header understands one piece of the header, or says that it needs more bytes.
func (w *wavReader) header() (bool, error) {
	if w.skip > 0 {
		n := min(w.skip, int64(len(w.buf)))
		w.take(n)
		w.skip -= n
		return w.skip == 0, nil
	}
	if w.seen > maxWAVHeader {
		return false, formatError(FormatWAV, "has no samples within its first MiB")
	}
	if w.state == wavRIFF {
		if len(w.buf) < 12 {
			return false, nil
		}
		w.take(12)
		w.state = wavChunks
		return true, nil
	}
	if len(w.buf) < 8 {
		return false, nil
	}
	return w.chunk(string(w.buf[:4]), int64(binary.LittleEndian.Uint32(w.buf[4:])))
}

func (w *wavReader) chunk(id string, size int64) (bool, error) {
	switch id {
	case "fmt ":
		if size < 16 || size > 4096 {
			return false, formatError(FormatWAV, fmt.Sprintf("has a fmt chunk of %d bytes", size))
		}
		if int64(len(w.buf)) < 8+size {
			return false, nil
		}
		err := w.layout(w.buf[8 : 8+size])
		w.take(8 + size + size%2)
		return err == nil, err
	case "data":
		if w.samples == nil {
			return false, formatError(FormatWAV, "has samples before its fmt chunk")
		}
		w.take(8)
		w.state, w.left = wavData, size
		if size == 0 || size >= 0x7FFF0000 {
			w.left = -1
		}
		return true, nil
	}
	if size > maxWAVHeader {
		return false, formatError(FormatWAV, fmt.Sprintf("has a chunk %q of %d bytes before its samples", id, size))
	}
	w.take(8)
	w.skip += size + size%2
	return true, nil
}

func (w *wavReader) layout(f []byte) error {
	le := binary.LittleEndian
	tag, bits := le.Uint16(f), int(le.Uint16(f[14:]))
	if tag == wavExtensible && len(f) >= 40 && string(f[26:40]) == wavGUID {
		tag = le.Uint16(f[24:])
	}
	r := RawFormat{Channels: int(le.Uint16(f[2:])), Rate: int(le.Uint32(f[4:]))}
	// Samples of odd sizes, such as 20 bits, lie at the top of whole bytes.
	switch bytes := (bits + 7) / 8 * 8; tag {
	case wavPCM, wavFloat:
		r.Encoding = linear(tag == wavFloat, bytes)
	case wavAlaw, wavMulaw:
		if r.Encoding = Alaw; tag == wavMulaw {
			r.Encoding = Mulaw
		}
		bits = 8
	default:
		return foreign(FormatWAV, fmt.Sprintf("holds encoding %d with %d bits", tag, bits))
	}
	if r.Encoding == "" {
		return formatError(FormatWAV, fmt.Sprintf("holds encoding %d with %d bits", tag, bits))
	}
	if err := r.Validate(); err != nil {
		return formatError(FormatWAV, "holds "+err.Error())
	}
	width := int(le.Uint16(f[12:])) / r.Channels
	if width > 8 || width*r.Channels != int(le.Uint16(f[12:])) {
		width = 0
	}
	w.samples = newSampleReader(r, width)
	return nil
}

// take drops n bytes of header; those that are not there yet are skipped as they come.
func (w *wavReader) take(n int64) {
	here := min(n, int64(len(w.buf)))
	w.buf = w.buf[:copy(w.buf, w.buf[here:])]
	w.seen += n
	w.skip += n - here
}

// data plays what of p is sound; what follows the declared length is metadata, never sound.
func (w *wavReader) data(dst []int16, p []byte) []int16 {
	if w.left >= 0 {
		p = p[:min(w.left, int64(len(p)))]
		w.left -= int64(len(p))
	}
	return w.samples.read(dst, p)
}

func (w *wavReader) flush(dst []int16) ([]int16, error) {
	if w.state < wavData {
		return dst, formatError(FormatWAV, "ends before its samples begin")
	}
	return w.samples.flush(dst), nil
}
