package audio_test

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice/audio"
)

// hour is an hour of webm, made as it is read: packets of 120 ms with
// the empty frames that an encoder sends in pauses, and now and then some with sound.
func hour(t testing.TB, feed func([]byte)) {
	celt := packets(t, "celt.ogg")
	pause := []byte{0xf8 | 3, 6}
	feed(webmHead("A_OPUS", opusHead(0, 0, 0)))
	for i := range 30_000 {
		at := int64(i) * 120
		if i%50 == 0 {
			feed(element(cluster))
			feed(element(timecode, number(uint64(at))))
		}
		if i%50 != 7 {
			feed(element(simpleBlock, block(int16(at%6000), 0x80, pause)))
			continue
		}
		for k := range 12 {
			feed(element(simpleBlock, block(int16(at%6000)+int16(k*10), 0x80, celt[(i+k)%len(celt)])))
		}
	}
}

// A recorder may run for days, so an hour must leave no more behind than a minute.
func TestDecodeHour(t *testing.T) {
	t.Parallel()
	var d audio.Decoder
	var pcm []int16
	var samples int64
	var early, late runtime.MemStats
	n := 0
	hour(t, func(b []byte) {
		var err error
		if pcm, err = d.Decode(pcm[:0], b); err != nil {
			t.Fatal(err)
		}
		samples += int64(len(pcm))
		if n++; n == 1000 {
			runtime.GC()
			runtime.ReadMemStats(&early)
		}
	})
	runtime.GC()
	runtime.ReadMemStats(&late)
	if got := audio.Duration(samples); got != time.Hour {
		t.Errorf("an hour became %s", got)
	}
	// Other tests run beside this one; what they hold is far less than an hour of anything.
	if grown := int64(late.HeapAlloc) - int64(early.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
}

// Once a stream runs, writing it in small pieces costs no memory.
func TestDecodeAllocates(t *testing.T) {
	ogg := oggStream(opusHead(0, 0, 0), packets(t, "celt.ogg"), 480)
	for name, c := range map[string]struct {
		bytes []byte
		most  float64 // allocations for each write of 86 bytes
	}{
		"raw":         {audio.Bytes(nil, noise(0.5, time.Second)), 0},
		"wav, 48 kHz": {wav(wavHead{tag: 1, channels: 1, bits: 16, rate: 48000, dataSize: 0xFFFFFFFF}, noise(0.5, time.Second)), 0},
		// Those of the Opus decoder: about one for each packet.
		"webm, 60 ms":  {media(t, "chromium.webm"), 0},
		"webm, 10 ms":  {webmStream(packets(t, "celt.ogg"), 10), 1},
		"ogg, 10 ms":   {ogg, 1},
		"ogg in pages": {media(t, "celt.ogg"), 2},
	} {
		pieces := slices.Collect(slices.Chunk(c.bytes, 86))
		var d audio.Decoder
		pcm := make([]int16, 0, 1<<16)
		half := len(pieces) / 2
		for _, p := range pieces[:half] {
			if _, err := d.Decode(pcm, p); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		i := half
		allocs := testing.AllocsPerRun(len(pieces)-half-2, func() {
			if _, err := d.Decode(pcm, pieces[i]); err != nil {
				t.Fatal(err)
			}
			i++
		})
		if allocs > c.most {
			t.Errorf("%s: %.2f allocations for each write", name, allocs)
		}
	}
}

// The page of upstream sends 375 frames of 86 bytes a second.
func BenchmarkDecodeTiny(b *testing.B) {
	frame := audio.Bytes(nil, noise(0.5, 10*time.Millisecond))[:86]
	for name, d := range map[string]audio.RawFormat{"16kHz": {Rate: 16000}, "48kHz": {Rate: 48000}} {
		b.Run(name, func(b *testing.B) {
			d := newDecoder(b, b.Context(), audio.Options{Raw: d})
			var pcm []int16
			b.ReportAllocs()
			for b.Loop() {
				pcm, _ = d.Decode(pcm[:0], frame)
			}
		})
	}
}

// One iteration is the whole sentence: 1.9 s.
func BenchmarkDecodeOpus(b *testing.B) {
	for _, name := range []string{"chromium.webm", "hybrid.webm", "silk.ogg", "celt.ogg"} {
		file := media(b, name)
		for label, piece := range map[string]int{"whole": 32 << 10, "tiny": 86} {
			b.Run(name+"/"+label, func(b *testing.B) {
				var pcm []int16
				b.ReportAllocs()
				for b.Loop() {
					var d audio.Decoder
					for p := range slices.Chunk(file, piece) {
						pcm, _ = d.Decode(pcm[:0], p)
					}
				}
			})
		}
	}
}
