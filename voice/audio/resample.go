package audio

import "math"

const (
	// Zero crossings of the windowed sinc on each side: flat to 6 kHz, aliases below -70 dB.
	sincSide = 24
	// Ratios with more phases than this share a table of that size and interpolate in it,
	// so that an odd rate in a header cannot ask for a table of any size.
	maxPhases = 640
)

// Resampler converts a mono stream of one rate to [SampleRate] with a polyphase
// windowed sinc. It keeps its filter state between calls, so a stream in tiny
// pieces gives the same samples as in one.
type Resampler struct {
	up, down int64     // reduced ratio: out rate / in rate
	taps     int       // filter length in input samples
	phases   int       // rows of table, without the guard row
	table    []float32 // phases+1 rows of taps
	past     []float32 // input not yet used up
	phase    int64     // position of the next output after past[0], in 1/up input samples
	padded   int64     // input samples still to swallow as flush padding
}

// NewResampler makes a converter from rate (samples a second, 1 or more) to [SampleRate].
func NewResampler(rate int) *Resampler {
	g := gcd(int64(rate), SampleRate)
	r := &Resampler{up: SampleRate / g, down: int64(rate) / g}
	if r.up == r.down {
		return r
	}
	stretch := max(1, float64(rate)/SampleRate)
	half := int(math.Ceil(sincSide * stretch))
	r.taps = 2 * half
	r.phases = int(min(r.up, maxPhases))
	r.table = sincTable(r.phases, half, 0.95/stretch)
	// The filter is centred: with this much silence first, output 0 stands on input 0.
	r.past = make([]float32, half-1, r.taps*4)
	r.padded = int64(half)
	return r
}

// Resample appends the converted samples to dst and returns it.
func (r *Resampler) Resample(dst, in []int16) []int16 {
	if r.table == nil {
		return append(dst, in...)
	}
	for _, s := range in {
		r.past = append(r.past, float32(s))
	}
	return r.drain(dst)
}

// Flush appends what the filter still holds. The Resampler is of no use afterwards.
func (r *Resampler) Flush(dst []int16) []int16 {
	if r.table == nil {
		return dst
	}
	r.past = append(r.past, make([]float32, r.padded)...)
	return r.drain(dst)
}

func (r *Resampler) drain(dst []int16) []int16 {
	at := 0
	for at+r.taps <= len(r.past) {
		dst = append(dst, clip(r.output(r.past[at:at+r.taps])))
		r.phase += r.down
		at += int(r.phase / r.up)
		r.phase %= r.up
	}
	// A filter is longer than a step, so at never passes the end.
	r.past = r.past[:copy(r.past, r.past[at:])]
	return dst
}

func (r *Resampler) output(window []float32) float32 {
	scaled := r.phase * int64(r.phases)
	row := int(scaled / r.up)
	a := r.table[row*r.taps:][:r.taps]
	sum := dot(window, a)
	if rest := scaled % r.up; rest != 0 {
		b := r.table[(row+1)*r.taps:][:r.taps]
		sum += (dot(window, b) - sum) * float32(rest) / float32(r.up)
	}
	return sum
}

func dot(a, b []float32) (sum float32) {
	b = b[:len(a)]
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// sincTable has one row for each position of an output between two inputs, and a guard row.
// cutoff is in units of half the input rate.
func sincTable(phases, half int, cutoff float64) []float32 {
	table := make([]float32, 0, (phases+1)*2*half)
	for p := range phases + 1 {
		row := make([]float64, 2*half)
		var sum float64
		for k := range row {
			x := float64(k-half+1) - float64(p)/float64(phases)
			row[k] = cutoff * sinc(cutoff*x) * blackman(x/float64(half))
			sum += row[k]
		}
		for _, v := range row {
			table = append(table, float32(v/sum))
		}
	}
	return table
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

func blackman(x float64) float64 {
	if x <= -1 || x >= 1 {
		return 0
	}
	return 0.42 + 0.5*math.Cos(math.Pi*x) + 0.08*math.Cos(2*math.Pi*x)
}

func clip(v float32) int16 {
	return int16(max(math.MinInt16, min(math.MaxInt16, math.Round(float64(v)))))
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
