// Package recognisertest is the suite that every recogniser passes, with speech to try
// them on, and a scripted recogniser for tests that need no real one.
package recognisertest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
)

// Setup is how the suite gets at a recogniser.
type Setup struct {
	// New makes a fresh recogniser; the suite closes it. It may skip the test.
	New func(t *testing.T) voice.Recogniser
	// Kill ends all processes that the recogniser started. Required with
	// [voice.Features].Process; otherwise that test is skipped.
	Kill func(t *testing.T, r voice.Recogniser)
}

// Sentence is what the suite says, with flite's voice kal16.
const Sentence = "the meeting starts at ten in the morning"

// patience is how long a result may take, on a busy machine under the race detector.
const patience = 90 * time.Second

// Run runs the suite.
func Run(t *testing.T, s Setup) {
	for name, test := range map[string]func(*testing.T, Setup){
		"Check": testCheck, "Clip": testClip, "Silence": testSilence, "Order": testOrder,
		"Cancel": testCancel, "CloseMidUtterance": testCloseMidUtterance, "TwoAtOnce": testTwoAtOnce,
		"CloseTwice": testCloseTwice, "Language": testLanguage, "Killed": testKilled,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

func fresh(t *testing.T, s Setup) voice.Recogniser {
	t.Helper()
	r := s.New(t)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return r
}

// spoken is the suite's sentence with quiet around.
func spoken(t *testing.T) []int16 {
	t.Helper()
	return pad(Say(t, "kal16", Sentence))
}

func pad(pcm []int16) []int16 {
	all := append(Silence(audio.SampleRate/2), pcm...)
	return append(all, Silence(audio.SampleRate)...)
}

// Hear sends pcm through one stream and returns the outcome of each utterance.
func Hear(t testing.TB, r voice.Recogniser, pcm []int16) (finals []voice.Final, failed []voice.Failed, interims []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := r.Open(ctx, voice.StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var writing sync.WaitGroup
	writing.Go(func() {
		if err := errors.Join(s.Write(ctx, pcm), s.CloseWrite()); err != nil {
			t.Errorf("write: %v", err)
		}
	})
	defer writing.Wait()
	last := 0
	for result := range s.Results() {
		switch v := result.(type) {
		case voice.Interim:
			if v.Utterance <= last {
				t.Errorf("interim text of utterance %d after its outcome", v.Utterance)
			}
			interims = append(interims, v.Text)
		case voice.Final:
			finals = append(finals, v)
			last = follows(t, last, v.Utterance)
		case voice.Failed:
			failed = append(failed, v)
			last = follows(t, last, v.Utterance)
		}
	}
	if ctx.Err() != nil {
		t.Fatalf("no end of results within %s", patience)
	}
	return finals, failed, interims
}

func follows(t testing.TB, last, next int) int {
	t.Helper()
	if next != last+1 {
		t.Errorf("the outcome of utterance %d follows that of %d", next, last)
	}
	return next
}

// Text joins the texts of finals.
func Text(finals []voice.Final) string {
	var all []string
	for _, f := range finals {
		if f.Text != "" {
			all = append(all, f.Text)
		}
	}
	return strings.Join(all, " ")
}

func testCheck(t *testing.T, s Setup) {
	r := fresh(t, s)
	if err := r.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context()); err != nil {
		t.Errorf("second Check: %v", err)
	}
	if f := r.Features(); r.Name() == "" || len(f.Languages) == 0 && !f.AnyLanguage {
		t.Errorf("name %q, features %+v", r.Name(), r.Features())
	}
}

func testClip(t *testing.T, s Setup) {
	r := fresh(t, s)
	pcm := spoken(t)
	finals, failed, _ := Hear(t, r, pcm)
	if len(failed) > 0 || len(finals) != 1 {
		t.Fatalf("finals %+v, failures %+v; want one final", finals, failed)
	}
	f := finals[0]
	if f.Text != Sentence {
		t.Errorf("heard %q, want %q", f.Text, Sentence)
	}
	end := audio.Duration(int64(len(pcm)))
	if f.Start < 100*time.Millisecond || f.End <= f.Start || f.End > end {
		t.Errorf("spoken from %s to %s in %s of audio", f.Start, f.End, end)
	}
	if f.Confidence != nil && (*f.Confidence < 0 || *f.Confidence > 1) {
		t.Errorf("confidence %g", *f.Confidence)
	}
	if r.Features().Words {
		checkWords(t, f)
	}
}

func checkWords(t *testing.T, f voice.Final) {
	t.Helper()
	var words []string
	at := f.Start
	for _, w := range f.Words {
		words = append(words, w.Text)
		if w.Start < at || w.End <= w.Start || w.End > f.End+time.Second || w.Confidence < 0 || w.Confidence > 1 {
			t.Errorf("word %+v after %s in an utterance from %s to %s", w, at, f.Start, f.End)
		}
		at = w.Start
	}
	if got := strings.Join(words, " "); got != f.Text {
		t.Errorf("words %q of text %q", got, f.Text)
	}
}

func testSilence(t *testing.T, s Setup) {
	finals, failed, interims := Hear(t, fresh(t, s), Silence(5*audio.SampleRate))
	if text := Text(finals); text != "" || len(failed) > 0 || len(interims) > 0 {
		t.Errorf("heard %q and %q in silence; failures %v", text, interims, failed)
	}
}

func testOrder(t *testing.T, s Setup) {
	var pcm []int16
	texts := []string{Sentence, "there is a problem with the server", "we need to talk about the budget"}
	for _, text := range texts {
		pcm = append(pcm, pad(Say(t, "kal16", text))...)
	}
	finals, failed, _ := Hear(t, fresh(t, s), pcm)
	if len(failed) > 0 || Text(finals) != strings.Join(texts, " ") {
		t.Errorf("heard %q, failures %v", Text(finals), failed)
	}
	for i := 1; i < len(finals); i++ {
		if finals[i].Start < finals[i-1].End {
			t.Errorf("utterance %d starts at %s, before the end of the last, %s", i+1, finals[i].Start, finals[i-1].End)
		}
	}
}

// openMidUtterance leaves a stream in the middle of the sentence.
func openMidUtterance(t *testing.T, ctx context.Context, r voice.Recogniser) voice.Stream {
	t.Helper()
	pcm := spoken(t)
	st, err := r.Open(ctx, voice.StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Write(ctx, pcm[:len(pcm)/2]); err != nil {
		t.Fatal(err)
	}
	return st
}

// drained waits for the end of the results.
func drained(t *testing.T, st voice.Stream) {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case _, more := <-st.Results():
			if !more {
				return
			}
		case <-limit:
			t.Fatal("Results is not closed")
		}
	}
}

func testCancel(t *testing.T, s Setup) {
	r := fresh(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	st := openMidUtterance(t, ctx, r)
	cancel()
	drained(t, st)
	if err := st.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := st.Write(t.Context(), Silence(100)); err == nil {
		t.Error("Write after the end of the context succeeds")
	}
	if finals, _, _ := Hear(t, r, spoken(t)); Text(finals) != Sentence {
		t.Errorf("the next stream hears %q", Text(finals))
	}
}

func testCloseMidUtterance(t *testing.T, s Setup) {
	r := fresh(t, s)
	st := openMidUtterance(t, t.Context(), r)
	if err := r.Close(); err != nil {
		t.Errorf("Close of the recogniser: %v", err)
	}
	drained(t, st)
	if err := st.Close(); err != nil {
		t.Errorf("Close of the stream: %v", err)
	}
}

func testTwoAtOnce(t *testing.T, s Setup) {
	r := fresh(t, s)
	pcm := spoken(t)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if finals, failed, _ := Hear(t, r, pcm); Text(finals) != Sentence || len(failed) > 0 {
				t.Errorf("heard %q, failures %v", Text(finals), failed)
			}
		})
	}
	both.Wait()
}

