package audio_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/33god/bloodbank/voice/audio"
)

// checkDecode holds for any bytes: cutting them changes nothing, and few bytes do not
// become hours of sound.
func checkDecode(t *testing.T, b []byte, piece int) {
	t.Helper()
	piece = max(1, min(piece, 1<<12))
	whole, format, err := decode(b, max(1, len(b)))
	cut, cutFormat, cutErr := decode(b, piece)
	if format != cutFormat || (err == nil) != (cutErr == nil) || err != nil && err.Error() != cutErr.Error() {
		t.Fatalf("whole: %q, %v; pieces of %d: %q, %v", format, err, piece, cutFormat, cutErr)
	}
	if !slices.Equal(whole, cut) {
		t.Fatalf("pieces of %d: %d samples; at once: %d", piece, len(cut), len(whole))
	}
	if most := 2*1000*len(b) + 31*audio.SampleRate; len(whole) > most {
		t.Fatalf("%d samples of %d bytes", len(whole), len(b))
	}
}

func FuzzWebM(f *testing.F) {
	silk, celt := packets(f, "silk.ogg"), packets(f, "celt.ogg")
	f.Add(webmStream(silk[:3], 60), 7)
	f.Add(webmStream(celt[10:20], 10, 3, 4, 5, 6), 1)
	f.Add(media(f, "hybrid.webm")[:1500], 86)
	f.Add(media(f, "chromium.webm")[:1700], 100)
	f.Add(append(webmHead("A_OPUS", opusHead(3, 9, 0)), element(cluster, element(timecode, number(0)),
		element(simpleBlock, block(0, ebmlLacing, []byte{1, 0x80 | byte(len(celt[0]))}, celt[0], celt[1])),
		element(group, element(blockInGroup, block(20, xiphLacing, []byte{0}, celt[2])), element(discard, number(1_000_000))))...), 3)
	f.Add(append(webmHead("A_PCM/INT/LIT", nil, element(sound, element(soundBits, []byte{16}))),
		element(cluster, element(simpleBlock, block(0, 0, []byte("some samples"))))...), 2)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		if len(b) <= 1<<14 {
			checkDecode(t, b, piece)
		}
	})
}

// The checksums are made right, or nothing would come past them.
func FuzzOgg(f *testing.F) {
	silk, celt := packets(f, "silk.ogg"), packets(f, "celt.ogg")
	f.Add(oggStream(opusHead(312, 0, 0), silk[:3], 2880), 7)
	f.Add(oggStream(opusHead(0, 256, 0), celt[:6], 480, 2, 3), 1)
	f.Add(media(f, "silk.ogg")[:2049], 100)
	f.Add(append(oggStream(opusHead(0, 0, 0), celt[:1], 480), oggStream(opusHead(0, 0, 0), celt[1:2], 480)...), 27)
	f.Add(slices.Concat(oggStream(opusHead(0, 0, 0), nil, 0),
		page{granule: -1, serial: 7, number: 2, table: []byte{255}, body: make([]byte, 255)}.bytes(),
		page{flags: 5, granule: 960, serial: 7, number: 3, body: []byte("the rest")}.bytes()), 5)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		if len(b) <= 1<<14 {
			checkDecode(t, sealed(b), piece)
		}
	})
}

// sealed gives every page in b its right checksum.
func sealed(b []byte) []byte {
	b = slices.Clone(b)
	for at := 0; ; {
		n := bytes.Index(b[at:], []byte("OggS"))
		if n < 0 || len(b) < at+n+27 {
			return b
		}
		at += n
		size := 27 + int(b[at+26])
		if len(b) < at+size {
			return b
		}
		for _, s := range b[at+27 : at+size] {
			size += int(s)
		}
		if len(b) < at+size {
			return b
		}
		clear(b[at+22 : at+26])
		binary.LittleEndian.PutUint32(b[at+22:], oggChecksum(b[at:at+size]))
		at += size
	}
}

func FuzzSniff(f *testing.F) {
	for _, s := range []string{
		"", "\x1a\x45\xdf\xa3", "\x1f\x43\xb6\x75", "OggS", "fLaC", ".snd\x00\x00\x00\x18", "caff\x00\x01", "#!AMR\n", "RIFF\x00\x00\x00\x00WAVE",
		"RIFF\x00\x00\x00\x00AVI ", "FORM\x00\x00\x00\x00AIFC", "RF64", "\x00\x00\x00\x20ftypM4A ", "ID3\x04", "\xff\xfb\x90\x00", "\xff\xf1\x50\x80\x01\x7f\xfcabcd\xff\xf1\x50\x80\x01\x7f\xfc",
		"\xa3\x88\x81\x00\x00\x80abcd\xa3\x88\x81\x00\x00\x80abcd",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, want, _ := decode(b, max(1, len(b)))
		var d audio.Decoder
		for i := range b {
			_, err := d.Decode(nil, b[i:i+1])
			if got := d.Format(); got != audio.FormatUnknown && got != want {
				t.Fatalf("%q after %d bytes, %q after all", got, i+1, want)
			} else if got == audio.FormatUnknown && i > 1<<17 {
				t.Fatal("still not decided")
			}
			if err != nil {
				return
			}
		}
		_, _ = d.Flush(nil)
		if got := d.Format(); len(b) > 0 && got != want {
			t.Fatalf("%q byte by byte, %q at once", got, want)
		}
	})
}
