package pocketsphinx_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/recognisertest"
)

func exactSentences() []string {
	return []string{
		"the meeting starts at ten in the morning",
		"i would like to order a large coffee",
		"the children are playing in the garden",
		"we need to talk about the budget",
		"there is a problem with the server",
	}
}

func moreSentences() []string {
	return []string{
		"please send me the report before lunch",
		"the train leaves the station at nine",
		"she bought a new house near the river",
		"can you open the window for a moment",
		"the weather will be cold and wet tomorrow",
		"he forgot his keys on the kitchen table",
		"our team won the first game of the season",
		"turn the music down and close the door",
		"they walked along the beach after dinner",
		"the doctor said that everything is fine",
		"i have never seen such a beautiful picture",
		"write this down so that we remember it",
		"the price of oil went up again this week",
		"my brother works for a bank in the city",
		"put the book back on the shelf",
	}
}

func gap(pcm []int16) []int16 {
	all := append(recognisertest.Silence(audio.SampleRate/2), pcm...)
	return append(all, recognisertest.Silence(audio.SampleRate)...)
}

func TestFiveSentencesAreExact(t *testing.T) {
	r := recogniser(t)
	defer r.Close()
	if n := wrongSentences(t, r); n > 0 {
		t.Errorf("%d of 10 are wrong", n)
	}
}

// wrongSentences has two voices say the five.
func wrongSentences(t testing.TB, r voice.Recogniser) (wrong int) {
	for _, speaker := range []string{"kal16", "rms"} {
		for _, want := range exactSentences() {
			finals, failed, _ := recognisertest.Hear(t, r, gap(recognisertest.Say(t, speaker, want)))
			if got := recognisertest.Text(finals); got != want || len(failed) > 0 {
				t.Logf("%s says %q, heard %q, failures %v", speaker, want, got, failed)
				wrong++
			}
		}
	}
	return wrong
}

// Twenty sentences in one stream: cut right, in order, at most 15 % of the words wrong.
func TestWordErrorsOfSpokenSet(t *testing.T) {
	r := recogniser(t)
	defer r.Close()
	said := slices.Concat(exactSentences(), moreSentences())
	var pcm []int16
	for _, s := range said {
		pcm = append(pcm, gap(recognisertest.Say(t, "rms", s))...)
	}
	began := time.Now()
	finals, failed, _ := recognisertest.Hear(t, r, pcm)
	took := time.Since(began)
	if len(finals) != len(said) || len(failed) > 0 {
		t.Fatalf("%d utterances of %d sentences, failures %v", len(finals), len(said), failed)
	}
	faults, words, exact := 0, 0, 0
	for i, f := range finals {
		n, all := recognisertest.WordErrors(said[i], f.Text)
		faults, words = faults+n, words+all
		if n == 0 {
			exact++
		} else {
			t.Logf("said %q, heard %q (confidence %.2f)", said[i], f.Text, *f.Confidence)
		}
	}
	length := audio.Duration(int64(len(pcm)))
	t.Logf("rms: %d of %d words wrong (%.1f %%), %d of %d sentences exact; %s of audio in %s (%.2f)",
		faults, words, 100*float64(faults)/float64(words), exact, len(said), length.Round(time.Second),
		took.Round(10*time.Millisecond), took.Seconds()/length.Seconds())
	if faults*100 > 15*words {
		t.Errorf("%d of %d words wrong, more than 15 %%", faults, words)
	}
}

func TestWordErrorsOfRealClips(t *testing.T) {
	r := recogniser(t)
	defer r.Close()
	faults, strict, words := clipErrors(t, r)
	t.Logf("real clips: %d of %d words wrong (%.1f %%); %d (%.1f %%) where i'm for i am is wrong",
		faults, words, 100*float64(faults)/float64(words), strict, 100*float64(strict)/float64(words))
	if faults*100 > 25*words {
		t.Errorf("%d of %d words wrong, more than 25 %%", faults, words)
	}
}

func clipErrors(t testing.TB, r voice.Recogniser) (faults, strict, words int) {
	for _, c := range recognisertest.RealClips() {
		finals, failed, _ := recognisertest.Hear(t, r, gap(recognisertest.ReadClip(t, "../..", c)))
		heard := recognisertest.Text(finals)
		n, all := recognisertest.WordErrors(c.Words, heard)
		m, _ := recognisertest.StrictWordErrors(c.Words, heard)
		faults, strict, words = faults+n, strict+m, words+all
		t.Logf("%s: said %q, heard %q, failures %v", c.Name, c.Words, heard, failed)
	}
	return faults, strict, words
}

// Speech at the speed of speaking: when the first interim text and the final come.
func TestLatencyInRealTime(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as the speech in it")
	}
	r := recogniser(t)
	defer r.Close()
	pcm := gap(recognisertest.Say(t, "rms", "the children are playing in the garden and we need to talk about the budget"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := r.Open(ctx, voice.StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	began := time.Now()
	go func() {
		defer s.CloseWrite()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for p := range slices.Chunk(pcm, audio.SampleRate/50) {
			<-tick.C
			if s.Write(ctx, p) != nil {
				return
			}
		}
	}()
	var start, first time.Duration
	interims := 0
	for result := range s.Results() {
		switch v := result.(type) {
		case voice.Started:
			start = v.At
		case voice.Interim:
			if interims++; interims == 1 {
				first = time.Since(began) - start
			}
		case voice.Final:
			late := time.Since(began) - v.End
			t.Logf("first interim text %s after the start (pre-roll included), %d in all; final %q %s after the end of %s of speech",
				first.Round(10*time.Millisecond), interims, v.Text, late.Round(10*time.Millisecond), v.Duration())
			if interims == 0 {
				t.Error("no interim text in five seconds of speech")
			}
		}
	}
}
