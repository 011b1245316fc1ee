package pocketsphinx_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/recognisertest"
)

// Words after a long pause in an utterance have the times at which they were said.
func TestWordTimesAfterPause(t *testing.T) {
	r := recogniser(t)
	defer r.Close()
	before := recognisertest.Say(t, "kal16", "we need to talk about the budget")
	pause := 1200 * time.Millisecond
	pcm := slices.Concat(before, make([]int16, audio.Samples(pause)), recognisertest.Say(t, "kal16", "there is a problem with the server"))
	pcm = gap(append(pcm, make([]int16, 2*audio.SampleRate)...))
	s, err := r.Open(t.Context(), voice.StreamOptions{Endpoint: audio.EndpointSettings{End: 2500 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := errors.Join(s.Write(t.Context(), pcm), s.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	second := 500*time.Millisecond + audio.Duration(int64(len(before))) + pause
	found := false
	for result := range s.Results() {
		f, final := result.(voice.Final)
		if !final {
			continue
		}
		for _, w := range f.Words {
			if w.Text != "there" {
				continue
			}
			found = true
			// The synthesiser itself begins with up to a quarter of a second of silence.
			if w.Start < second-100*time.Millisecond || w.Start > second+400*time.Millisecond {
				t.Errorf("%q at %s; it was said soon after %s", w.Text, w.Start, second)
			}
		}
		if !found {
			t.Errorf("heard %q", f.Text)
		}
	}
	if !found {
		t.Error(`no "there"`)
	}
}
