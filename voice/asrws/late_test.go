package asrws_test

import (
	"slices"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/recognisertest"
)

// TestLateSamples: what ffmpeg gives later than the last frame is heard without
// another one.
func TestLateSamples(t *testing.T) {
	t.Parallel()
	s, _, _ := serve(t, setup{Transcoder: audio.NewTranscoder(audio.TranscoderOptions{})})
	c := dial(t, s, "")
	c.greeting()
	c.send(recognisertest.MP3(t, said(2, 700*time.Millisecond)))
	for {
		if _, m := c.read(); slices.Equal(texts(m), []string{"one", "two"}) {
			break
		}
	}
	c.send(nil)
	c.rest()
}
