package voice_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
)

func TestLanguages(t *testing.T) {
	t.Parallel()
	english := voice.Features{Languages: []string{"en-US", "en-GB"}}
	anything := voice.Features{AnyLanguage: true}
	german := voice.Features{AnyLanguage: true, Languages: []string{"de"}}
	for _, c := range []struct {
		features   voice.Features
		wish, want string
		refused    bool
	}{
		{english, "", "en-US", false}, {english, "auto", "en-US", false}, {english, "EN", "en-US", false},
		{english, "en-gb", "en-GB", false}, {english, "de", "", true},
		{anything, "", "", false}, {anything, "auto", "", false}, {anything, "fr", "fr", false},
		{anything, "zh-Hant-TW", "zh-Hant-TW", false}, {anything, "no language", "", true}, {anything, "e", "", true},
		{german, "auto", "de", false}, {german, "fr", "fr", false},
	} {
		got, err := c.features.Language(c.wish)
		if got != c.want || errors.Is(err, voice.ErrLanguage) != c.refused {
			t.Errorf("%+v with the wish %q: %q, %v; want %q, refused %t", c.features, c.wish, got, err, c.want, c.refused)
		}
	}
}

// dear is an engine whose interim text is dear; it tells how much audio each look brings.
type dear struct{ fed chan int }

func (d dear) Transcribe(context.Context, []int16) (voice.Transcription, error) {
	return voice.Transcription{Text: "done"}, nil
}
func (d dear) Interim(context.Context) (voice.InterimEngine, error) { return d, nil }
func (d dear) Every() time.Duration                                 { return 2 * time.Second }
func (d dear) Close() error                                         { return nil }
func (d dear) Feed(ctx context.Context, pcm []int16) (string, error) {
	select {
	case d.fed <- len(pcm):
		return "so far", nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func TestPacedEngineIsFedSeldom(t *testing.T) {
	t.Parallel()
	d := dear{fed: make(chan int)}
	s, err := voice.NewSegmenter(t.Context(), d, audio.EndpointSettings{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Write(t.Context(), make([]int16, audio.SampleRate)); err != nil {
		t.Fatal(err)
	}
	for _, least := range []time.Duration{time.Second, 2 * time.Second} {
		if err := s.Write(t.Context(), syllables(least+time.Second)); err != nil {
			t.Fatal(err)
		}
		select {
		case n := <-d.fed:
			if int64(n) < audio.Samples(least) {
				t.Errorf("fed %d samples, want at least %s", n, least)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("not fed")
		}
	}
}

// syllables is a tone that comes and goes, which is speech to an endpointer.
func syllables(d time.Duration) []int16 {
	pcm := make([]int16, audio.Samples(d))
	for i := range pcm {
		if i/1600%3 != 2 {
			pcm[i] = int16(8000 * (i / 16 % 2))
		}
	}
	return pcm
}
