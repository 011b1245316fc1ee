package pocketsphinx_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/recognisertest"
)

// What is loud and no speech has no words.
func TestSoundsWithoutWords(t *testing.T) {
	r := recogniser(t)
	defer r.Close()
	chance := rand.New(rand.NewPCG(1, 2))
	for name, at := range map[string]func(i int) float64{
		"noise": func(int) float64 { return 2000 * chance.NormFloat64() },
		"tone":  func(i int) float64 { return 8000 * math.Sin(2*math.Pi*1000*float64(i)/audio.SampleRate) },
		"buzz":  func(i int) float64 { return 6000 * float64(i/80%2) },
	} {
		pcm := make([]int16, 3*audio.SampleRate/2)
		for i := range pcm {
			pcm[i] = int16(max(-30000, min(30000, at(i))))
		}
		finals, failed, _ := recognisertest.Hear(t, r, gap(pcm))
		if text := recognisertest.Text(finals); text != "" || len(failed) > 0 || len(finals) == 0 {
			t.Errorf("%s: heard %q in %d utterances, failures %v", name, text, len(finals), failed)
		}
	}
}

// What was heard before changes nothing.
func TestTheSameTwice(t *testing.T) {
	c := config(t)
	c.Workers = 1
	r := recogniserWith(t, c)
	defer r.Close()
	said := gap(recognisertest.Say(t, "awb", "the weather will be cold and wet tomorrow"))
	first, _, _ := recognisertest.Hear(t, r, said)
	recognisertest.Hear(t, r, gap(recognisertest.Say(t, "kal16", recognisertest.Sentence)))
	second, _, _ := recognisertest.Hear(t, r, said)
	if len(first) != 1 || len(second) != 1 || first[0].Text != second[0].Text || *first[0].Confidence != *second[0].Confidence {
		t.Errorf("heard %+v, then %+v", first, second)
	}
}
