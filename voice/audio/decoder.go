package audio

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// ErrFormat marks a stream that this package cannot decode. The error that wraps it
// is a [*FormatError] and says what to send instead.
var ErrFormat = errors.New("audio format not supported")

// ErrEnded is returned for bytes that come after Flush or Close.
var ErrEnded = errors.New("audio: the stream has ended; open a new one")

// FormatError says which format was found and why it is refused. It unwraps to [ErrFormat].
type FormatError struct {
	Format  Format
	Reason  string
	foreign bool   // ffmpeg may know it
	advice  string // what would help besides another format
}

// Error says what was found, why it is refused and what to send.
func (e *FormatError) Error() string {
	return fmt.Sprintf("%s audio %s: %ssend raw PCM (s16le, 16 kHz, mono), WAV (PCM, float or G.711, "+
		"8 kHz or more), or Opus in webm or ogg", e.Format, e.Reason, e.advice)
}

// Unwrap makes errors.Is(err, ErrFormat) true.
func (e *FormatError) Unwrap() error { return ErrFormat }

func formatError(f Format, reason string) error { return &FormatError{Format: f, Reason: reason} }

func foreign(f Format, reason string) error {
	return &FormatError{Format: f, Reason: reason, foreign: true}
}

// container is one format's way from bytes to 16 kHz mono samples.
type container interface {
	decode(dst []int16, p []byte) ([]int16, error)
	flush(dst []int16) ([]int16, error)
	// settled reports that the codec is known and decoded here: ffmpeg will not be asked,
	// so the first bytes need not be kept for it.
	settled() bool
}

// Options is what a [Decoder] may use. The zero value decodes what needs no ffmpeg.
type Options struct {
	// Raw, unless zero, says that the stream is samples of this layout, whatever it
	// looks like. Zero fields take the defaults. It must be valid.
	Raw RawFormat
	// Transcoder decodes what this package does not; nil refuses that by name.
	Transcoder *Transcoder
}

// Decoder turns the bytes of one client into 16 kHz mono samples. The first bytes
// decide on the format, once for the stream. The zero value is ready to use; it needs no
// Close.
//
// An error is final: the same error comes back from every later call. What is appended in
// one call is bounded by the size of p, though not tightly: a byte of Opus can hold 400
// samples, so feed pieces of at most 64 KiB.
type Decoder struct {
	ctx    context.Context
	o      Options
	head   []byte // bytes held back until the format, and then the codec, is known
	format Format
	in     container
	run    *conversion // in, when that is ffmpeg
	file   *os.File    // where the stream comes from, if ffmpeg may look for itself
	err    error
}

// NewDecoder makes a decoder. ctx ends the ffmpeg of the stream, if it has one. Close it.
func NewDecoder(ctx context.Context, o Options) (*Decoder, error) {
	d := &Decoder{ctx: ctx, o: o}
	if o.Raw == (RawFormat{}) {
		return d, nil
	}
	raw := o.Raw.WithDefaults()
	if err := raw.Validate(); err != nil {
		return nil, err
	}
	d.format, d.in = FormatPCM, rawReader{newSampleReader(raw, 0)}
	return d, nil
}

// Format is what the stream turned out to be, [FormatUnknown] as long as that is open.
func (d *Decoder) Format() Format { return d.format }

// Ready signals that samples can be had by Decode(dst, nil) without another byte: those
// that ffmpeg gives later than the bytes they came from. It is nil, which is never ready,
// for formats that need no ffmpeg, so ask for it after every Decode.
func (d *Decoder) Ready() <-chan struct{} {
	if d.run == nil {
		return nil
	}
	return d.run.out.filled
}

// Decode appends the samples in p to dst and returns it. Bytes that do not make a
// whole sample or packet yet are kept for the next call. With ffmpeg it also appends what
// has become ready since, and waits while ffmpeg has too much to do.
func (d *Decoder) Decode(dst []int16, p []byte) ([]int16, error) {
	if d.err != nil {
		return dst, d.err
	}
	if len(p) == 0 && d.run != nil {
		dst, d.err = d.run.decode(dst, nil)
		return dst, d.err
	}
	// In pieces, so that what is held back stays small however large p is.
	for len(p) > 0 && d.err == nil {
		n := min(maxPiece, len(p))
		dst, d.err = d.piece(dst, p[:n])
		p = p[n:]
	}
	return dst, d.err
}

const maxPiece = 32 << 10

func (d *Decoder) piece(dst []int16, p []byte) ([]int16, error) {
	if d.in == nil {
		d.head = append(d.head, p...)
		if err := d.begin(false); d.in == nil {
			return dst, err
		}
		p = d.head
	} else if d.head != nil {
		d.head = append(d.head, p...)
	}
	dst, err := d.in.decode(dst, p)
	return d.settle(dst, err)
}

// settle drops the first bytes when the codec is known, or gives them to ffmpeg when it
// is one for that.
func (d *Decoder) settle(dst []int16, err error) ([]int16, error) {
	if err != nil && d.head != nil && d.o.Transcoder != nil && isForeign(err) {
		if err = d.convert(); err == nil {
			dst, err = d.run.decode(dst, d.head)
		}
	}
	if err != nil || d.in.settled() {
		d.head = nil
	}
	return dst, err
}

func isForeign(err error) bool {
	var f *FormatError
	return errors.As(err, &f) && f.foreign
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
		if d.err = d.begin(true); d.err == nil {
			dst, d.err = d.settle(d.in.decode(dst, d.head))
		}
		if d.err != nil {
			return dst, d.err
		}
	}
	dst, err := d.in.flush(dst)
	if d.run == nil {
		if dst, err = d.settle(dst, err); err == nil && d.run != nil {
			dst, err = d.run.flush(dst)
		}
	}
	d.err = ErrEnded
	if err != nil {
		d.err = err
	}
	return dst, err
}

// Close ends the stream's ffmpeg, if there is one, and waits for it. It may be called at
// any time, by the goroutine that decodes, and again.
func (d *Decoder) Close() error {
	if d.run != nil {
		d.run.close()
	}
	if d.err == nil {
		d.err = ErrEnded
	}
	d.head = nil
	return nil
}

// begin chooses the container. No container and no error: not yet.
func (d *Decoder) begin(last bool) error {
	switch d.format = sniff(d.head, last); d.format {
	case FormatUnknown:
	case FormatPCM:
		d.in = rawReader{newSampleReader(RawFormat{}.WithDefaults(), 0)}
	case FormatWAV:
		d.in = &wavReader{}
	case FormatWebM:
		d.in = &webmReader{}
	case FormatOgg:
		d.in = newOggReader()
	case FormatWebMPart:
		return formatError(FormatWebM, "begins in the middle of a recording; start a new MediaRecorder for every connection")
	default:
		if d.o.Transcoder == nil {
			return formatError(d.format, "cannot be decoded here")
		}
		return d.convert()
	}
	return nil
}

// convert has ffmpeg decode the stream.
func (d *Decoder) convert() error {
	run, err := d.o.Transcoder.start(d.ctx, d.format, d.file)
	if err == nil {
		d.run, d.in = run, run
	}
	return err
}

// rawReader reads samples without a container.
type rawReader struct{ samples *sampleReader }

func (r rawReader) decode(dst []int16, p []byte) ([]int16, error) {
	return r.samples.read(dst, p), nil
}

func (r rawReader) flush(dst []int16) ([]int16, error) { return r.samples.flush(dst), nil }
func (r rawReader) settled() bool                      { return true }
