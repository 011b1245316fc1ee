package whisperlive

import "time"

// alignWords is how many of upstream's last words are compared.
const alignWords = 1000

// alignment is what align knows of the two texts.
type alignment struct {
	told    int           // words of known that are in finals; the rest were pending
	begin   time.Duration // of upstream's first word
	moved   bool          // it is not what it was
	partial bool          // words may begin before known does
}

// aligned says how two texts belong together.
type aligned struct {
	cursor int   // words from here on are new
	gone   int   // words at the start of known that upstream has forgotten
	back   int   // told words at the end that upstream does not show for now
	pairs  []int // for each word of known its place in words, or -1
}

// Costs of what upstream may have done to a word. Times weigh less than a word, so that
// they only decide between repetitions of the same.
const (
	costWord      = 100 // replaced, left out or put in
	costAlike     = 50  // replaced by one that begins alike
	costGuess     = 60  // left out, and never shown but in the buffers
	costGone      = 1   // forgotten, and old enough for that
	costTaken     = 30  // one or more words at the end taken back
	costTakenEach = 1
	costTime      = 90 // at most, for times that do not fit
)

// Steps of the way through the two texts.
const (
	stepPair = iota
	stepKnown
	stepWord
)

// align finds the cheapest way to read words as known with changes and an addition.
func align(known, words []word, o alignment) aligned {
	n, m := len(known), len(words)
	prev, cost := make([]int, m+1), make([]int, m+1)
	steps := make([]uint8, (n+1)*(m+1))
	ends := make([]int, n+1) // the cost of reading all words with the first i of known
	for j := 1; j <= m; j++ {
		steps[j] = stepWord
		if !o.partial {
			prev[j] = prev[j-1] + costWord
		}
	}
	ends[0] = prev[m]
	for i := 1; i <= n; i++ {
		row := steps[i*(m+1):]
		cost[0], row[0] = prev[0]+o.forget(&known[i-1]), stepKnown
		for j := 1; j <= m; j++ {
			best, step := prev[j-1]+differ(&known[i-1], &words[j-1]), uint8(stepPair)
			if c := prev[j] + omit(&known[i-1]); c < best {
				best, step = c, stepKnown
			}
			if c := cost[j-1] + costWord; c < best {
				best, step = c, stepWord
			}
			cost[j], row[j] = best, step
		}
		prev, cost = cost, prev
		ends[i] = prev[m]
	}
	i, j := finish(ends, prev, n, m)
	return trace(steps, known, o, i, j, m)
}

// finish is where the way ends: all of known was read, and the rest of words is new; or
// all words were read, and the rest of known was taken back.
func finish(ends, last []int, n, m int) (i, j int) {
	i, j = n, m
	best := last[m]
	for k := m; k >= 0; k-- {
		if last[k] < best {
			best, j = last[k], k
		}
	}
	for k := range n {
		if c := ends[k] + costTaken + costTakenEach*(n-k); c < best {
			best, i, j = c, k, m
		}
	}
	return i, j
}

// trace walks back to the start.
func trace(steps []uint8, known []word, o alignment, i, j, m int) aligned {
	a := aligned{back: max(0, o.told-i), cursor: j, pairs: make([]int, len(known))}
	for k := range a.pairs {
		a.pairs[k] = -1
	}
	if i < o.told {
		a.cursor = m
	}
	for i > 0 || j > 0 {
		if i == o.told {
			a.cursor = j
		}
		if j == 0 {
			for k := range i {
				if c := o.forget(&known[k]); c == costGone || c == costTaken {
					a.gone = k + 1
				}
			}
			break
		}
		switch steps[i*(m+1)+j] {
		case stepPair:
			i, j = i-1, j-1
			a.pairs[i] = j
		case stepKnown:
			i--
		default:
			j--
		}
	}
	if o.told == 0 || i >= o.told {
		a.cursor = 0
	}
	return a
}

// forget is the cost of a word that upstream does not show any more, at the start.
func (o *alignment) forget(w *word) int {
	before := w.start < o.begin || whole(o.begin) && w.start == o.begin
	switch {
	case !o.moved || w.line < 0 || !before:
		return omit(w)
	case (w.start+w.end)/2 <= o.begin:
		return costGone
	}
	return costTaken
}

// whole reports whether a time may have been rounded down to the second, as all are up to
// 0.2.19.
func whole(d time.Duration) bool { return d%time.Second == 0 }

// omit is the cost of a word that upstream left out.
func omit(known *word) int {
	if known.line < 0 {
		return costGuess
	}
	return costWord
}

// alike reports whether two words share their first half.
func alike(a, b string) bool {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return 2*n >= max(len(a), len(b))
}

// differ is the cost of taking known for w.
func differ(known, w *word) int {
	if known.key != w.key {
		if alike(known.key, w.key) {
			return costAlike
		}
		return costWord
	}
	if known.line < 0 {
		return 0 // it was final before upstream had a time for it
	}
	c := 0
	if w.first {
		c += apart(known.start, w.start)
	}
	if w.last {
		c += apart(known.end, w.end)
	}
	return min(c, costTime)
}

// apart is the cost of two times for the same moment.
func apart(a, b time.Duration) int {
	d := max(a-b, b-a)
	if whole(a) && whole(b) {
		d = max(0, d-time.Second)
	}
	return int(min(d, time.Second) * costTime / time.Second)
}
