package audio

import (
	"encoding/binary"
	"fmt"
)

const (
	minRate = 8000
	maxRate = 192_000
	// A header with more than this before its samples is damage or an attack.
	maxWAVHeader = 1 << 20

	wavPCM        = 1
	wavExtensible = 0xFFFE
)

// wavReader takes a WAV stream apart as it comes. The declared length of the data
// is believed only where it can be: piped writers put 0 or a huge number there.
type wavReader struct {
	buf     []byte // header bytes not yet understood, or the odd bytes of a frame
	skip    int64  // bytes of an uninteresting chunk still to pass over
	seen    int64  // header bytes so far
	state   wavState
	left    int64 // bytes of data still to come; negative: until the end of the stream
	channel int
	down    *Resampler
	mono    []int16
}

type wavState int

const (
	wavRIFF wavState = iota
	wavChunks
	wavData
	wavDone
)

func (w *wavReader) decode(dst []int16, p []byte) ([]int16, error) {
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
	return w.data(dst), nil
}

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
		if w.channel == 0 {
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
	tag := binary.LittleEndian.Uint16(f)
	if tag == wavExtensible && len(f) >= 26 {
		tag = binary.LittleEndian.Uint16(f[24:])
	}
	channels := int(binary.LittleEndian.Uint16(f[2:]))
	rate := int(binary.LittleEndian.Uint32(f[4:]))
	bits := binary.LittleEndian.Uint16(f[14:])
	switch {
	case tag != wavPCM || bits != 16:
		return formatError(FormatWAV, fmt.Sprintf("holds encoding %d with %d bits", tag, bits))
	case channels != 1 && channels != 2:
		return formatError(FormatWAV, fmt.Sprintf("has %d channels", channels))
	case rate < minRate || rate > maxRate:
		return formatError(FormatWAV, fmt.Sprintf("has %d samples a second; %d to %d are taken",
			rate, minRate, maxRate))
	}
	w.channel, w.down = channels, NewResampler(rate)
	return nil
}

// take drops n bytes of header; those that are not there yet are skipped as they come.
func (w *wavReader) take(n int64) {
	here := min(n, int64(len(w.buf)))
	w.buf = w.buf[:copy(w.buf, w.buf[here:])]
	w.seen += n
	w.skip += n - here
}

func (w *wavReader) data(dst []int16) []int16 {
	if w.state == wavDone {
		w.buf = w.buf[:0]
		return dst
	}
	frame := 2 * w.channel
	usable := len(w.buf)
	if w.left >= 0 {
		usable = int(min(int64(usable), w.left))
	}
	usable -= usable % frame
	w.mono = w.mono[:0]
	for at := 0; at < usable; at += frame {
		w.mono = append(w.mono, w.mix(w.buf[at:]))
	}
	w.buf = w.buf[:copy(w.buf, w.buf[usable:])]
	if w.left >= 0 {
		if w.left -= int64(usable); w.left < int64(frame) {
			// What follows the samples is metadata, never sound.
			w.state = wavDone
		}
	}
	return w.down.Resample(dst, w.mono)
}

func (w *wavReader) mix(b []byte) int16 {
	left := int16(binary.LittleEndian.Uint16(b))
	if w.channel == 1 {
		return left
	}
	right := int16(binary.LittleEndian.Uint16(b[2:]))
	return int16((int32(left) + int32(right)) / 2)
}

func (w *wavReader) flush(dst []int16) ([]int16, error) {
	if w.state < wavData {
		return dst, formatError(FormatWAV, "ends before its samples begin")
	}
	return w.down.Flush(dst), nil
}
