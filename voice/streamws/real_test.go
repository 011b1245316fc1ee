package streamws_test

import (
	"os"
	"testing"

	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/pocketsphinx"
	"github.com/33god/bloodbank/voice/recognisertest"
)

// Real speech, real recogniser: words with times and confidence on the wire.
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
	c := dial(t, s, "?language=en")
	if m := c.expect("session.started"); m["recogniser"] != "pocketsphinx" || m["language"] != "en-US" {
		t.Errorf("%v", m)
	}
	quiet := recognisertest.Silence(audio.SampleRate)
	for _, piece := range [][]int16{quiet, pcm, quiet} {
		c.send(audio.Bytes(nil, piece))
	}
	c.send(nil)
	finals := ofType("final", c.rest())
	if len(finals) != 1 || finals[0]["text"] != recognisertest.Sentence {
		t.Fatalf("heard %v", finals)
	}
	m := finals[0]
	words, _ := m["words"].([]any)
	if len(words) != 8 || m["confidence"].(float64) <= 0 {
		t.Fatalf("final %v", m)
	}
	at := 0.0
	for _, w := range words {
		w := w.(map[string]any)
		if w["start"].(float64) < at || w["end"].(float64) <= w["start"].(float64) {
			t.Errorf("the word %v starts before %g", w, at)
		}
		at = w["start"].(float64)
	}
	if events := l.all(); len(events) != 3 || m["event_id"] != events[1].EventID.String() {
		t.Errorf("%d events, final %v", len(events), m)
	}
}
