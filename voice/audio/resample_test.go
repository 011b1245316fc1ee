package audio_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice/audio"
)

func TestResampleKeepsToneAndLength(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{8000, 11025, 16000, 22050, 32000, 44100, 44099, 48000, 96000, 192000} {
		in := tone(1000, 0.5, time.Second, rate)
		out := convert(rate, in, len(in))
		if d := len(out) - audio.SampleRate; d < -2 || d > 2 {
			t.Errorf("%d Hz: %d samples for one second, want %d", rate, len(out), audio.SampleRate)
		}
		want := tone(1000, 0.5, time.Second, audio.SampleRate)
		if c := correlation(out[800:15000], want[800:15000]); c < 0.9999 {
			t.Errorf("%d Hz: correlation with the true tone is %.5f", rate, c)
		}
		if g := decibels(out[800:15000]) - decibels(want[800:15000]); math.Abs(g) > 0.1 {
			t.Errorf("%d Hz: gain %.2f dB, want 0", rate, g)
		}
	}
}

func TestResampleBand(t *testing.T) {
	t.Parallel()
	gain := func(rate int, hertz float64) float64 {
		in := tone(hertz, 0.5, time.Second, rate)
		return decibels(convert(rate, in, len(in))[800:15000]) - decibels(in)
	}
	for _, rate := range []int{44100, 48000} {
		if g := gain(rate, 6000); g < -0.5 {
			t.Errorf("%d Hz: 6 kHz comes through at %.1f dB", rate, g)
		}
		for _, hertz := range []float64{9000, 12000, 15500} {
			if g := gain(rate, hertz); g > -60 {
				t.Errorf("%d Hz: %.0f Hz folds back at %.1f dB", rate, hertz, g)
			}
		}
	}
}

func TestResamplePiecesEqualWhole(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{8000, 16000, 44100, 48000, 51234} {
		in := noise(0.5, 300*time.Millisecond)
		whole := convert(rate, in, len(in))
		for _, piece := range []int{1, 7, 128, 1000} {
			if got := convert(rate, in, piece); !slices.Equal(got, whole) {
				t.Errorf("%d Hz in pieces of %d differs from the whole", rate, piece)
			}
		}
	}
}

func convert(rate int, in []int16, piece int) (out []int16) {
	r := audio.NewResampler(rate)
	for p := range slices.Chunk(in, piece) {
		out = r.Resample(out, p)
	}
	return r.Flush(out)
}

func correlation(a, b []int16) float64 {
	var ab, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}

func decibels(pcm []int16) float64 {
	var sum float64
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return 10 * math.Log10(sum/float64(len(pcm))+1e-9)
}

func BenchmarkResample48k(b *testing.B) {
	in := tone(1000, 0.5, time.Second, 48000)
	r := audio.NewResampler(48000)
	var out []int16
	for b.Loop() {
		out = r.Resample(out[:0], in)
	}
}
