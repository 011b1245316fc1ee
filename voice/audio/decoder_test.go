package audio_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice/audio"
)

// decode feeds b in pieces and returns all samples, or the first error.
func decode(b []byte, piece int) (pcm []int16, f audio.Format, err error) {
	var d audio.Decoder
	for p := range slices.Chunk(b, piece) {
		if pcm, err = d.Decode(pcm, p); err != nil {
			return pcm, d.Format(), err
		}
	}
	pcm, err = d.Flush(pcm)
	return pcm, d.Format(), err
}

func TestDecodeRaw(t *testing.T) {
	t.Parallel()
	want := noise(0.5, 50*time.Millisecond)
	for _, piece := range []int{1, 3, 86, 4096} {
		got, f, err := decode(audio.Bytes(nil, want), piece)
		if err != nil || f != audio.FormatPCM || !slices.Equal(got, want) {
			t.Errorf("pieces of %d: %d of %d samples, format %q, error %v", piece, len(got), len(want), f, err)
		}
	}
}

func TestDecodeShortAndOddRaw(t *testing.T) {
	t.Parallel()
	for _, b := range []string{"", "\x01", "\x01\x02", "RI", "\x1a\x45", "abcdefg"} {
		got, _, err := decode([]byte(b), 1)
		if err != nil || len(got) != len(b)/2 {
			t.Errorf("%q: %d samples, error %v", b, len(got), err)
		}
	}
}

func TestDecodeWAV(t *testing.T) {
	t.Parallel()
	mono := noise(0.5, 50*time.Millisecond)
	var stereo []int16
	for _, s := range mono {
		stereo = append(stereo, s, s)
	}
	list := "LIST\x05\x00\x00\x00hello\x00"
	for name, b := range map[string][]byte{
		"mono":           wav(wavHead{tag: 1, channels: 1, bits: 16, rate: 16000, dataSize: -1}, mono),
		"stereo":         wav(wavHead{tag: 1, channels: 2, bits: 16, rate: 16000, dataSize: -1}, stereo),
		"size 0":         wav(wavHead{tag: 1, channels: 1, bits: 16, rate: 16000}, mono),
		"size unknown":   wav(wavHead{tag: 1, channels: 1, bits: 16, rate: 16000, dataSize: 0xFFFFFFFF}, mono),
		"chunks before":  wav(wavHead{tag: 1, channels: 1, bits: 16, rate: 16000, dataSize: -1, before: list}, mono),
		"metadata after": wav(wavHead{tag: 1, channels: 1, bits: 16, rate: 16000, dataSize: -1, after: list}, mono),
	} {
		for _, piece := range []int{1, 5, 4096} {
			got, f, err := decode(b, piece)
			if err != nil || f != audio.FormatWAV || !slices.Equal(got, mono) {
				t.Errorf("%s, pieces of %d: %d of %d samples, format %q, error %v", name, piece, len(got), len(mono), f, err)
			}
		}
	}
}

