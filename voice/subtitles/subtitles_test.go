package subtitles_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/33god/bloodbank/voice/subtitles"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func cues() []subtitles.Cue {
	return []subtitles.Cue{
		{Start: -time.Second, End: 999_500 * time.Microsecond, Text: " rounded up \r\n\r\nsecond line\x00"},
		{Start: time.Second, End: 2 * time.Second, Text: " \n "},
		{Start: 59_999_499 * time.Microsecond, End: 59_999_500 * time.Microsecond, Text: "1 --> 2 & <i>3</i>"},
		{Start: 100*time.Hour + 61*time.Minute, End: time.Second, Text: "late\ttext"},
	}
}

func TestSRT(t *testing.T) {
	t.Parallel()
	const want = "1\n00:00:00,000 --> 00:00:01,000\nrounded up\nsecond line\n\n" +
		"2\n00:00:59,999 --> 00:01:00,000\n1 -- > 2 & <i>3</i>\n\n" +
		"3\n101:01:00,000 --> 101:01:00,000\nlate\ttext\n\n"
	var b strings.Builder
	if err := subtitles.WriteSRT(&b, cues()); err != nil || b.String() != want {
		t.Errorf("%q, want\n%q (%v)", b.String(), want, err)
	}
}

func TestVTT(t *testing.T) {
	t.Parallel()
	const want = "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nrounded up\nsecond line\n\n" +
		"00:00:59.999 --> 00:01:00.000\n1 --&gt; 2 &amp; &lt;i&gt;3&lt;/i&gt;\n\n" +
		"101:01:00.000 --> 101:01:00.000\nlate\ttext\n\n"
	var b strings.Builder
	if err := subtitles.WriteVTT(&b, cues()); err != nil || b.String() != want {
		t.Errorf("%q, want\n%q (%v)", b.String(), want, err)
	}
}

// full is a writer without room.
type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func TestSubtitlesTellOfFailedWrites(t *testing.T) {
	t.Parallel()
	for _, room := range []int{0, 10} {
		if err := subtitles.WriteVTT(&full{room}, cues()); err == nil {
			t.Errorf("WriteVTT with room for %d bytes: no error", room)
		}
		if err := subtitles.WriteSRT(&full{room}, cues()); err == nil {
			t.Errorf("WriteSRT with room for %d bytes: no error", room)
		}
	}
}
