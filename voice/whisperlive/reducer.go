package whisperlive

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
)

// tuning is when a reducer takes text for final.
type tuning struct {
	updates int           // snapshots in a row that must agree on the end of a sentence or turn
	settle  time.Duration // in place of them where no snapshots come
	pause   time.Duration // without any new word
	longest time.Duration // of an utterance
}

const (
	toldKept     = 256 // words of finals that are remembered to find them again
	longestWords = 200 // of an utterance
)

// reducer makes finals of snapshots: each word comes once, and what came never changes.
// It knows no network and no clock. It is for one goroutine.
//
// The laws it lives by: the letters of all finals are a prefix of what upstream shows, as
// long as upstream leaves them alone. Where it does not, align finds the place from which
// on its words are new.
type reducer struct {
	tuning
	offset time.Duration // of upstream's clock to ours

	told      []word // the last words of finals
	cut       bool   // told is not all that upstream still shows
	shown     digest // of all words of finals that upstream shows, or would if it had not taken them back
	compared  digest // of the lines that locateSlowly saw last
	back      int    // words of finals that upstream has taken back for now
	firstLine time.Duration
	pending   []word // of lines, not final yet
	buffer    []word // not even sure
	silences  []int  // lines of the last snapshot that are pauses
	lines     int    // of the last snapshot
	held      []word // shown by a connection that was lost, until they are heard again
	fresh     int    // words that a reconnection may have made upstream hear again

	changed   time.Time // when text last changed
	open      bool      // an utterance is
	utterance int       // number of the last that was opened
	interim   string
	lastEnd   time.Duration // of the last final
	exact     bool          // lastEnd is upstream's own time
	floor     time.Duration // nothing is spoken between lastEnd and here
	speakers  bool          // upstream tells speakers apart
	language  string        // what upstream was asked for
	coarse    bool          // upstream's times are rounded down to seconds

	out []voice.Result
}

func newReducer(t tuning) *reducer { return &reducer{tuning: t, firstLine: -1} }

// take reduces one snapshot. The results are valid until the next call.
func (r *reducer) take(s *snapshot, now time.Time) []voice.Result {
	r.out = r.out[:0]
	r.notice(s)
	before := r.interim
	r.locate(s.Lines)
	r.dropHeardAgain()
	r.buffer = r.bufferWords(s)
	if !r.idle() {
		r.held = nil
	}
	r.conclude(now)
	r.tell()
	if r.interim != before || len(r.out) > 0 || r.changed.IsZero() {
		r.changed = now
	}
	return r.out
}

// notice learns what the server can do.
func (r *reducer) notice(s *snapshot) {
	r.speakers = r.speakers || s.Unattributed != "" || s.SpeakerLag > 0
	r.silences, r.lines = r.silences[:0], len(s.Lines)
	for i := range s.Lines {
		r.coarse = r.coarse || s.Lines[i].Start.coarse
		switch {
		case s.Lines[i].Speaker == speakerSilence:
			r.silences = append(r.silences, i)
		case s.Lines[i].Speaker > 1:
			r.speakers = true
		}
	}
}

// bufferWords are the words of the buffers, without those that are final already.
func (r *reducer) bufferWords(s *snapshot) []word {
	all := split(r.buffer[:0], s.Unattributed)
	for i := range all {
		all[i].line = -2
	}
	n := len(all)
	all = split(all, s.Buffer)
	for i := range all[n:] {
		all[n+i].line = -1
	}
	if r.back == 0 || len(r.pending) > 0 {
		return all
	}
	taken := r.told[max(0, len(r.told)-r.back):]
	for len(taken) > 0 {
		n := min(len(taken), len(all))
		if slices.EqualFunc(taken[:n], all[:n], func(a, b word) bool { return a.key == b.key }) {
			return all[n:]
		}
		taken = taken[1:]
	}
	return all
}

// conclude makes finals of what is finished among the pending words.
func (r *reducer) conclude(now time.Time) {
	for len(r.pending) > 0 {
		n, why := r.finished()
		if n == 0 {
			return
		}
		r.final(n, why)
	}
}

