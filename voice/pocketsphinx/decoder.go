package pocketsphinx

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"unsafe"
)

// decoder is one ps_decoder_t. It is used by one goroutine at a time.
type decoder struct {
	lib    *library
	config uintptr
	handle uintptr
	front  uintptr // the part that makes features; 0 in a decoder for interim text
	live   bool    // within a live utterance
}

// hypothesis is what a worker answers for a whole utterance.
type hypothesis struct {
	Text       string   `json:"text"`
	Confidence *float64 `json:"confidence,omitempty"` // mean posterior of the words
	Words      []word   `json:"words,omitempty"`
}

// word has its times in frames of 10 ms from the start of the utterance.
type word struct {
	Text       string  `json:"text"`
	Start      int32   `json:"start"`
	End        int32   `json:"end"`
	Confidence float64 `json:"confidence"`
}

// interimSettings trade words for speed; finals search as widely as the library does by
// default.
func interimSettings() []string {
	return []string{"-fwdflat", "no", "-bestpath", "no", "-maxhmmpf", "3000"}
}

func openDecoder(l *library, m model, settings ...string) (*decoder, error) {
	args := append([]string{"pocketsphinx", "-hmm", m.acoustic, "-lm", m.language, "-dict", m.dictionary}, settings...)
	argv, keep := cStrings(args)
	d := &decoder{lib: l}
	d.config = l.parse(0, l.args(), int32(len(args)), &argv[0], 1)
	runtime.KeepAlive(keep)
	if d.config == 0 {
		return nil, fmt.Errorf("the PocketSphinx library does not take the settings %q", args)
	}
	if d.handle = l.open(d.config); d.handle == 0 {
		l.freeConfig(d.config)
		return nil, errors.New("the PocketSphinx library cannot load its model; run: " + Install)
	}
	return d, nil
}

// cStrings makes a NULL-terminated argv; keep must stay alive as long as it is used.
func cStrings(args []string) (argv []uintptr, keep [][]byte) {
	for _, a := range args {
		b := append([]byte(a), 0)
		keep = append(keep, b)
		argv = append(argv, uintptr(unsafe.Pointer(&b[0])))
	}
	return append(argv, 0), keep
}

func (d *decoder) close() {
	d.lib.free(d.handle)
	d.lib.freeConfig(d.config)
}

// transcribe hears a whole utterance. What it says does not depend on what was heard before.
func (d *decoder) transcribe(pcm []int16) (hypothesis, error) {
	if len(pcm) == 0 {
		return hypothesis{}, nil
	}
	rows, err := d.cepstra(pcm)
	if err != nil || len(rows) == 0 {
		return hypothesis{}, err
	}
	centre(rows)
	if err := d.search(rows); err != nil {
		return hypothesis{}, err
	}
	var score int32
	h := hypothesis{Text: d.lib.hypothesis(d.handle, &score)}
	if h.Text != "" {
		h.Words = d.words()
		h.Confidence = mean(h.Words)
	}
	return h, nil
}

func (d *decoder) words() (all []word) {
	var score, start, end int32
	logmath := d.lib.logmath(d.handle)
	for s := d.lib.segments(d.handle, &score); s != 0; s = d.lib.nextSeg(s) {
		text, filler := clean(d.lib.segWord(s))
		if filler {
			continue
		}
		var acoustic, language, backoff int32
		p := d.lib.exp(logmath, d.lib.segProb(s, &acoustic, &language, &backoff))
		d.lib.segFrames(s, &start, &end)
		all = append(all, word{Text: text, Start: start, End: end + 1, Confidence: math.Round(min(1, max(0, p))*1e4) / 1e4})
	}
	return all
}

// clean strips the number of a variant, as in "was(2)", and tells words from markers
// such as <sil>, [NOISE] and ++BREATH++.
func clean(w string) (text string, filler bool) {
	if w == "" || strings.ContainsRune("<[+", rune(w[0])) {
		return "", true
	}
	if at := strings.IndexByte(w, '('); at > 0 {
		w = w[:at]
	}
	return w, false
}

func mean(words []word) *float64 {
	if len(words) == 0 {
		return nil
	}
	var sum float64
	for _, w := range words {
		sum += w.Confidence
	}
	m := sum / float64(len(words))
	return &m
}

func (d *decoder) begin() error {
	d.finish()
	if d.lib.start(d.handle) < 0 {
		return errors.New("PocketSphinx does not begin an utterance")
	}
	d.live = true
	return nil
}

func (d *decoder) feed(pcm []int16) (string, error) {
	if !d.live {
		return "", errors.New("no utterance was begun")
	}
	if len(pcm) > 0 && d.lib.process(d.handle, &pcm[0], uintptr(len(pcm)), 0, 0) < 0 {
		return "", errors.New("PocketSphinx fails at this utterance")
	}
	var score int32
	return d.lib.hypothesis(d.handle, &score), nil
}

func (d *decoder) finish() {
	if d.live {
		d.lib.end(d.handle)
		d.live = false
	}
}
