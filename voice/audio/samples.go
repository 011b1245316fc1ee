package audio

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// Encoding names how one sample is stored. All are little-endian.
type Encoding string

// The encodings, under the names that clients use for them in queries.
const (
	Linear16 Encoding = "linear16" // signed
	Mulaw    Encoding = "mulaw"    // ITU-T G.711, 8 bits
	Alaw     Encoding = "alaw"     // ITU-T G.711, 8 bits
	Linear8  Encoding = "linear8"  // unsigned, as in WAV
	Linear24 Encoding = "linear24" // signed, 3 bytes
	Linear32 Encoding = "linear32" // signed
	Float32  Encoding = "float32"  // IEEE 754, 1 is full scale
	Float64  Encoding = "float64"  // IEEE 754, 1 is full scale
)

// RawFormat is the layout of samples without a container.
type RawFormat struct {
	Encoding Encoding // "" is [Linear16]
	Rate     int      // samples a second, 8000 to 192000; 0 is [SampleRate]
	Channels int      // interleaved, 1 to 8, mixed to one; 0 is 1
}

// WithDefaults fills the zero fields.
func (f RawFormat) WithDefaults() RawFormat {
	orElse(&f.Encoding, Linear16)
	orElse(&f.Rate, SampleRate)
	orElse(&f.Channels, 1)
	return f
}

const (
	minRate     = 8000
	maxRate     = 192_000
	maxChannels = 8
)

// Validate says what is wrong and what is taken. Call it on a format with defaults.
func (f RawFormat) Validate() error {
	switch {
	case f.Encoding.width() == 0:
		return fmt.Errorf("audio encoding %q is not known: use linear16, mulaw, alaw, linear8, linear24, linear32, float32 or float64", string(f.Encoding))
	case f.Rate < minRate || f.Rate > maxRate:
		return fmt.Errorf("audio with %d samples a second: %d to %d are taken", f.Rate, minRate, maxRate)
	case f.Channels < 1 || f.Channels > maxChannels:
		return fmt.Errorf("audio with %d channels: 1 to %d are taken", f.Channels, maxChannels)
	}
	return nil
}

// width is the bytes of one sample, 0 for an encoding that is not known.
func (e Encoding) width() int {
	switch e {
	case Linear8, Mulaw, Alaw:
		return 1
	case Linear16:
		return 2
	case Linear24:
		return 3
	case Linear32, Float32:
		return 4
	case Float64:
		return 8
	}
	return 0
}

// sampleReader turns interleaved samples of one layout into 16 kHz mono. Bytes of an
// unfinished frame wait for the next call.
type sampleReader struct {
	format RawFormat
	width  int // bytes from one sample to the next; wider than the encoding when padded in front
	frame  int // bytes of a sample of all channels
	rest   []byte
	mono   []int16
	down   *Resampler
}

// newSampleReader wants a valid format. width is that of a sample with its padding, which
// containers put before the sample's bytes; 0 for none.
func newSampleReader(f RawFormat, width int) *sampleReader {
	width = max(width, f.Encoding.width())
	frame := width * f.Channels
	return &sampleReader{format: f, width: width, frame: frame, rest: make([]byte, 0, frame), down: NewResampler(f.Rate)}
}

// read appends the samples in p to dst.
func (r *sampleReader) read(dst []int16, p []byte) []int16 {
	r.mono = r.mono[:0]
	if len(r.rest) > 0 {
		n := min(r.frame-len(r.rest), len(p))
		r.rest = append(r.rest, p[:n]...)
		if p = p[n:]; len(r.rest) < r.frame {
			return dst
		}
		r.mix(r.rest)
		r.rest = r.rest[:0]
	}
	whole := len(p) - len(p)%r.frame
	r.rest = append(r.rest, p[whole:]...)
	if r.plain() { // nearly all streams
		return appendLinear(append(dst, r.mono...), p[:whole])
	}
	r.mix(p[:whole])
	return r.down.Resample(dst, r.mono)
}

