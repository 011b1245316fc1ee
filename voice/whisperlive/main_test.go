package whisperlive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/pocketsphinx"
	"github.com/33god/bloodbank/voice/recognisertest"
	"go.uber.org/goleak"
)

// TestMain is a worker of PocketSphinx when a fake server starts this binary again.
func TestMain(m *testing.M) {
	if os.Getenv("BB_TEST_ASR_WORKER") == "1" {
		if err := pocketsphinx.RunWorker(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "ERROR:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// sphinx has a real engine write down what a fake server hears.
func sphinx(t *testing.T) hearing {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := pocketsphinx.New(pocketsphinx.Config{Command: []string{self}, Env: []string{"BB_TEST_ASR_WORKER=1"}, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	if err := p.Check(t.Context()); errors.Is(err, voice.ErrUnavailable) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	return func(pcm []int16) string {
		quiet := recognisertest.Silence(audio.SampleRate)
		finals, _, _ := recognisertest.Hear(t, p, slices.Concat(quiet[:audio.SampleRate/2], pcm, quiet))
		return recognisertest.Text(finals)
	}
}

// TestRealWords: flite speaks, a server with a real engine listens, and dies in between.
func TestRealWords(t *testing.T) {
	t.Parallel()
	if os.Getenv("BB_TEST_ENGINES") == "" {
		t.Skip("a real engine needs seconds of CPU for each sentence; set BB_TEST_ENGINES=1 on a machine that has them")
	}
	hear := sphinx(t)
	f := serveFake(t, &fake{hear: hear, polite: true, crashAfter: []time.Duration{5 * time.Second}})
	r := recogniser(t, Config{URL: f.url(), EndWithin: time.Minute})
	var pcm []int16
	want := []string{recognisertest.Sentence, "there is a problem with the server", "we need to talk about the budget"}
	for _, text := range want {
		pcm = append(pcm, recognisertest.Silence(audio.SampleRate/2)...)
		pcm = append(pcm, recognisertest.Say(t, "kal16", text)...)
		pcm = append(pcm, recognisertest.Silence(audio.SampleRate)...)
	}
	finals, failed, _ := recognisertest.Hear(t, r, pcm)
	if got := texts(finals); len(failed) > 0 || !slices.Equal(got, want) {
		t.Errorf("heard %q, failed %v", got, failed)
	}
	if f.dials != 2 {
		t.Errorf("%d connections, want 2", f.dials)
	}
}
