package audio

import "math"

// band measures the energy between 150 and 3800 Hz, where speech lives and hum
// and hiss mostly do not.
type band struct{ high, low biquad }

func newBand() band {
	return band{high: highPass(150), low: lowPass(3800)}
}

// silence is the level, in dB below full scale, given to frames without any sound.
const silence = -96.0

// level is the band's energy in pcm in decibels, 0 being a full-scale square wave.
func (b *band) level(pcm []int16) float64 {
	var sum float64
	for _, s := range pcm {
		v := b.low.step(b.high.step(float64(s) / 32768))
		sum += v * v
	}
	return max(silence, 10*math.Log10(sum/float64(len(pcm))+1e-12))
}

// biquad is a second-order filter in transposed direct form II.
type biquad struct{ b0, b1, b2, a1, a2, z1, z2 float64 }

func (q *biquad) step(x float64) float64 {
	y := q.b0*x + q.z1
	q.z1 = q.b1*x - q.a1*y + q.z2
	q.z2 = q.b2*x - q.a2*y
	return y
}

func highPass(hertz float64) biquad {
	c, alpha := design(hertz)
	return biquad{
		b0: (1 + c) / 2 / (1 + alpha), b1: -(1 + c) / (1 + alpha), b2: (1 + c) / 2 / (1 + alpha),
		a1: -2 * c / (1 + alpha), a2: (1 - alpha) / (1 + alpha),
	}
}

func lowPass(hertz float64) biquad {
	c, alpha := design(hertz)
	return biquad{
		b0: (1 - c) / 2 / (1 + alpha), b1: (1 - c) / (1 + alpha), b2: (1 - c) / 2 / (1 + alpha),
		a1: -2 * c / (1 + alpha), a2: (1 - alpha) / (1 + alpha),
	}
}

// design gives the cosine and the alpha of a Butterworth section (Q = 1/sqrt 2).
func design(hertz float64) (cosine, alpha float64) {
	w := 2 * math.Pi * hertz / SampleRate
	return math.Cos(w), math.Sin(w) / math.Sqrt2
}