// finished is the number of pending words that make the next final; 0 if they may not yet.
func (r *reducer) finished() (int, audio.EndReason) {
	p := r.pending
	for i := range p {
		if (r.closed(i) || endsSentence(p, i)) && r.sure(i) {
			return i + 1, audio.EndSilence
		}
	}
	if p[len(p)-1].end-p[0].start <= r.longest && len(p) <= longestWords {
		return 0, ""
	}
	return r.breath(), audio.EndLength
}

// closed reports whether pending word i is the last of its line and another line follows.
func (r *reducer) closed(i int) bool {
	if i+1 < len(r.pending) {
		return r.pending[i+1].line != r.pending[i].line
	}
	return r.pending[i].line < r.lines-1
}

// sure reports whether pending word i, with all before it, will stay. A pause makes it so
// at once, the end of a sentence or a turn only when upstream has told it some times.
func (r *reducer) sure(i int) bool {
	if r.pending[i].seen >= r.updates {
		return true
	}
	for _, at := range r.silences {
		if at > r.pending[i].line {
			return true
		}
	}
	return false
}

// breath is where an utterance that is too long is best cut: after a comma, else at the
// last word that upstream has told some times.
func (r *reducer) breath() int {
	sure := 0
	for i := range r.pending {
		if r.pending[i].seen >= r.updates {
			sure = i + 1
		}
	}
	if sure == 0 && len(r.pending) > 2*longestWords {
		sure = longestWords
	}
	for i := sure - 1; i > sure/2; i-- {
		switch raw := r.pending[i].raw; raw[len(raw)-1] {
		case ',', ';', ':':
			return i + 1
		}
	}
	return sure
}

// tick is for the time in which upstream sends nothing: what has not changed for a while
// is as good as told again.
func (r *reducer) tick(now time.Time) []voice.Result {
	r.out = r.out[:0]
	quiet := now.Sub(r.changed)
	if r.changed.IsZero() || quiet < r.settle {
		return nil
	}
	for i := range r.pending {
		r.pending[i].seen = max(r.pending[i].seen, r.updates)
	}
	r.conclude(now)
	if quiet >= r.pause && len(r.buffer) == 0 {
		r.finish(audio.EndSilence)
	}
	r.tell()
	return r.out
}

// flush makes everything final, what is not sure too.
func (r *reducer) flush(why audio.EndReason) []voice.Result {
	r.out = r.out[:0]
	r.pending = append(r.pending, r.estimated()...)
	r.buffer = r.buffer[:0]
	r.finish(why)
	return r.out
}

// estimated gives the words of the buffers times: upstream has none for them.
func (r *reducer) estimated() []word {
	at := max(r.lastEnd, r.floor)
	if n := len(r.pending); n > 0 {
		at = r.pending[n-1].end
	}
	const each = 300 * time.Millisecond
	for i := range r.buffer {
		r.buffer[i].start, r.buffer[i].end = at, at+each
		at += each
	}
	return r.buffer
}

// finish makes all pending words final, a final for each line and sentence, and closes
// the utterance that is open even when there are none.
func (r *reducer) finish(why audio.EndReason) {
	for len(r.pending) > 0 {
		n := len(r.pending)
		for i := range r.pending {
			next := i + 1
			if next < n && (endsSentence(r.pending, i) || r.pending[i].line >= 0 && r.pending[next].line >= 0 && r.pending[i].line != r.pending[next].line) {
				n = next
				break
			}
		}
		if n < len(r.pending) {
			r.final(n, audio.EndSilence)
			continue
		}
		r.final(n, why)
	}
	if r.open {
		at := max(r.lastEnd, r.floor)
		r.outcome(voice.Transcription{Start: at, End: at + shortest, Reason: why})
	}
}

// shortest is the length of an utterance whose length upstream does not tell.
const shortest = 10 * time.Millisecond

