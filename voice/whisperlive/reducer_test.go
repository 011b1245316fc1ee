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
		// Servers with times in whole seconds forget nothing but lines.
		history(t, &model{legacy: legacy, diarized: rapid.Bool().Draw(t, "diarized"), tokenwise: !legacy && rapid.Bool().Draw(t, "tokenwise")})
	})
}

func TestEveryRepeatedWordComesOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		history(t, &model{diarized: rapid.Bool().Draw(t, "diarized"), vocabulary: []string{"yes", "no", "well", "go"}})
	})
}
