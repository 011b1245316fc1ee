package listenws_test

import (
	"testing"
	"time"

	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/recognisertest"
)

// TestLateSamples: what ffmpeg gives later than the last frame is heard without
// another one.
func TestLateSamples(t *testing.T) {
	t.Parallel()
	s, _, _ := serve(t, setup{Idle: time.Hour, Transcoder: audio.NewTranscoder(audio.TranscoderOptions{})})
	c := dial(t, s, "?model=nova-3")
	c.send(recognisertest.MP3(t, said(2, 700*time.Millisecond)))
	for _, want := range []string{"one", "two"} {
		for {
			m, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			if m["type"] != "Results" {
				continue
			}
			if best(m)["transcript"] != want {
				t.Errorf("final %v, want %q", m, want)
			}
			break
		}
	}
}