// final makes one final of the first n pending words.
func (r *reducer) final(n int, why audio.EndReason) {
	ws := r.pending[:n]
	first, last := ws[0], ws[n-1]
	t := voice.Transcription{Text: join(ws), Start: max(first.start, r.lastEnd), End: last.end, Reason: why, Language: first.language}
	t.End = max(t.End, t.Start+shortest)
	if t.Language == "" {
		t.Language = r.language
	}
	if r.speakers && first.speaker > speakerPending {
		t.Speaker = strconv.Itoa(first.speaker)
	}
	r.shown.words(ws)
	if first.line >= 0 {
		r.back = 0
	}
	for i := n - 1; i >= 0 && ws[i].line < 0; i-- {
		r.back++
	}
	r.remember(ws)
	r.pending = append(r.pending[:0], r.pending[n:]...)
	r.exact, r.fresh = last.last && !r.coarse, 0
	r.outcome(t)
}

// remember keeps the last words of finals, without the snapshots that they came from.
func (r *reducer) remember(ws []word) {
	for _, w := range ws {
		w.raw, w.key, w.language = "", strings.Clone(w.key), ""
		r.told = append(r.told, w)
	}
	if extra := len(r.told) - toldKept; extra > toldKept/4 {
		r.told, r.cut = append(r.told[:0], r.told[extra:]...), true
	}
}

// outcome tells the outcome of an utterance.
func (r *reducer) outcome(t voice.Transcription) {
	r.begin(t.Start)
	t.Utterance = r.utterance
	r.open, r.interim, r.lastEnd, r.held = false, "", t.End, nil
	r.out = append(r.out, voice.Final{Transcription: t})
}

func (r *reducer) begin(at time.Duration) {
	if r.open {
		return
	}
	r.open = true
	r.utterance++
	r.out = append(r.out, voice.Started{Utterance: r.utterance, At: at})
}

// tell tells what the open utterance sounds like.
func (r *reducer) tell() {
	if len(r.pending)+len(r.buffer) == 0 {
		return
	}
	n := len(r.pending)
	text := join(append(r.pending, r.buffer...))
	r.pending = r.pending[:n]
	if text == r.interim || text == "" {
		return
	}
	// The words of the buffers have no time, so the last that is known stands in.
	at := max(r.lastEnd, r.floor)
	if n > 0 {
		at = max(r.lastEnd, r.pending[0].start)
	}
	r.begin(at)
	r.interim = text
	r.out = append(r.out, voice.Interim{Utterance: r.utterance, Text: text})
}

// fail gives the open utterance, or one that nobody has heard of, up.
func (r *reducer) fail(start, end time.Duration, err error) []voice.Result {
	r.out = r.out[:0]
	r.begin(start)
	r.open, r.interim, r.lastEnd, r.exact = false, "", max(end, r.lastEnd), true
	r.out = append(r.out, voice.Failed{Utterance: r.utterance, Start: start, End: end, Err: err})
	return r.out
}

// idle reports whether upstream shows no word that is not final.
func (r *reducer) idle() bool { return len(r.pending)+len(r.buffer) == 0 }

// restart prepares for another connection, whose clock begins at offset. What is not
// final will be heard again.
func (r *reducer) restart(offset time.Duration) {
	if !r.idle() {
		r.held = slices.Concat(r.pending, r.estimated())
	}
	r.offset, r.shown, r.back, r.firstLine = offset, digest{}, 0, -1
	r.pending, r.buffer, r.cut = r.pending[:0], r.buffer[:0], false
	r.fresh = 0
	if !r.exact {
		r.fresh = min(3, len(r.told))
	}
	r.told = append([]word(nil), r.told[len(r.told)-r.fresh:]...)
	if r.fresh == 0 {
		r.told = nil
	}
}

// release makes the words final that a lost connection had shown.
func (r *reducer) release() []voice.Result {
	r.pending, r.buffer, r.held = r.held, r.buffer[:0], nil
	return r.flush(audio.EndStream)
}

// before is the number of pending words that end before a moment.
func (r *reducer) before(at time.Duration) int {
	n := 0
	for n < len(r.pending) && r.pending[n].end <= at {
		n++
	}
	return n
}