func TestDecodeWAVOtherRate(t *testing.T) {
	t.Parallel()
	got, _, err := decode(wav(wavHead{tag: 1, channels: 1, bits: 16, rate: 48000, dataSize: -1}, tone(500, 0.5, time.Second, 48000)), 172)
	if err != nil {
		t.Fatal(err)
	}
	if c := correlation(got[500:15000], tone(500, 0.5, time.Second, 16000)[500:15000]); c < 0.9999 {
		t.Errorf("correlation %.5f with the tone", c)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	frame := append([]byte{0xFF, 0xFB, 0x90, 0x00}, make([]byte, 413)...)
	adts := []byte("\xff\xf1\x50\x80\x01\x7f\xfcabcd")
	pcm := make([]int16, 8)
	for name, c := range map[string]struct {
		bytes []byte
		says  string
	}{
		"webm":         {[]byte("\x1a\x45\xdf\xa3\x9f\x42\x86\x81"), "ends before its tracks"},
		"webm, middle": {[]byte("\x1f\x43\xb6\x75\x01\xff\xff\xff"), "start a new MediaRecorder"},
		"webm block":   {append([]byte("\xa3\x88\x81\x00\x00\x80abcd\xa3\x88\x81\x00\x00\x80abcd"), 0), "start a new MediaRecorder"},
		"ogg":          {[]byte("OggS\x00\x02\x00\x00"), "ends before its sound"},
		"aac":          {slices.Concat(adts, adts), "aac"},
		"aiff":         {[]byte("FORM\x00\x00\x10\x00AIFFCOMM"), "aiff"},
		"amr":          {[]byte("#!AMR\nabcdef"), "amr"},
		"flac":         {[]byte("fLaC\x00\x00\x00\x22"), "flac"},
		"mp3 tag":      {[]byte("ID3\x04\x00\x00\x00\x00"), "mp3"},
		"mp3 frames":   {append(bytes.Repeat(frame, 2), 0), "mp3"},
		"mp4":          {[]byte("\x00\x00\x00\x20ftypisom"), "mp4"},
		"avi":          {[]byte("RIFF\x00\x00\x00\x00AVI LIST"), "riff"},
		"cut header":   {[]byte("RIFF\x00\x00\x00\x00WAVEfmt "), "ends before"},
		"48 bit":       {wav(wavHead{tag: 1, channels: 1, bits: 48, rate: 16000}, pcm), "48 bits"},
		"half float":   {wav(wavHead{tag: 3, channels: 1, bits: 16, rate: 16000}, pcm), "encoding 3"},
		"adpcm":        {wav(wavHead{tag: 2, channels: 1, bits: 4, rate: 16000}, pcm), "encoding 2"},
		"9 channels":   {wav(wavHead{tag: 1, channels: 9, bits: 16, rate: 16000}, pcm), "9 channels"},
		"no channel":   {wav(wavHead{tag: 1, channels: 0, bits: 16, rate: 16000}, pcm), "0 channels"},
		"4 kHz":        {wav(wavHead{tag: 1, channels: 1, bits: 16, rate: 4000}, pcm), "4000 samples"},
		"huge rate":    {wav(wavHead{tag: 1, channels: 1, bits: 16, rate: 1 << 31}, pcm), "samples a second"},
		"huge chunk":   {[]byte("RIFF\x00\x00\x00\x00WAVEjunk\xff\xff\xff\xff"), "chunk"},
		"data first":   {[]byte("RIFF\x00\x00\x00\x00WAVEdata\x00\x00\x00\x00"), "before its fmt"},
	} {
		for _, piece := range []int{1, 4096} {
			_, _, err := decode(c.bytes, piece)
			var f *audio.FormatError
			if !errors.Is(err, audio.ErrFormat) || !errors.As(err, &f) ||
				!strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "send raw PCM") {
				t.Errorf("%s in pieces of %d: error %v, want one that says %q and what to send", name, piece, err, c.says)
			}
		}
	}
}

// Quiet PCM may begin with the bits of an MPEG header; it must not be refused.
func TestDecodePCMThatLooksLikeMP3(t *testing.T) {
	t.Parallel()
	b := append([]byte{0xFF, 0xFB, 0x90, 0x00}, make([]byte, 2000)...)
	for _, piece := range []int{1, 86, 4096} {
		if pcm, f, err := decode(b, piece); err != nil || f != audio.FormatPCM || len(pcm) != 1002 {
			t.Errorf("pieces of %d: %d samples, format %q, error %v", piece, len(pcm), f, err)
		}
	}
}

func TestDecodeAfterFlush(t *testing.T) {
	t.Parallel()
	var d audio.Decoder
	if _, err := d.Flush(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Decode(nil, []byte{1, 2}); !errors.Is(err, audio.ErrEnded) {
		t.Errorf("error %v, want ErrEnded", err)
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add([]byte("RIFF\x00\x00\x00\x00WAVEfmt "), 3)
	f.Add(wav(wavHead{tag: 1, channels: 2, bits: 16, rate: 44100, dataSize: -1, before: "LIST\x03\x00\x00\x00abc\x00"}, noise(0.1, 5*time.Millisecond)), 7)
	f.Add([]byte("\x1a\x45\xdf\xa3"), 1)
	f.Add([]byte("\xff\xfb\x90\x00aaaaaaaa"), 2)
	f.Add([]byte("plain samples, odd"), 5)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		piece = max(1, min(piece, 1<<12))
		whole, format, err := decode(b, max(1, len(b)))
		cut, cutFormat, cutErr := decode(b, piece)
		if format != cutFormat || (err == nil) != (cutErr == nil) {
			t.Fatalf("whole: %q, %v; pieces of %d: %q, %v", format, err, piece, cutFormat, cutErr)
		}
		if err == nil && !slices.Equal(whole, cut) {
			t.Fatalf("pieces of %d give other samples", piece)
		}
		if format == audio.FormatPCM && len(whole) != len(b)/2 {
			t.Fatalf("%d samples of %d bytes", len(whole), len(b))
		}
	})
}
