package listenws_test

import (
	"os"
	"testing"

	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/pocketsphinx"
	"github.com/33god/bloodbank/voice/recognisertest"
)

// Real speech, real recogniser: words with times and confidence as Deepgram's clients read them.
func TestRealSpeech(t *testing.T) {
	pcm := recognisertest.Say(t, "kal16", recognisertest.Sentence)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := pocketsphinx.New(pocketsphinx.Config{Command: []string{self}, Env: []string{"BB_TEST_ASR_WORKER=1"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context()); err != nil {
		r.Close()
		t.Skip(err)
	}
	s, _, l := serve(t, setup{Recogniser: r})
	c := dial(t, s, "?encoding=linear16&sample_rate=16000&language=en")
	c.expect("Metadata")
	quiet := recognisertest.Silence(audio.SampleRate)
	for _, piece := range [][]int16{quiet, pcm, quiet} {
		c.send(audio.Bytes(nil, piece))
	}
	c.control(`{"type":"CloseStream"}`)
	all := c.rest()
	if len(all) != 2 || transcript(all[0]) != recognisertest.Sentence {
		t.Fatalf("heard %v", all)
	}
	if words := best(all[0])["words"].([]any); len(words) != 8 || words[0].(map[string]any)["start"].(float64) < 0.5 {
		t.Errorf("words %v", words)
	}
	if events := l.all(); len(events) != 3 {
		t.Errorf("%d events", len(events))
	}
}
