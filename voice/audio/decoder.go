package audio

import (
	"errors"
	"fmt"
)

// ErrFormat marks a stream that this package cannot decode. The error that wraps it
// is a [*FormatError] and says what to send instead.
var ErrFormat = errors.New("audio format not supported")

// ErrEnded is returned for bytes that come after Flush.
var ErrEnded = errors.New("audio: the stream has ended; open a new one")

// FormatError says which format was found and why it is refused. It unwraps to [ErrFormat].
type FormatError struct {
	Format Format
	Reason string
}

// Error says what was found, why it is refused and what to send.
func (e *FormatError) Error() string {
	return fmt.Sprintf("%s audio %s: send raw PCM (s16le, 16 kHz, mono) or WAV "+
		"(16-bit PCM, mono or stereo, 8 kHz or more)", e.Format, e.Reason)
}

// Unwrap makes errors.Is(err, ErrFormat) true.
func (e *FormatError) Unwrap() error { return ErrFormat }

func formatError(f Format, reason string) error { return &FormatError{Format: f, Reason: reason} }

// container is one format's way from bytes to 16 kHz mono samples.
type container interface {
	decode(dst []int16, p []byte) ([]int16, error)
	flush(dst []int16) ([]int16, error)
}

// Decoder turns the bytes of one client into 16 kHz mono samples. The first bytes
// decide on the format, once for the stream. The zero value is ready to use.
//
// An error is final: the same error comes back from every later call.
type Decoder struct {
	head   []byte // bytes held back until the format is known
	format Format
	in     container
	err    error
}

// Format is what the stream turned out to be, [FormatUnknown] as long as that is open.
func (d *Decoder) Format() Format { return d.format }

// Decode appends the samples in p to dst and returns it. Bytes that do not make a
// whole sample yet are kept for the next call.
func (d *Decoder) Decode(dst []int16, p []byte) ([]int16, error) {
	if d.err != nil || len(p) == 0 {
		return dst, d.err
	}
	if d.in == nil {
		d.head = append(d.head, p...)
		if !d.begin(false) {
			return dst, d.err
		}
		p, d.head = d.head, nil
	}
	dst, d.err = d.in.decode(dst, p)
	return dst, d.err
}

// Flush appends what is still held back. Call it once, at the end of the stream.
func (d *Decoder) Flush(dst []int16) ([]int16, error) {
	if d.err != nil {
		return dst, d.err
	}
	if d.in == nil {
		if len(d.head) == 0 {
			d.err = ErrEnded
			return dst, nil
		}
		if !d.begin(true) {
			return dst, d.err
		}
		if dst, d.err = d.in.decode(dst, d.head); d.err != nil {
			return dst, d.err
		}
	}
	dst, err := d.in.flush(dst)
	d.err = ErrEnded
	if err != nil {
		d.err = err
	}
	return dst, err
}

// begin chooses the container; false means "not yet" or, with d.err set, "never".
func (d *Decoder) begin(last bool) bool {
	switch d.format = sniff(d.head, last); d.format {
	case FormatUnknown:
		return false
	case FormatPCM:
		d.in = &rawReader{}
	case FormatWAV:
		d.in = &wavReader{}
	default:
		d.err = formatError(d.format, "cannot be decoded here")
		return false
	}
	return true
}

// rawReader reads s16le 16 kHz mono, with the odd byte of a write kept for the next.
type rawReader struct {
	odd  byte
	half bool
}

func (r *rawReader) decode(dst []int16, p []byte) ([]int16, error) {
	if r.half && len(p) > 0 {
		dst = append(dst, int16(uint16(r.odd)|uint16(p[0])<<8))
		p, r.half = p[1:], false
	}
	for ; len(p) >= 2; p = p[2:] {
		dst = append(dst, int16(uint16(p[0])|uint16(p[1])<<8))
	}
	if len(p) == 1 {
		r.odd, r.half = p[0], true
	}
	return dst, nil
}

func (r *rawReader) flush(dst []int16) ([]int16, error) { return dst, nil }
