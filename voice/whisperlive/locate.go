package whisperlive

import (
	"math"
	"slices"
	"time"

	"github.com/33god/bloodbank/voice/audio"
)

// locate finds the words of the lines that are in no final yet.
func (r *reducer) locate(lines []line) {
	begin := time.Duration(-1)
	for i := range lines {
		if speaks(&lines[i]) {
			begin = r.offset + lines[i].Start.Duration
			break
		}
	}
	if begin < 0 {
		// Nothing to see: words that were taken back may come again, or are forgotten.
		if len(r.pending) > 0 {
			r.locateSlowly(nil, begin, false)
		}
		return
	}
	same := begin == r.firstLine || r.firstLine < 0
	r.firstLine = begin
	if same && r.fresh == 0 && r.back == 0 {
		if words, ok := r.locateQuickly(lines); ok {
			r.inherit(words)
			r.pending, r.back = words, 0
			return
		}
	}
	if r.fresh == 0 && r.unchanged(lines) && same {
		return
	}
	var all []word
	for i := range lines {
		all = r.wordsOf(all, lines, i, 0)
	}
	r.timeAll(all, lines)
	if r.fresh > 0 {
		r.inherit(all)
		r.pending = all
		return
	}
	r.locateSlowly(all, begin, !same)
}

// unchanged reports whether the lines are as they were while words are taken back and
// nothing is new, so that they need not be compared again.
func (r *reducer) unchanged(lines []line) bool {
	var d digest
	for i := range lines {
		if speaks(&lines[i]) {
			d.text(lines[i].Text, math.MaxInt)
		}
	}
	same := d == r.compared && r.back > 0 && len(r.pending) == 0
	r.compared = d
	return same
}

func speaks(l *line) bool { return l.Speaker != speakerSilence && l.Text != "" }

// wordsOf appends the words of line i, from a byte of its text on.
func (r *reducer) wordsOf(dst []word, lines []line, i, from int) []word {
	l := &lines[i]
	if !speaks(l) || from >= len(l.Text) {
		return dst
	}
	n := len(dst)
	dst = split(dst, l.Text[from:])
	for k := n; k < len(dst); k++ {
		w := &dst[k]
		w.line, w.speaker, w.language, w.seen = i, l.Speaker, l.Language, 1
		w.start, w.end = -1, -1
	}
	if n < len(dst) {
		dst[n].first = from == 0
		dst[len(dst)-1].last = true
	}
	return dst
}

// locateQuickly takes the letters of all finals as the start of the lines.
func (r *reducer) locateQuickly(lines []line) (words []word, ok bool) {
	var d digest
	i, from := 0, 0
	for ; i < len(lines) && d.n < r.shown.n; i++ {
		if !speaks(&lines[i]) {
			continue
		}
		text := lines[i].Text
		if at := d.text(text, r.shown.n); d.n >= r.shown.n {
			from = at + restOfWord(text, at)
			break
		}
	}
	if d != r.shown {
		return nil, false
	}
	start := max(r.lastEnd, 0)
	for first := i; i < len(lines); i++ {
		at := 0
		if i == first && r.shown.n > 0 {
			at = from
		}
		n := len(words)
		words = r.wordsOf(words, lines, i, at)
		if n < len(words) {
			r.inheritTimes(words, n)
			r.time(words[n:], &lines[i], start)
		}
	}
	return words, true
}

// inherit counts how often the words were there in a row.
func (r *reducer) inherit(words []word) {
	for i := range min(len(words), len(r.pending)) {
		old := &r.pending[i]
		if old.raw != words[i].raw || old.line != words[i].line || words[i].last != old.last && endsTurn(words, i) {
			return
		}
		words[i].seen = old.seen + 1
	}
}

// endsTurn reports whether the line of word i ends with it though there are more lines.
func endsTurn(words []word, i int) bool { return words[i].last && i+1 < len(words) }

