package audio_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice/audio"
)

// ffmpeg runs the real one on input, or skips the test where there is none.
func ffmpeg(t testing.TB, input []byte, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is missing, so nothing can be converted; run: apt-get install ffmpeg")
	}
	// A file, since some formats are written with their index first only to one.
	out := filepath.Join(t.TempDir(), "out")
	cmd := exec.CommandContext(t.Context(), path, slices.Concat([]string{"-loglevel", "error", "-i", "pipe:0"}, args, []string{out})...)
	cmd.Stdin = bytes.NewReader(input)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg %v: %v\n%s", args, err, said)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func transcoder(t testing.TB, o audio.TranscoderOptions) *audio.Transcoder {
	t.Helper()
	if o.Path == "" {
		if _, err := exec.LookPath("ffmpeg"); err != nil {
			t.Skip("ffmpeg is missing, so nothing can be converted; run: apt-get install ffmpeg")
		}
	}
	tr := audio.NewTranscoder(o)
	t.Cleanup(func() {
		if n := tr.Running(); n != 0 {
			t.Errorf("%d processes are left", n)
		}
	})
	return tr
}

func newDecoder(t testing.TB, ctx context.Context, o audio.Options) *audio.Decoder {
	t.Helper()
	d, err := audio.NewDecoder(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// convert feeds b in pieces and returns all samples, or the first error.
func decodeWith(d *audio.Decoder, b []byte, piece int) (pcm []int16, err error) {
	for p := range slices.Chunk(b, piece) {
		if pcm, err = d.Decode(pcm, p); err != nil {
			return pcm, err
		}
	}
	return d.Flush(pcm)
}

func TestTranscode(t *testing.T) {
	t.Parallel()
	tr := transcoder(t, audio.TranscoderOptions{Limit: 30})
	spoken := media(t, "spoken.wav")
	want := mustDecode(t, spoken, audio.FormatWAV)
	for _, c := range []struct {
		name   string
		args   []string
		format audio.Format
		slack  int // samples that the format may add
	}{
		{"mp3", []string{"-b:a", "64k", "-f", "mp3"}, audio.FormatMP3, 3000},
		{"mp3 without a tag", []string{"-b:a", "64k", "-id3v2_version", "0", "-write_xing", "0", "-f", "mp3"}, audio.FormatMP3, 3000},
		{"flac", []string{"-f", "flac"}, audio.FormatFLAC, 0},
		{"fragmented mp4", []string{"-c:a", "aac", "-b:a", "96k", "-movflags", "frag_keyframe+empty_moov", "-f", "mp4"}, audio.FormatMP4, 3000},
		{"mp4 with its index first", []string{"-c:a", "aac", "-b:a", "96k", "-movflags", "faststart", "-f", "mp4"}, audio.FormatMP4, 3000},
		{"aac", []string{"-c:a", "aac", "-b:a", "96k", "-f", "adts"}, audio.FormatAAC, 3000},
		{"webm with Vorbis", []string{"-c:a", "libvorbis", "-f", "webm"}, audio.FormatWebM, 3000},
		{"ogg with Vorbis", []string{"-c:a", "libvorbis", "-f", "ogg"}, audio.FormatOgg, 3000},
		{"ogg with FLAC", []string{"-c:a", "flac", "-f", "ogg"}, audio.FormatOgg, 0},
		{"aiff", []string{"-f", "aiff"}, audio.FormatAIFF, 0},
		{"au", []string{"-f", "au"}, audio.FormatAU, 0},
		{"w64", []string{"-f", "w64"}, audio.FormatW64, 0},
		{"caf", []string{"-f", "caf"}, audio.FormatCAF, 0},
		{"wma", []string{"-c:a", "wmav2", "-f", "asf"}, audio.FormatASF, 5000},
		{"ADPCM in WAV", []string{"-c:a", "adpcm_ms", "-f", "wav"}, audio.FormatWAV, 3000},
		{"RF64", []string{"-rf64", "always", "-f", "wav"}, audio.FormatRIFF, 0},
	} {
		b := ffmpeg(t, spoken, c.args...)
		d := newDecoder(t, t.Context(), audio.Options{Transcoder: tr})
		got, err := decodeWith(d, b, 777)
		if err != nil || d.Format() != c.format {
			t.Errorf("%s: format %q, error %v", c.name, d.Format(), err)
			continue
		}
		lag, best := locate(got, want, c.slack)
		if best < 0.98 || len(got) < len(want)-10-c.slack/8 || len(got) > len(want)+c.slack+10 {
			t.Errorf("%s: correlation %.4f at a lag of %d, %d samples of %d", c.name, best, lag, len(got), len(want))
		}
	}
}

// Music files begin with pictures: the small probe must not end in them.
func TestTranscodeBigTag(t *testing.T) {
	t.Parallel()
	tr := transcoder(t, audio.TranscoderOptions{})
	spoken := media(t, "spoken.wav")
	flac := ffmpeg(t, spoken, "-f", "flac")
	picture := append([]byte{6, 0x04, 0, 0}, make([]byte, 0x40000)...)
	for name, b := range map[string][]byte{
		"mp3":  slices.Concat([]byte("ID3\x03\x00\x00\x00\x10\x00\x00"), make([]byte, 0x10<<14), ffmpeg(t, spoken, "-id3v2_version", "0", "-f", "mp3")),
		"flac": slices.Concat(flac[:42], picture, flac[42:]),
	} {
		d := newDecoder(t, t.Context(), audio.Options{Transcoder: tr})
		if pcm, err := decodeWith(d, b, 4000); err != nil || len(pcm) < 29_000 {
			t.Errorf("%s: %d samples, error %v", name, len(pcm), err)
		}
	}
}

// locate looks for a word of want in got, and then compares all of it.
func locate(got, want []int16, most int) (lag int, best float64) {
	const from, to = 8000, 10_000
	for d := -most; d <= most; d++ {
		if c := correlation(want[from:to], got[from+d:to+d]); c > best {
			lag, best = d, c
		}
	}
	return alike(got, want, lag, 0)
}

// Sound comes out while the stream goes on, and Ready says so without more bytes.
func TestTranscodeLive(t *testing.T) {
	t.Parallel()
	tr := transcoder(t, audio.TranscoderOptions{})
	b := ffmpeg(t, media(t, "spoken.wav"), "-af", "aloop=loop=3:size=29680", "-b:a", "32k", "-f", "mp3")
	d := newDecoder(t, t.Context(), audio.Options{Transcoder: tr})
	if d.Ready() != nil {
		t.Error("ready before there is a format")
	}
	pcm, err := d.Decode(nil, b[:len(b)*9/10])
	for limit := time.After(20 * time.Second); err == nil && len(pcm) == 0; {
		select {
		case <-d.Ready():
			pcm, err = d.Decode(pcm, nil)
		case <-limit:
			t.Fatal("no sound of an open stream within 20 s")
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The limit is for processes at a time: one that ends makes room.
func TestTranscodeLimit(t *testing.T) {
	t.Parallel()
	tr := transcoder(t, audio.TranscoderOptions{Limit: 1})
	flac := ffmpeg(t, media(t, "spoken.wav"), "-f", "flac")
	first := newDecoder(t, t.Context(), audio.Options{Transcoder: tr})
	if _, err := first.Decode(nil, flac[:100]); err != nil || tr.Running() != 1 {
		t.Fatalf("error %v, %d processes", err, tr.Running())
	}
	second := newDecoder(t, t.Context(), audio.Options{Transcoder: tr})
	if _, err := second.Decode(nil, flac[:100]); !errors.Is(err, audio.ErrBusy) || errors.Is(err, audio.ErrFormat) {
		t.Errorf("error %v, want ErrBusy", err)
	}
	if err := first.Close(); err != nil || tr.Running() != 0 {
		t.Errorf("closed: error %v, %d processes", err, tr.Running())
	}
	if _, err := first.Decode(nil, flac[:100]); !errors.Is(err, audio.ErrEnded) {
		t.Errorf("after Close: error %v, want ErrEnded", err)
	}
	third := newDecoder(t, t.Context(), audio.Options{Transcoder: tr})
	if pcm, err := decodeWith(third, flac, 1000); err != nil || len(pcm) == 0 {
		t.Errorf("after the first was closed: %d samples, error %v", len(pcm), err)
	}
}

func TestTranscodeGarbage(t *testing.T) {
	t.Parallel()
	tr := transcoder(t, audio.TranscoderOptions{})
	for name, b := range map[string][]byte{
		"flac":     append([]byte("fLaC"), noiseBytes(50_000)...),
		"mp4":      append([]byte("\x00\x00\x00\x20ftypisom"), noiseBytes(50_000)...),
		"cut flac": []byte("fLaC\x00\x00\x00\x22"),
		"late mp4": ffmpeg(t, media(t, "spoken.wav"), "-c:a", "aac", "-f", "mp4"), // its index comes last
	} {
		d := newDecoder(t, t.Context(), audio.Options{Transcoder: tr})
		_, err := decodeWith(d, b, 1000)
		if name == "late mp4" && err == nil {
			continue // small enough for ffmpeg to hold
		}
		if !errors.Is(err, audio.ErrFormat) || !strings.Contains(err.Error(), "send raw PCM") {
			t.Errorf("%s: error %v, want a FormatError", name, err)
		}
		if _, again := d.Decode(nil, b[:8]); again == nil {
			t.Errorf("%s: no error after the error", name)
		}
	}
}

func noiseBytes(n int) []byte {
	return audio.Bytes(nil, noise(1, time.Duration(n/32)*time.Millisecond))
}

func TestTranscodeWithoutFFmpeg(t *testing.T) {
	t.Parallel()
	tr := transcoder(t, audio.TranscoderOptions{Path: filepath.Join(t.TempDir(), "ffmpeg")})
	for _, b := range []string{"fLaC\x00\x00\x00\x22", string(webmHead("A_VORBIS", nil))} {
		d := newDecoder(t, t.Context(), audio.Options{Transcoder: tr})
		_, err := d.Decode(nil, []byte(b))
		if !errors.Is(err, audio.ErrFormat) || !strings.Contains(err.Error(), "install ffmpeg on the server, or send raw PCM") {
			t.Errorf("%.4q: error %v", b, err)
		}
	}
}

// script is a stand-in for ffmpeg.
func script(t *testing.T, text string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the stand-in for ffmpeg is a shell script")
	}
	path := filepath.Join(t.TempDir(), "ffmpeg")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTranscodeFaults(t *testing.T) {
	t.Parallel()
	flac := append([]byte("fLaC"), make([]byte, 2<<20)...)
	for name, c := range map[string]struct {
		script string
		is     error
		says   string
	}{
		"frozen":              {"exec sleep 1000", audio.ErrTranscoder, "did nothing for"},
		"frozen with a child": {"sleep 1000", audio.ErrTranscoder, "did nothing for"},
		"deaf":                {"exec <&-; sleep 1000", audio.ErrTranscoder, "did nothing for"},
		"mute":                {"exec >&-; sleep 1000", audio.ErrTranscoder, "did nothing for"},
		"killed":              {"kill -9 $$", audio.ErrTranscoder, "killed"},
		"fails":               {"echo first >&2; echo pipe:0: not my cup of tea >&2; exit 3", audio.ErrFormat, "(not my cup of tea)"},
		"fails wordlessly":    {"exit 3", audio.ErrFormat, "exit code 3"},
		"no sound":            {"cat >/dev/null", audio.ErrFormat, "holds no sound"},
		"talks too much":      {"head -c 100000 /dev/zero >&2; echo >&2; echo the end >&2; exit 1", audio.ErrFormat, "the end"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := transcoder(t, audio.TranscoderOptions{Path: script(t, c.script), Stall: 300 * time.Millisecond})
			d := newDecoder(t, t.Context(), audio.Options{Transcoder: tr})
			_, err := decodeWith(d, flac, 100_000)
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
		})
	}
}

// An ffmpeg that gives more than anybody takes waits, and dies with the context.
func TestTranscodeContext(t *testing.T) {
	t.Parallel()
	tr := transcoder(t, audio.TranscoderOptions{Path: script(t, "cat /dev/zero")})
	ctx, cancel := context.WithCancelCause(t.Context())
	d := newDecoder(t, ctx, audio.Options{Transcoder: tr})
	if _, err := d.Decode(nil, []byte("fLaC\x00\x00\x00\x22")); err != nil {
		t.Fatal(err)
	}
	var pcm []int16
	for len(pcm) < 100_000 {
		<-d.Ready()
		var err error
		if pcm, err = d.Decode(pcm, nil); err != nil {
			t.Fatal(err)
		}
	}
	reason := errors.New("the client has left")
	cancel(reason)
	var err error
	for err == nil {
		<-d.Ready()
		pcm, err = d.Decode(pcm[:0], nil)
	}
	if !errors.Is(err, reason) {
		t.Errorf("error %v, want %v", err, reason)
	}
}
