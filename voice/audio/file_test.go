package audio_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/33god/bloodbank/voice/audio"
)

func fileOf(t *testing.T, b []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sound")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestDecodeFile(t *testing.T) {
	t.Parallel()
	tr := transcoder(t, audio.TranscoderOptions{})
	spoken := media(t, "spoken.wav")
	want := mustDecode(t, spoken, audio.FormatWAV)
	for name, c := range map[string]struct {
		bytes  []byte
		format audio.Format
	}{
		"wav":  {spoken, audio.FormatWAV},
		"webm": {media(t, "hybrid.webm"), audio.FormatWebM},
		"m4a":  {ffmpeg(t, spoken, "-c:a", "aac", "-b:a", "96k", "-f", "ipod"), audio.FormatMP4}, // with its index last
		"flac": {ffmpeg(t, spoken, "-f", "flac"), audio.FormatFLAC},
	} {
		f := fileOf(t, c.bytes)
		var got []int16
		format, err := audio.DecodeFile(t.Context(), f, audio.Options{Transcoder: tr}, func(pcm []int16) error {
			got = append(got, pcm...)
			return nil
		})
		if err != nil || format != c.format {
			t.Errorf("%s: format %q, error %v", name, format, err)
			continue
		}
		if lag, best := locate(got, want, 3000); best < 0.98 {
			t.Errorf("%s: correlation %.4f at a lag of %d, %d samples of %d", name, best, lag, len(got), len(want))
		}
	}
}

func TestDecodeFileEnds(t *testing.T) {
	t.Parallel()
	tr := transcoder(t, audio.TranscoderOptions{})
	full := errors.New("full")
	for _, b := range [][]byte{media(t, "spoken.wav"), ffmpeg(t, media(t, "spoken.wav"), "-f", "flac")} {
		if _, err := audio.DecodeFile(t.Context(), fileOf(t, b), audio.Options{Transcoder: tr}, func([]int16) error { return full }); !errors.Is(err, full) {
			t.Errorf("error %v, want that of the sink", err)
		}
	}
	garbage := append([]byte("\x00\x00\x00\x20ftypisom"), noiseBytes(50_000)...)
	_, err := audio.DecodeFile(t.Context(), fileOf(t, garbage), audio.Options{Transcoder: tr}, func([]int16) error { return nil })
	if !errors.Is(err, audio.ErrFormat) || strings.Contains(err.Error(), "as a stream") {
		t.Errorf("garbage: error %v", err)
	}
}