// inheritTimes keeps the times of words that were there before: they were seen when they
// came, which says more than a guess within a line that has grown since.
func (r *reducer) inheritTimes(words []word, from int) {
	for i := range min(len(words), len(r.pending)) {
		old := &r.pending[i]
		if old.key != words[i].key {
			return
		}
		if i >= from {
			words[i].start, words[i].end = old.start, old.end
		}
	}
}

func (r *reducer) timeAll(all []word, lines []line) {
	for from := 0; from < len(all); {
		to := from + 1
		for to < len(all) && all[to].line == all[from].line {
			to++
		}
		r.time(all[from:to], &lines[all[from].line], 0)
		from = to
	}
}

// time spreads those of the words of one line that have no time over what is left of it.
func (r *reducer) time(ws []word, l *line, after time.Duration) {
	start, end := r.offset+l.Start.Duration, r.offset+l.End.Duration
	end = max(end, start)
	at := start
	if !ws[0].first {
		at = min(max(start, after), end)
	}
	known := 0
	for known < len(ws) && ws[known].end >= 0 && ws[known].end <= end {
		at = ws[known].end
		known++
	}
	letters, passed := 0, 0
	for i := known; i < len(ws); i++ {
		letters += len(ws[i].key) + 1
	}
	from := at
	for i := known; i < len(ws); i++ {
		passed += len(ws[i].key) + 1
		ws[i].start = at
		at = from + (end-from)*time.Duration(passed)/time.Duration(letters)
		ws[i].end = at
	}
	if ws[0].first {
		ws[0].start = start
	}
	ws[len(ws)-1].end = end
}

// locateSlowly compares word by word, since upstream has forgotten, moved, changed or
// taken back words.
func (r *reducer) locateSlowly(words []word, begin time.Duration, moved bool) {
	told := len(r.told)
	known := slices.Concat(r.told, r.pending)
	tail := words[max(0, len(words)-alignWords):]
	a := align(known, tail, alignment{told: told, begin: begin, moved: moved, partial: r.cut || len(tail) < len(words)})
	for i, j := range a.pairs {
		if j < 0 {
			continue
		}
		w := &tail[j]
		if guess := known[i].line < 0; !guess {
			if !w.first {
				w.start = known[i].start
			}
			if !w.last {
				w.end = max(known[i].end, w.start)
			}
		}
		if i < told {
			r.told[i].start, r.told[i].end, r.told[i].line = w.start, w.end, w.line
		}
	}
	r.rescue(known, told, a.gone)
	if a.gone > 0 {
		// All that upstream still shows is behind the first word that it knows.
		r.told, r.cut = append([]word(nil), r.told[min(a.gone, len(r.told)):]...), false
	}
	cursor := len(words) - len(tail) + a.cursor
	r.back = a.back
	if len(words) > 0 {
		r.shown = digest{}
		r.shown.words(words[:cursor])
		r.shown.words(known[told-a.back : told])
	}
	rest := slices.Clone(words[cursor:])
	r.inherit(rest)
	r.pending = rest
}

// rescue makes pending words final that upstream has forgotten before they were.
func (r *reducer) rescue(known []word, told, gone int) {
	if gone <= told {
		return
	}
	rest := r.pending
	r.pending = slices.Clone(known[told:gone])
	r.finish(audio.EndSilence)
	r.pending = rest
}

// dropHeardAgain leaves out words that upstream heard a second time, because the audio
// of a reconnection began within them.
func (r *reducer) dropHeardAgain() {
	for n := r.fresh; n > 0; n-- {
		if n > len(r.pending) {
			continue
		}
		same := slices.EqualFunc(r.told[len(r.told)-n:], r.pending[:n], func(a, b word) bool { return a.key == b.key })
		if !same || r.pending[0].start > r.offset+heardAgain {
			continue
		}
		again := r.pending[:n]
		r.shown = digest{}
		r.shown.words(again)
		r.told = slices.Clone(again)
		r.pending = slices.Clone(r.pending[n:])
		r.fresh = 0
		return
	}
}

// heardAgain is how far from the start of a connection words can be repetitions.
const heardAgain = 500 * time.Millisecond
