package audio_test

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice/audio"
)

// sampleBytes writes a sample of full scale 1 in an encoding.
func sampleBytes(b []byte, e audio.Encoding, v float64) []byte {
	le := binary.LittleEndian
	switch e {
	case audio.Linear8:
		return append(b, byte(math.Round(v*127)+128))
	case audio.Linear16:
		return le.AppendUint16(b, uint16(int16(v*32767)))
	case audio.Linear24:
		u := uint32(int32(v * (1<<23 - 1)))
		return append(b, byte(u), byte(u>>8), byte(u>>16))
	case audio.Linear32:
		return le.AppendUint32(b, uint32(int32(v*(1<<31-1))))
	case audio.Float32:
		return le.AppendUint32(b, math.Float32bits(float32(v)))
	case audio.Float64:
		return le.AppendUint64(b, math.Float64bits(v))
	}
	return append(b, nearestG711(e, v))
}

// nearestG711 tries all codes, with the decoding of ITU-T G.711 written as its tables are.
func nearestG711(e audio.Encoding, v float64) (best byte) {
	distance := math.Inf(1)
	for c := range 256 {
		if d := math.Abs(g711(e, byte(c)) - v*32768); d < distance {
			best, distance = byte(c), d
		}
	}
	return best
}

func g711(e audio.Encoding, c byte) float64 {
	positive := c&0x80 != 0
	if e == audio.Mulaw {
		c = ^c
	} else {
		c ^= 0x55
	}
	segment, step := float64(c>>4&7), float64(c&15)
	var v float64
	switch {
	case e == audio.Mulaw:
		v = 4 * ((2*step+33)*math.Exp2(segment) - 33)
	case segment == 0:
		v = 8 * (2*step + 1)
	default:
		v = 8 * (2*step + 33) * math.Exp2(segment-1)
	}
	if !positive {
		v = -v
	}
	return v
}

// A tone in every encoding, at every usual rate, comes out as that tone.
func TestDecodeDeclared(t *testing.T) {
	t.Parallel()
	for e, bar := range map[audio.Encoding]float64{
		audio.Linear8: 0.9995, audio.Mulaw: 0.999, audio.Alaw: 0.999, audio.Linear16: 0.99999, audio.Linear24: 0.99999,
		audio.Linear32: 0.99999, audio.Float32: 0.99999, audio.Float64: 0.99999,
	} {
		rates := []int{8000, 48000}
		if e == audio.Linear16 {
			rates = []int{8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000}
		}
		for _, rate := range rates {
			for channels := range 2 {
				f := audio.RawFormat{Encoding: e, Rate: rate, Channels: channels + 1}
				var b []byte
				for i := range rate / 5 {
					for c := range f.Channels {
						// All but the first are silent, which mixing makes up for by the mean.
						b = sampleBytes(b, e, 0.9*math.Sin(2*math.Pi*500*float64(i)/float64(rate))*float64((f.Channels-c)/f.Channels))
					}
				}
				d := newDecoder(t, t.Context(), audio.Options{Raw: f})
				got, err := decodeWith(d, b, 77)
				want := tone(500, 0.9/float64(f.Channels), time.Second/5, 16000)
				if n := len(got) - len(want); err != nil || n < -2 || n > 2 {
					t.Fatalf("%v: %d samples, want %d, error %v", f, len(got), len(want), err)
				}
				if c := correlation(got[200:3000], want[200:3000]); c < bar {
					t.Errorf("%v: correlation %.6f", f, c)
				}
				if g := decibels(got[200:3000]) - decibels(want[200:3000]); math.Abs(g) > 0.15 {
					t.Errorf("%v: %.2f dB louder", f, g)
				}
			}
		}
	}
}

func TestDecodeG711(t *testing.T) {
	t.Parallel()
	for _, e := range []audio.Encoding{audio.Mulaw, audio.Alaw} {
		var b []byte
		var want []int16
		for c := range 256 {
			b = append(b, byte(c))
			want = append(want, int16(g711(e, byte(c))))
		}
		d := newDecoder(t, t.Context(), audio.Options{Raw: audio.RawFormat{Encoding: e}})
		if got, err := decodeWith(d, b, 10); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %d, want %d, error %v", e, got, want, err)
		}
	}
}

// Declared samples are not sniffed: they may begin like a file of any kind.
func TestDecodeDeclaredIsBelieved(t *testing.T) {
	t.Parallel()
	d := newDecoder(t, t.Context(), audio.Options{Raw: audio.RawFormat{Encoding: audio.Linear16}})
	if pcm, err := decodeWith(d, []byte("OggSfLaCRIFF"), 3); err != nil || len(pcm) != 6 || d.Format() != audio.FormatPCM {
		t.Errorf("%d samples, format %q, error %v", len(pcm), d.Format(), err)
	}
}

func TestDecodeExtremes(t *testing.T) {
	t.Parallel()
	for e, c := range map[audio.Encoding]struct {
		bytes []byte
		want  int16
	}{
		audio.Linear24: {[]byte{0xff, 0xff, 0x7f}, math.MaxInt16},
		audio.Linear32: {[]byte{0xff, 0xff, 0xff, 0x7f}, math.MaxInt16},
		audio.Float32:  {binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(math.Inf(-1)))), math.MinInt16},
		audio.Float64:  {binary.LittleEndian.AppendUint64(nil, math.Float64bits(math.NaN())), 0},
		audio.Linear8:  {[]byte{0}, math.MinInt16},
	} {
		d := newDecoder(t, t.Context(), audio.Options{Raw: audio.RawFormat{Encoding: e}})
		if pcm, err := decodeWith(d, c.bytes, 1); err != nil || len(pcm) != 1 || pcm[0] != c.want {
			t.Errorf("%s: %d, want %d, error %v", e, pcm, c.want, err)
		}
	}
}

