package whisperlive

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// token is a word that the model of upstream has recognised.
type token struct {
	text       string
	start, end time.Duration
	speaker    int
	pause      bool // a pause before it
}

// model is an upstream server that does to its lines all that real ones do. Its tokens
// are final in lines[:shown], in buffer_diarization up to sure, and else in
// buffer_transcription.
type model struct {
	legacy, diarized       bool
	tokens                 []token
	forgotten, shown, sure int
	at                     time.Duration
	speaker                int
	vocabulary             []string
	pauseNext              bool
	deepest                int // tokens that were ever shown
	tokenwise              bool
}

func (m *model) speak(t *rapid.T) {
	for range rapid.IntRange(1, 4).Draw(t, "words") {
		text := fmt.Sprintf("w%d", len(m.tokens))
		if m.vocabulary != nil {
			text = rapid.SampledFrom(m.vocabulary).Draw(t, "word")
		}
		text += rapid.SampledFrom([]string{"", "", "", "", ",", ".", "?"}).Draw(t, "mark")
		if m.pauseNext {
			m.at += 6 * time.Second
		}
		long := time.Duration(rapid.IntRange(20, 60).Draw(t, "length")) * 10 * time.Millisecond
		m.tokens = append(m.tokens, token{text, m.at, m.at + long, m.speaker, m.pauseNext})
		m.at += long
		m.pauseNext = false
	}
}

// step does one thing that upstream may do.
func (m *model) step(t *rapid.T) {
	switch rapid.IntRange(0, 11).Draw(t, "step") {
	case 0, 1, 2:
		m.speak(t)
	case 3, 4, 5:
		m.sure = min(len(m.tokens), m.sure+rapid.IntRange(1, 5).Draw(t, "commit"))
		if !m.diarized {
			m.shown = m.sure
		}
	case 6, 7:
		m.shown = min(m.sure, m.shown+rapid.IntRange(1, 6).Draw(t, "attribute"))
	case 8: // words go back to wait for their speaker
		if m.diarized {
			m.shown = max(m.forgotten+1, m.shown-rapid.IntRange(1, 3).Draw(t, "take back"))
			m.shown = min(m.shown, m.sure)
		}
	case 9:
		m.pauseNext = true
	case 10: // another speaker, perhaps since a while ago
		if m.diarized {
			m.speaker = rapid.IntRange(1, 3).Draw(t, "speaker")
			from := max(0, len(m.tokens)-rapid.IntRange(0, 4).Draw(t, "words of another"))
			for i := from; i < len(m.tokens); i++ {
				m.tokens[i].speaker = m.speaker
			}
		}
	case 11:
		m.forget(t)
	}
	m.deepest = max(m.deepest, m.shown)
}

// forget drops whole lines at the front, or tokens of the first line. Servers with
// times in whole seconds are older than retention, which came with 0.2.23: they forget
// nothing.
func (m *model) forget(t *rapid.T) {
	if m.legacy {
		return
	}
	if m.tokenwise {
		m.forgotten += rapid.IntRange(0, max(0, (m.shown-m.forgotten)/2)).Draw(t, "forget words")
		return
	}
	starts := []int{m.forgotten}
	for i := m.forgotten + 1; i < m.shown; i++ {
		if m.tokens[i].pause || m.tokens[i].speaker != m.tokens[i-1].speaker {
			starts = append(starts, i)
		}
	}
	m.forgotten = rapid.SampledFrom(starts).Draw(t, "forget lines")
}

func (m *model) clock(d time.Duration) clock {
	c := clock{Duration: d, set: true}
	if m.legacy {
		c.Duration, c.coarse = d.Truncate(time.Second), true
	}
	return c
}

func (m *model) snapshot() *snapshot {
	s := &snapshot{}
	for i := m.forgotten; i < m.shown; i++ {
		k := m.tokens[i]
		n := len(s.Lines)
		if k.pause && n > 0 {
			s.Lines = append(s.Lines, line{Speaker: speakerSilence, Start: s.Lines[n-1].End, End: m.clock(k.start)})
			n++
		}
		if n == 0 || s.Lines[n-1].Speaker != k.speaker {
			s.Lines = append(s.Lines, line{Speaker: k.speaker, Start: m.clock(k.start)})
			n++
		}
		l := &s.Lines[n-1]
		l.Text += " " + k.text
		l.End = m.clock(k.end)
	}
	for i := m.shown; i < len(m.tokens); i++ {
		if i < m.sure {
			s.Unattributed += " " + m.tokens[i].text
		} else {
			s.Buffer += " " + m.tokens[i].text
		}
	}
	return s
}

// words are all that was said, as keys.
func (m *model) words() []string {
	var all []string
	for i := range m.tokens {
		all = append(all, key(m.tokens[i].text))
	}
	return all
}

func keysOf(text string) []string {
	var all []string
	for _, f := range strings.Fields(text) {
		if k := key(f); k != "" {
			all = append(all, k)
		}
	}
	return slices.Clip(all)
}
