package whisperlive

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"pgregory.net/rapid"
)

func usual() tuning {
	return tuning{updates: 3, settle: 500 * time.Millisecond, pause: 2 * time.Second, longest: 20 * time.Second}
}

// ear checks the contract of a stream on each result, and gathers the words.
type ear struct {
	t       rapid.TB
	opened  int
	settled int
	end     time.Duration
	words   []string
	finals  []voice.Final
}

func (e *ear) hear(results []voice.Result) {
	e.t.Helper()
	for _, r := range results {
		switch r := r.(type) {
		case voice.Started:
			if r.Utterance != e.opened+1 || e.settled != e.opened {
				e.t.Fatalf("utterance %d starts; %d were opened and %d have their outcome", r.Utterance, e.opened, e.settled)
			}
			e.opened++
		case voice.Interim:
			if r.Utterance != e.opened || e.settled == e.opened || r.Text == "" {
				e.t.Fatalf("interim %+v; %d were opened and %d have their outcome", r, e.opened, e.settled)
			}
		case voice.Final:
			if r.Utterance != e.opened || r.Utterance != e.settled+1 {
				e.t.Fatalf("final %+v; %d were opened and %d have their outcome", r, e.opened, e.settled)
			}
			if r.Start < e.end || r.End <= r.Start {
				e.t.Fatalf("final from %s to %s after one that ended at %s", r.Start, r.End, e.end)
			}
			e.settled, e.end = r.Utterance, r.End
			e.words = append(e.words, keysOf(r.Text)...)
			e.finals = append(e.finals, r)
		}
	}
}

// history plays what may happen to upstream, and demands every word once.
func history(t *rapid.T, m *model) {
	r := newReducer(usual())
	e := &ear{t: t}
	now := time.Unix(0, 0)
	m.speaker = 1
	for range rapid.IntRange(1, 60).Draw(t, "steps") {
		m.step(t)
		now = now.Add(time.Duration(rapid.IntRange(50, 300).Draw(t, "ms")) * time.Millisecond)
		e.hear(r.take(m.snapshot(), now))
		if rapid.IntRange(0, 9).Draw(t, "quiet") == 0 {
			now = now.Add(3 * time.Second)
			e.hear(r.tick(now))
		}
		if rapid.IntRange(0, 19).Draw(t, "finalize") == 0 {
			e.hear(r.flush(audio.EndRequest))
		}
	}
	m.sure, m.shown = len(m.tokens), len(m.tokens)
	e.hear(r.take(m.snapshot(), now))
	e.hear(r.flush(audio.EndStream))
	if want := m.words(); !slices.Equal(e.words, want) {
		t.Fatalf("said  %q\nheard %q", strings.Join(want, " "), strings.Join(e.words, " "))
	}
	if e.settled != e.opened {
		t.Fatalf("%d opened, %d settled", e.opened, e.settled)
	}
}

func TestEveryWordComesOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		legacy := rapid.Bool().Draw(t, "legacy")
		history(t, &model{legacy: legacy, diarized: rapid.Bool().Draw(t, "diarized"), tokenwise: !legacy && rapid.Bool().Draw(t, "tokenwise")})
	})
}

func TestEveryRepeatedWordComesOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		history(t, &model{diarized: rapid.Bool().Draw(t, "diarized"), vocabulary: []string{"yes", "no", "well", "go"}})
	})
}

// snap is a modern snapshot with one line for each text; "" is a pause.
func snap(buffer string, texts ...string) *snapshot {
	s := &snapshot{Buffer: buffer}
	for i, text := range texts {
		at := func(n int) clock { return clock{Duration: time.Duration(n) * 10 * time.Second, set: true} }
		l := line{Speaker: 1, Text: text, Start: at(i), End: at(i + 1)}
		if text == "" {
			l.Speaker = speakerSilence
		}
		s.Lines = append(s.Lines, l)
	}
	return s
}