func testCloseTwice(t *testing.T, s Setup) {
	r := fresh(t, s)
	st, err := r.Open(t.Context(), voice.StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := st.Close(); err != nil {
			t.Errorf("Close of the stream: %v", err)
		}
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Errorf("Close of the recogniser: %v", err)
		}
	}
	if _, err := r.Open(t.Context(), voice.StreamOptions{}); !errors.Is(err, voice.ErrClosed) {
		t.Errorf("Open after Close: %v, want ErrClosed", err)
	}
}

func testLanguage(t *testing.T, s Setup) {
	r := fresh(t, s)
	unknown := "xx"
	if r.Features().AnyLanguage {
		unknown = "no language"
	}
	if _, err := r.Open(t.Context(), voice.StreamOptions{Language: unknown}); !errors.Is(err, voice.ErrLanguage) {
		t.Errorf("Open for language %q: %v, want ErrLanguage", unknown, err)
	}
}

// testKilled: the utterance whose process dies fails with an error, or is heard after
// all; the next is heard.
func testKilled(t *testing.T, s Setup) {
	r := fresh(t, s)
	if !r.Features().Process {
		t.Skip("this recogniser has no process of its own")
	}
	if err := r.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	st := openMidUtterance(t, t.Context(), r)
	// Enough speech that the final is still at work when the process is killed.
	long := spoken(t)
	for range 5 {
		long = append(long[:len(long)-audio.SampleRate], spoken(t)[audio.SampleRate/2:]...)
	}
	if err := errors.Join(st.Write(t.Context(), long), st.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	// A final of so much speech takes seconds; half a second later it is at work.
	kill := time.After(500 * time.Millisecond)
	var failed []voice.Failed
	heard := 0
	for open := true; open; {
		select {
		case <-kill:
			s.Kill(t, r)
		case result, more := <-st.Results():
			open = more
			switch v := result.(type) {
			case voice.Failed:
				failed = append(failed, v)
			case voice.Final:
				heard += strings.Count(v.Text, Sentence)
			}
		}
	}
	// A recogniser that was only guessing when it died may hear all of it the second time.
	if len(failed) == 0 && heard >= 5 {
		t.Log("nothing was lost")
	} else if len(failed) == 0 || failed[0].Err == nil || failed[0].End <= failed[0].Start {
		t.Errorf("failures %+v, want at least one with its error and times", failed)
	}
	if err := st.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if finals, _, _ := Hear(t, r, spoken(t)); Text(finals) != Sentence {
		t.Errorf("after the restart it hears %q", Text(finals))
	}
}