// plain reports that the stream is what we want already.
func (r *sampleReader) plain() bool {
	return r.frame == 2 && r.format.Encoding == Linear16 && r.format.Rate == SampleRate
}

func appendLinear(dst []int16, p []byte) []int16 {
	for ; len(p) >= 2; p = p[2:] {
		dst = append(dst, int16(binary.LittleEndian.Uint16(p)))
	}
	return dst
}

func (r *sampleReader) flush(dst []int16) []int16 { return r.down.Flush(dst) }

// mix appends the mean of all channels for every frame in p to r.mono.
func (r *sampleReader) mix(p []byte) {
	if r.frame == 2 && r.format.Encoding == Linear16 {
		r.mono = appendLinear(r.mono, p)
		return
	}
	pad := r.width - r.format.Encoding.width()
	for ; len(p) >= r.frame; p = p[r.frame:] {
		sum := 0
		for c := range r.format.Channels {
			sum += int(r.format.Encoding.sample(p[c*r.width+pad:]))
		}
		r.mono = append(r.mono, int16(sum/r.format.Channels))
	}
}

// sample reads the first sample of p.
func (e Encoding) sample(p []byte) int16 {
	le := binary.LittleEndian
	switch e {
	case Linear16:
		return int16(le.Uint16(p))
	case Linear8:
		return int16(int(p[0])-128) << 8
	case Linear24:
		return round(int64(int8(p[2]))<<16|int64(p[1])<<8|int64(p[0]), 8)
	case Linear32:
		return round(int64(int32(le.Uint32(p))), 16)
	case Float32:
		return fullScale(float64(math.Float32frombits(le.Uint32(p))))
	case Float64:
		return fullScale(math.Float64frombits(le.Uint64(p)))
	case Mulaw:
		return mulaw(p[0])
	}
	return alaw(p[0])
}

// round drops the lowest bits of v.
func round(v int64, bits int) int16 {
	return int16(min((v+1<<(bits-1))>>bits, math.MaxInt16))
}

func fullScale(v float64) int16 {
	if math.IsNaN(v) {
		return 0
	}
	return int16(max(math.MinInt16, min(math.MaxInt16, math.Round(v*32768))))
}

// CompressMulaw appends samples (s16le) to dst in half the space, as ITU-T G.711's µ-law
// has them: silence stays silence, and speech loses what a telephone loses.
func CompressMulaw(dst, pcm []byte) []byte {
	for ; len(pcm) >= 2; pcm = pcm[2:] {
		dst = append(dst, toMulaw(int16(binary.LittleEndian.Uint16(pcm))))
	}
	return dst
}

// ExpandMulaw appends what [CompressMulaw] made, as s16le again.
func ExpandMulaw(dst, compressed []byte) []byte {
	for _, b := range compressed {
		dst = binary.LittleEndian.AppendUint16(dst, uint16(mulaw(b)))
	}
	return dst
}

func toMulaw(s int16) byte {
	const bias, clip = 132, 32635
	v, sign := int(s), byte(0)
	if v < 0 {
		v, sign = -v, 0x80
	}
	v = min(v, clip) + bias
	exponent := bits.Len(uint(v)) - 8 // v has 8 to 15 bits
	return ^(sign | byte(exponent)<<4 | byte(v>>(exponent+3)&15))
}

// mulaw and alaw follow ITU-T G.711: a sign, an exponent of 3 bits and 4 bits of mantissa.
func mulaw(b byte) int16 {
	b = ^b
	v := (int16(b&15)<<3+132)<<(b>>4&7) - 132
	if b&128 != 0 {
		return -v
	}
	return v
}

func alaw(b byte) int16 {
	b ^= 0x55
	v := int16(b&15)<<4 + 8
	if e := b >> 4 & 7; e > 0 {
		v = (v + 256) << (e - 1)
	}
	if b&128 == 0 {
		return -v
	}
	return v
}