func TestTurnsMakeUtterances(t *testing.T) {
	t.Parallel()
	r, e := newReducer(usual()), &ear{t: t}
	turns := snap("", " good morning", " hello", " how are you")
	turns.Lines[1].Speaker = 2
	for range 3 {
		e.hear(r.take(turns, time.Unix(0, 0)))
	}
	turns.Lines[2].Speaker = 2 // too late for what is final
	turns.Lines[1].Text, turns.Lines[2].Text = " hello how", " are you"
	e.hear(r.take(turns, time.Unix(0, 0)))
	e.hear(r.flush(audio.EndStream))
	var got []string
	for _, f := range e.finals {
		got = append(got, f.Speaker+": "+f.Text)
	}
	if want := []string{"1: good morning", "2: hello", "2: how", "2: are you"}; !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
}

func TestLongSpeechIsCutAtAComma(t *testing.T) {
	t.Parallel()
	r, e := newReducer(usual()), &ear{t: t}
	long := snap("", " "+strings.Repeat("one two, ", 30)+"three")
	long.Lines[0].End.Duration = 25 * time.Second
	for range 3 {
		e.hear(r.take(long, time.Unix(0, 0)))
	}
	if len(e.finals) == 0 || !strings.HasSuffix(e.finals[0].Text, "two,") || e.finals[0].Reason != audio.EndLength {
		t.Errorf("finals %+v", e.finals)
	}
	e.hear(r.flush(audio.EndStream))
	if len(e.words) != 61 {
		t.Errorf("%d words, want 61", len(e.words))
	}
}

func TestWordsThatUpstreamChangesLateDoNotComeTwice(t *testing.T) {
	t.Parallel()
	r, e := newReducer(usual()), &ear{t: t}
	now := time.Unix(0, 0)
	e.hear(r.take(snap("", " we meet at ten", "", " and then"), now))
	e.hear(r.take(snap("", " We met at 10,", "", " and then we"), now))
	e.hear(r.take(snap("", " We met at ten o'clock.", "", " and then we go"), now))
	e.hear(r.flush(audio.EndStream))
	if got, want := strings.Join(e.words, " "), "we meet at ten oclock and then we go"; got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
}

func TestHallucinationThatIsTakenBackEndsEmpty(t *testing.T) {
	t.Parallel()
	r, e := newReducer(usual()), &ear{t: t}
	now := time.Unix(0, 0)
	e.hear(r.take(snap(" thank you for watching"), now))
	e.hear(r.take(snap(""), now))
	if e.opened != 1 || e.settled != 0 {
		t.Fatalf("%d opened, %d settled", e.opened, e.settled)
	}
	e.hear(r.tick(now.Add(5 * time.Second)))
	if e.settled != 1 || e.finals[0].Text != "" {
		t.Errorf("finals %+v", e.finals)
	}
}

func TestWordsHeardAgainAfterALossAreLeftOut(t *testing.T) {
	t.Parallel()
	r, e := newReducer(usual()), &ear{t: t}
	now := time.Unix(0, 0)
	for range 3 {
		e.hear(r.take(snap("", " I see you. Then I"), now))
	}
	if r.exact {
		t.Fatal("the end of a sentence within a line is taken for exact")
	}
	r.restart(r.lastEnd)
	e.hear(r.take(snap("", " you then I go"), now))
	e.hear(r.flush(audio.EndStream))
	if got, want := strings.Join(e.words, " "), "i see you then i go"; got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
}

func TestWordsTakenTooEarlyHideNoOthers(t *testing.T) {
	t.Parallel()
	r, e := newReducer(usual()), &ear{t: t}
	now := time.Unix(0, 0)
	e.hear(r.take(snap(" thank you", " hello"), now))
	e.hear(r.flush(audio.EndRequest))
	e.hear(r.take(snap("", " hello"), now))
	e.hear(r.take(snap("", " hello open the door"), now))
	e.hear(r.flush(audio.EndStream))
	if got, want := strings.Join(e.words, " "), "hello thank you open the door"; got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
}