func TestDeclaredIsChecked(t *testing.T) {
	t.Parallel()
	for says, f := range map[string]audio.RawFormat{
		"linear16, mulaw": {Encoding: "opus"}, "8000 to 192000": {Rate: 4000}, "1 to 8": {Channels: 9}, "-1 channels": {Channels: -1},
	} {
		if _, err := audio.NewDecoder(t.Context(), audio.Options{Raw: f}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: error %v, want one that says %q", f, err, says)
		}
	}
}

// wavOf is a WAV file with a free header.
func wavOf(tag, channels uint16, rate uint32, align, bits uint16, guid string, size uint32, data []byte) []byte {
	le := binary.LittleEndian
	f := le.AppendUint16(nil, tag)
	f = le.AppendUint16(f, channels)
	f = le.AppendUint32(f, rate)
	f = le.AppendUint32(f, rate*uint32(align))
	f = le.AppendUint16(f, align)
	f = le.AppendUint16(f, bits)
	if guid != "" {
		f = append(f, 22, 0, byte(bits), byte(bits>>8), 4, 0, 0, 0)
		f = append(f, guid...)
	}
	b := append([]byte("RIFF\xff\xff\xff\xffWAVEfmt "), byte(len(f)), 0, 0, 0)
	b = append(append(b, f...), "data"...)
	return append(le.AppendUint32(b, size), data...)
}

func TestDecodeWAVKinds(t *testing.T) {
	t.Parallel()
	want := tone(500, 0.9, time.Second/5, 16000)
	encode := func(e audio.Encoding, pad int) (b []byte) {
		for _, s := range want {
			b = sampleBytes(append(b, make([]byte, pad)...), e, float64(s)/32767)
		}
		return b
	}
	guid := func(tag string) string { return tag + "\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71" }
	const streamed = 0xFFFFFFFF
	for name, b := range map[string][]byte{
		"8 bit":                wavOf(1, 1, 16000, 1, 8, "", streamed, encode(audio.Linear8, 0)),
		"24 bit":               wavOf(1, 1, 16000, 3, 24, "", 0, encode(audio.Linear24, 0)),
		"24 in 32 bit":         wavOf(1, 1, 16000, 4, 24, "", 0, encode(audio.Linear24, 1)),
		"20 bit":               wavOf(1, 1, 16000, 3, 20, "", 0, encode(audio.Linear24, 0)),
		"32 bit":               wavOf(1, 1, 16000, 4, 32, "", 0x7FFFFFFF, encode(audio.Linear32, 0)),
		"float":                wavOf(3, 1, 16000, 4, 32, "", 0, encode(audio.Float32, 0)),
		"double":               wavOf(3, 1, 16000, 8, 64, "", 0, encode(audio.Float64, 0)),
		"A-law":                wavOf(6, 1, 16000, 1, 8, "", 0, encode(audio.Alaw, 0)),
		"mu-law":               wavOf(7, 1, 16000, 1, 8, "", 0, encode(audio.Mulaw, 0)),
		"extensible, 24 bit":   wavOf(0xFFFE, 1, 16000, 3, 24, guid("\x01\x00"), 0, encode(audio.Linear24, 0)),
		"extensible, float":    wavOf(0xFFFE, 1, 16000, 4, 32, guid("\x03\x00"), 0, encode(audio.Float32, 0)),
		"nonsense block align": wavOf(1, 1, 16000, 999, 16, "", 0, encode(audio.Linear16, 0)),
	} {
		got := mustDecode(t, b, audio.FormatWAV)
		if len(got) != len(want) {
			t.Errorf("%s: %d samples, want %d", name, len(got), len(want))
			continue
		}
		if c := correlation(got, want); c < 0.999 {
			t.Errorf("%s: correlation %.5f", name, c)
		}
	}
	foreign := wavOf(0xFFFE, 1, 16000, 4, 32, "\x01\x00"+strings.Repeat("x", 14), 0, encode(audio.Float32, 0))
	if _, _, err := decode(foreign, 100); err == nil || !strings.Contains(err.Error(), "encoding 65534") {
		t.Errorf("an extensible format of somebody else's: error %v", err)
	}
}

// TestMulawBothWays: silence stays silence, every code keeps its value, and no sample
// moves by more than a step of the code.
func TestMulawBothWays(t *testing.T) {
	t.Parallel()
	all := make([]int16, 0, 1<<16)
	for v := math.MinInt16; v <= math.MaxInt16; v++ {
		all = append(all, int16(v))
	}
	packed := audio.CompressMulaw(nil, audio.Bytes(nil, all))
	back := audio.ExpandMulaw(nil, packed)
	if len(packed) != len(all) || len(back) != 2*len(all) {
		t.Fatalf("%d samples in %d bytes, and %d bytes again", len(all), len(packed), len(back))
	}
	for i, v := range all {
		got := int(int16(binary.LittleEndian.Uint16(back[2*i:])))
		want := int(g711(audio.Mulaw, nearestG711(audio.Mulaw, float64(v)/32768)))
		if d, most := got-int(v), 4+max(int(v), -int(v))/16; v == 0 && got != 0 || max(d, -d) > max(most, max(want-int(v), int(v)-want)) {
			t.Fatalf("%d becomes %d; the nearest is %d", v, got, want)
		}
	}
	if again := audio.CompressMulaw(nil, back); !slices.Equal(audio.ExpandMulaw(nil, again), back) {
		t.Error("what was compressed once changes when it is compressed again")
	}
}
