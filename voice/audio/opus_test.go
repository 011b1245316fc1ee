package audio_test

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/33god/bloodbank/voice/audio"
)

// mustDecode wants no error, and the same samples however the bytes are cut.
func mustDecode(t testing.TB, b []byte, f audio.Format) []int16 {
	t.Helper()
	whole, format, err := decode(b, max(1, len(b)))
	if err != nil || format != f {
		t.Fatalf("format %q, error %v, want %q", format, err, f)
	}
	for _, piece := range []int{1, 1000} {
		if cut, _, err := decode(b, piece); err != nil || !slices.Equal(cut, whole) {
			t.Errorf("pieces of %d: %d samples, error %v; at once: %d samples", piece, len(cut), err, len(whole))
		}
	}
	return whole
}

// alike finds how many samples got lags behind want, and how alike they are then.
// It looks only as far as around says, on both sides of near.
func alike(got, want []int16, near, around int) (lag int, best float64) {
	for d := near - around; d <= near+around; d++ {
		from := max(0, d)
		n := min(len(got)-from, len(want)-(from-d))
		if n < len(want)/2 {
			continue
		}
		if c := correlation(got[from:from+n], want[from-d:from-d+n]); c > best {
			lag, best = d, c
		}
	}
	return lag, best
}

// The files stand for the three modes of Opus; what SILK leaves out at 16 kb/s lowers its bar.
func TestDecodeOpusFiles(t *testing.T) {
	t.Parallel()
	want := mustDecode(t, media(t, "spoken.wav"), audio.FormatWAV)
	for _, c := range []struct {
		file   string
		format audio.Format
		lag    int // samples of pre-skip that the file leaves in
		length int // samples more than the original
		bar    float64
	}{
		{"chromium.webm", audio.FormatWebM, 104, 32*960 - len(want), 0.99},
		{"hybrid.webm", audio.FormatWebM, 0, 0, 0.99},
		{"celt.ogg", audio.FormatOgg, 0, 0, 0.99},
		{"silk.ogg", audio.FormatOgg, 0, 0, 0.95},
	} {
		got := mustDecode(t, media(t, c.file), c.format)
		lag, best := alike(got, want, c.lag, 5)
		if best < c.bar || lag < c.lag-1 || lag > c.lag+1 {
			t.Errorf("%s: correlation %.4f at a lag of %d, want %.2f at %d", c.file, best, lag, c.bar, c.lag)
		}
		if n := len(got) - len(want) - c.length; n < -1 || n > 1 {
			t.Errorf("%s: %d samples of %d, %d of them too many", c.file, len(got), len(want), n)
		}
	}
}

// A recogniser that waits for sound must have each packet as soon as its last byte is here.
func TestDecodeOpusAtOnce(t *testing.T) {
	t.Parallel()
	silk := packets(t, "silk.ogg")
	for name, b := range map[string][]byte{
		"webm": webmStream(silk[:1], 60), "ogg": oggStream(opusHead(0, 0, 0), silk[:1], 2880),
	} {
		var d audio.Decoder
		before, err := d.Decode(nil, b[:len(b)-1])
		if err != nil || len(before) != 0 {
			t.Fatalf("%s: %d samples, error %v", name, len(before), err)
		}
		if after, err := d.Decode(nil, b[len(b)-1:]); err != nil || len(after) != 960 {
			t.Errorf("%s: %d samples with the last byte, error %v, want 960", name, len(after), err)
		}
	}
}

// Lost packets are made up for, so that what comes later is heard at its own time.
func TestDecodeOpusLoss(t *testing.T) {
	t.Parallel()
	silk, celt := packets(t, "silk.ogg"), packets(t, "celt.ogg")
	for name, c := range map[string]struct {
		whole, holed []byte
		holes        [][2]int // samples
	}{
		"webm, 60 ms": {webmStream(silk, 60), webmStream(silk, 60, 10), [][2]int{{9600, 10560}}},
		"webm, 10 ms": {webmStream(celt, 10), webmStream(celt, 10, 50, 51, 52, 90, 91), [][2]int{{8000, 8480}, {14400, 14720}}},
		"ogg, 60 ms":  {oggStream(opusHead(0, 0, 0), silk, 2880), oggStream(opusHead(0, 0, 0), silk, 2880, 3, 4), [][2]int{{2880, 4800}}},
	} {
		want, _, err := decode(c.whole, 1000)
		if err != nil {
			t.Fatal(err)
		}
		got := mustDecode(t, c.holed, map[bool]audio.Format{true: audio.FormatWebM, false: audio.FormatOgg}[strings.HasPrefix(name, "webm")])
		if len(got) != len(want) {
			t.Errorf("%s: %d samples, want %d", name, len(got), len(want))
			continue
		}
		if before := c.holes[0][0]; !slices.Equal(got[:before], want[:before]) {
			t.Errorf("%s: what came before the loss has changed", name)
		}
		for _, h := range c.holes {
			if quiet := decibels(got[h[0]+100 : h[1]]); quiet > 0 {
				t.Errorf("%s: the hole at %d has %.0f dB", name, h[0], quiet)
			}
		}
		after := c.holes[len(c.holes)-1][1] + 4000
		if _, best := alike(got[after:], want[after:], 0, 1); best < 0.99 {
			t.Errorf("%s: long after the loss the correlation is %.4f", name, best)
		}
	}
}

// A jump in the times is silence, but neither for ever nor for free.
func TestDecodeOpusJumps(t *testing.T) {
	t.Parallel()
	p := packets(t, "silk.ogg")[0] // 60 ms
	at := func(ms ...uint64) []byte {
		b := webmHead("A_OPUS", opusHead(0, 0, 0))
		for _, v := range ms {
			b = append(b, element(cluster, element(timecode, number(v)), element(simpleBlock, block(0, 0, p)))...)
		}
		return b
	}
	for name, c := range map[string]struct {
		ms   []uint64
		want float64 // seconds
	}{
		"late start":   {[]uint64{5000, 5060}, 0.12},
		"pause":        {[]uint64{0, 3000}, 3.06},
		"jitter":       {[]uint64{0, 65, 120, 190, 235}, 0.30},
		"backwards":    {[]uint64{7000, 60, 120}, 0.18},
		"long pause":   {[]uint64{0, 3_600_000, 3_600_060}, 30.18},
		"many pauses":  {[]uint64{0, 20_000, 40_000, 60_000, 80_000, 100_000}, 30.66},
		"out of range": {[]uint64{0, 1 << 40}, 30.12},
	} {
		got := mustDecode(t, at(c.ms...), audio.FormatWebM)
		if s := float64(len(got)) / audio.SampleRate; math.Abs(s-c.want) > 0.3 {
			t.Errorf("%s: %.2f s, want %.2f s", name, s, c.want)
		}
	}
}

func TestDecodeWebMLacing(t *testing.T) {
	t.Parallel()
	celt := packets(t, "celt.ogg")[20:23]
	same := [][]byte{celt[0], celt[0], celt[0]}
	wantMixed := mustDecode(t, webmStream(celt, 10), audio.FormatWebM)
	wantSame := mustDecode(t, webmStream(same, 10), audio.FormatWebM)
	size := func(p []byte) []byte { return bytes.Repeat([]byte{255}, len(p)/255) }
	xiph := []byte{2}
	for _, p := range celt[:2] {
		xiph = append(append(xiph, size(p)...), byte(len(p)%255))
	}
	difference := len(celt[1]) - len(celt[0]) + 1<<13 - 1
	ebml := []byte{2, 0x40 | byte(len(celt[0])>>8), byte(len(celt[0])), 0x40 | byte(difference>>8), byte(difference)}
	for name, c := range map[string]struct {
		body []byte
		want []int16
	}{
		"xiph":  {block(0, xiphLacing, append([][]byte{xiph}, celt...)...), wantMixed},
		"ebml":  {block(0, ebmlLacing, append([][]byte{ebml}, celt...)...), wantMixed},
		"fixed": {block(0, fixedLacing, append([][]byte{{2}}, same...)...), wantSame},
	} {
		b := append(webmHead("A_OPUS", opusHead(0, 0, 0)), element(cluster, element(timecode, number(0)), element(simpleBlock, c.body))...)
		if got := mustDecode(t, b, audio.FormatWebM); !slices.Equal(got, c.want) {
			t.Errorf("%s: %d samples differ from those of single blocks (%d)", name, len(got), len(c.want))
		}
	}
}

// What surrounds the sound must not be heard, nor stop it.
func TestDecodeWebMSurroundings(t *testing.T) {
	t.Parallel()
	silk := packets(t, "silk.ogg")[:4]
	want := mustDecode(t, webmStream(silk, 60), audio.FormatWebM)
	head := webmHead("A_OPUS", opusHead(0, 0, 0))
	one := func(i int) []byte { return element(simpleBlock, block(int16(i*60), 0x80, silk[i])) }
	other := block(0, 0x80, []byte("a picture"))
	other[0] = 0x82
	half := number(30_000_000)
	for name, c := range map[string]struct {
		rest []byte
		want []int16
	}{
		"groups": {element(cluster, element(timecode, number(0)), element(group, element(blockInGroup, block(0, 0, silk[0]))), one(1), element(group, element(0x9B, number(60)), element(blockInGroup, block(120, 0, silk[2]))), one(3)), want},
		"two clusters, then cues": {slices.Concat(element(cluster, element(timecode, number(0)), one(0), one(1)),
			element(cues, make([]byte, 100)), element(cluster, element(timecode, number(0)), one(2), one(3))), want},
		"cues after unknown size": {slices.Concat(element(cluster), element(timecode, number(0)), one(0), one(1), one(2), one(3), element(cues, make([]byte, 2<<20))), want},
		"other track":             {element(cluster, element(timecode, number(0)), one(0), element(simpleBlock, other), one(1), element(void, make([]byte, 9)), one(2), one(3)), want},
		"padding":                 {element(cluster, element(timecode, number(0)), one(0), one(1), one(2), element(group, element(blockInGroup, block(180, 0, silk[3])), element(discard, half))), want[:len(want)-480]},
		"cut":                     {element(cluster, element(timecode, number(0)), one(0), one(1), one(2), one(3), one(0))[:len(element(cluster, element(timecode, number(0)), one(0), one(1), one(2), one(3)))+40], want},
	} {
		if got := mustDecode(t, append(slices.Clone(head), c.rest...), audio.FormatWebM); !slices.Equal(got, c.want) {
			t.Errorf("%s: %d samples, want %d, or they differ", name, len(got), len(c.want))
		}
	}
	twice := append(webmStream(silk, 60), webmStream(silk, 60)...)
	if got := mustDecode(t, twice, audio.FormatWebM); len(got) != 2*len(want) || !slices.Equal(got[len(want):], want) {
		t.Errorf("started again: %d samples, want %d", len(got), 2*len(want))
	}
}

func TestDecodeWebMPCM(t *testing.T) {
	t.Parallel()
	want := tone(500, 0.5, 200e6, 16000)
	head := webmHead("A_PCM/INT/LIT", nil, element(sound, element(soundRate, number(math.Float64bits(16000))), element(soundChannels, []byte{1}), element(soundBits, []byte{16})))
	b := append(head, element(cluster, element(timecode, number(0)), element(simpleBlock, block(0, 0, audio.Bytes(nil, want[:1600]))), element(simpleBlock, block(100, 0, audio.Bytes(nil, want[1600:]))))...)
	if got := mustDecode(t, b, audio.FormatWebM); !slices.Equal(got, want) {
		t.Errorf("%d samples, want %d, or they differ", len(got), len(want))
	}
}

func TestDecodeOpusHeader(t *testing.T) {
	t.Parallel()
	celt := packets(t, "celt.ogg")
	plain := mustDecode(t, oggStream(opusHead(0, 0, 0), celt, 480), audio.FormatOgg)
	skipped := mustDecode(t, oggStream(opusHead(3840, 0, 0), celt, 480), audio.FormatOgg)
	if !slices.Equal(skipped, plain[1280:]) {
		t.Errorf("80 ms of pre-skip left %d samples of %d", len(skipped), len(plain))
	}
	louder := mustDecode(t, oggStream(opusHead(0, 6*256, 0), celt, 480), audio.FormatOgg)
	if g := decibels(louder) - decibels(plain); math.Abs(g-6) > 0.2 {
		t.Errorf("a gain of 6 dB gave %.2f dB", g)
	}
}

func TestDecodeOggPages(t *testing.T) {
	t.Parallel()
	silk := packets(t, "silk.ogg")[:6]
	want := mustDecode(t, oggStream(opusHead(0, 0, 0), silk, 2880), audio.FormatOgg)
	head := oggStream(opusHead(0, 0, 0), nil, 0)
	tableOf := func(p []byte) []byte { return append(bytes.Repeat([]byte{255}, len(p)/255), byte(len(p)%255)) }
	long := append([]byte{silk[1][0]&^3 | 3, 0x41, 255, 255, 255, 19}, silk[1][1:]...) // the same frame with 781 bytes of padding
	long = append(long, make([]byte, 781)...)
	other := page{serial: 9, granule: 5, number: 1, body: []byte("not ours")}.bytes()
	for name, c := range map[string]struct {
		rest []byte
		want []int16
	}{
		"one page": {page{granule: 6 * 2880, serial: 7, number: 2, body: slices.Concat(silk...), table: slices.Concat(tableOf(silk[0]), tableOf(silk[1]), tableOf(silk[2]), tableOf(silk[3]), tableOf(silk[4]), tableOf(silk[5]))}.bytes(), want},
		"continued": {slices.Concat(
			page{granule: 2880, serial: 7, number: 2, table: append(tableOf(silk[0]), 255), body: append(slices.Clone(silk[0]), long[:255]...)}.bytes(), other,
			page{flags: 1, granule: -1, serial: 7, number: 3, table: []byte{255, 255}, body: long[255:765]}.bytes(),
			page{flags: 1, granule: 2 * 2880, serial: 7, number: 4, table: tableOf(long[765:]), body: long[765:]}.bytes(),
		), want[:2*960]},
		"trimmed": {slices.Concat(
			page{granule: 2880, serial: 7, number: 2, body: silk[0]}.bytes(),
			page{flags: 4, granule: 2880 + 1440, serial: 7, number: 3, body: silk[1]}.bytes()), want[:960+480]},
		"trimmed at once":  {page{flags: 4, granule: 1440, serial: 7, number: 2, body: silk[0]}.bytes(), want[:480]},
		"joined live":      {page{granule: 1 << 40, serial: 7, number: 2, body: silk[0]}.bytes(), want[:960]},
		"nonsense granule": {page{granule: math.MinInt64, serial: 7, number: 2, body: silk[0]}.bytes(), want[:960]},
		"second half of a lost packet": {slices.Concat(
			page{flags: 1, granule: 0, serial: 7, number: 2, table: append([]byte{3}, tableOf(silk[0])...), body: append([]byte("abc"), silk[0]...)}.bytes(),
		), want[:960]},
		"cut": {page{granule: 2880, serial: 7, number: 2, body: silk[0]}.bytes()[:60], nil},
	} {
		if got := mustDecode(t, append(slices.Clone(head), c.rest...), audio.FormatOgg); !slices.Equal(got, c.want) {
			t.Errorf("%s: %d samples, want %d, or they differ", name, len(got), len(c.want))
		}
	}
	chained := slices.Concat(head, page{flags: 4, granule: 2880, serial: 7, number: 2, body: silk[0]}.bytes(), oggStream(opusHead(0, 0, 0), silk[:1], 2880))
	if got := mustDecode(t, chained, audio.FormatOgg); !slices.Equal(got, append(slices.Clone(want[:960]), want[:960]...)) {
		t.Errorf("chained: %d samples, want %d, or they differ", len(got), 2*960)
	}
}

// Damage ends the stream with words that say what was wrong and what to send.
func TestDecodeOpusRefuses(t *testing.T) {
	t.Parallel()
	silk := packets(t, "silk.ogg")[:2]
	good := webmStream(silk, 60)
	head := webmHead("A_OPUS", opusHead(0, 0, 0))
	in := func(parts ...[]byte) []byte { return append(slices.Clone(head), slices.Concat(parts...)...) }
	flipped := oggStream(opusHead(0, 0, 0), silk, 2880)
	flipped[len(flipped)-3] ^= 1
	for name, c := range map[string]struct {
		bytes []byte
		says  string
	}{
		"vorbis":         {webmHead("A_VORBIS", nil), `holds "A_VORBIS", not Opus`},
		"pcm":            {webmHead("A_PCM/FLOAT/IEEE", nil, element(sound, element(soundBits, []byte{16}))), "16 bits"},
		"encrypted":      {webmHead("A_OPUS", nil, element(codings, []byte{1})), "once more"},
		"surround":       {webmHead("A_OPUS", opusHead(0, 0, 1)), "several streams"},
		"no sound":       {slices.Concat(element(ebmlHead, []byte{}), element(segment), element(tracks, element(entry, element(trackNumber, number(1)), element(trackType, number(1))))), "no sound track"},
		"huge element":   {in(element(cluster), []byte("\xa3\x08\xff\xff\xff\xff")), "at most 1048576"},
		"no size":        {in(element(cluster), []byte("\xa3\xff")), "without a size"},
		"bad id":         {in([]byte{0, 0, 0}), "broken element header"},
		"bad size":       {in(element(cluster), []byte("\xa3\x00")), "broken element header"},
		"overrun":        {in([]byte("\x1f\x43\xb6\x75\x85\xe7\x88")), "longer than its cluster"},
		"block outside":  {in(element(simpleBlock, block(0, 0, silk[0]))), "outside of a cluster"},
		"no tracks":      {slices.Concat(element(ebmlHead, []byte{}), element(segment), element(cluster)), "before its tracks"},
		"empty block":    {in(element(cluster), element(simpleBlock, []byte{0x81, 0})), "ends in its header"},
		"empty packet":   {in(element(cluster), element(simpleBlock, block(0, 0))), "empty Opus packet"},
		"broken packet":  {in(element(cluster), element(simpleBlock, block(0, 0, []byte{3}))), "ends in its header"},
		"long packet":    {in(element(cluster), element(simpleBlock, block(0, 0, []byte{0x1b, 0x3f, 1}))), "packet of 63 frames"},
		"broken lacing":  {in(element(cluster), element(simpleBlock, block(0, xiphLacing, []byte{9, 255}))), "broken lacing"},
		"timecode":       {in(element(cluster), element(timecode, number(1<<60))), "timecode out of range"},
		"ogg checksum":   {flipped, "wrong checksum"},
		"ogg middle":     {page{granule: 9, serial: 7, number: 9, body: silk[0]}.bytes(), "begins in the middle"},
		"ogg vorbis":     {slices.Concat(page{flags: 2, body: []byte("\x01vorbis etc")}.bytes(), page{number: 1, body: []byte("\x03vorbis")}.bytes()), "holds Vorbis, not Opus"},
		"ogg garbage":    {append(oggStream(opusHead(0, 0, 0), silk, 2880), "hello"...), "where a page should begin"},
		"ogg empty":      {append(oggStream(opusHead(0, 0, 0), silk, 2880), page{granule: 9999, serial: 7, number: 4, table: []byte{0}}.bytes()...), "empty Opus packet"},
		"ogg short head": {page{flags: 2, body: []byte("OpusHead\x01")}.bytes(), "broken OpusHead"},
	} {
		for _, piece := range []int{1, 4096} {
			_, _, err := decode(c.bytes, piece)
			if !errors.Is(err, audio.ErrFormat) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "send raw PCM") {
				t.Errorf("%s in pieces of %d: error %v, want one that says %q and what to send", name, piece, err, c.says)
			}
		}
	}
	// The sound before the damage is not lost.
	got, _, err := decode(append(good, 0, 0, 0), 50)
	if len(got) != 2*960 || !errors.Is(err, audio.ErrFormat) {
		t.Errorf("%d samples before the damage, error %v; want %d and one", len(got), err, 2*960)
	}
}

// In pauses an encoder may send packets without sound; they are no noise, and last.
func TestDecodeOpusPause(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"silk.ogg", "celt.ogg"} {
		speech := packets(t, name)[:20]
		length := map[string]int64{"silk.ogg": 60, "celt.ogg": 10}[name]
		all := slices.Clone(speech)
		for range 3000 / length {
			all = append(all, speech[0][:1])
		}
		got := mustDecode(t, webmStream(all, length), audio.FormatWebM)
		if want := len(all) * int(length) * 16; len(got) != want {
			t.Errorf("%s: %d samples, want %d", name, len(got), want)
		}
		if end := decibels(got[len(got)-16000:]); end > 20 {
			t.Errorf("%s: the pause ends with %.0f dB", name, end)
		}
	}
}

// All modes, packet lengths and layouts, against what ffmpeg makes of the same file and,
// where the codec is to be transparent, against the original.
func TestDecodeOpusEncodings(t *testing.T) {
	t.Parallel()
	spoken := media(t, "spoken.wav")
	want := mustDecode(t, spoken, audio.FormatWAV)
	modes := map[string]int{}
	for args, bar := range map[string]float64{
		"-b:a 8k -frame_duration 20 -application voip":        0,
		"-b:a 12k -frame_duration 60 -application voip -ac 2": 0,
		"-b:a 16k -frame_duration 40 -application voip":       0,
		"-b:a 24k -frame_duration 10 -application voip":       0,
		"-b:a 32k -frame_duration 20":                         0.99,
		"-b:a 48k -frame_duration 120 -ac 2":                  0.99,
		"-b:a 64k -frame_duration 10":                         0.99,
		"-b:a 96k -frame_duration 2.5":                        0.99,
		"-b:a 128k -frame_duration 60 -ac 2":                  0.99,
		"-b:a 24k -vbr off -frame_duration 20 -ar 24000":      0.98,
	} {
		for format, more := range map[audio.Format]string{audio.FormatWebM: " -live 1 -f webm", audio.FormatOgg: " -f ogg"} {
			file := ffmpeg(t, spoken, strings.Fields("-c:a libopus "+args+more)...)
			got, f, err := decode(file, 1000)
			if err != nil || f != format || len(got) < len(want)-1 || len(got) > len(want)+1 {
				t.Errorf("%s %s: format %q, %d samples of %d, error %v", format, args, f, len(got), len(want), err)
				continue
			}
			theirs, _, err := decode(ffmpeg(t, file, "-ar", "16000", "-ac", "1", "-f", "s16le"), 1000)
			if err != nil {
				t.Fatal(err)
			}
			_, same := alike(got, theirs, 0, 2)
			_, like := alike(got, want, 0, 2)
			if same < 0.995 || like < bar {
				t.Errorf("%s %s: correlation %.4f with ffmpeg's samples, %.4f with the original", format, args, same, like)
			}
			if format == audio.FormatOgg {
				for _, p := range packetsOf(file) {
					modes[mode(p)]++
				}
			}
		}
	}
	if len(modes) != 3 {
		t.Errorf("not all modes were tried: packets %v", modes)
	}
}

// mode reads it out of a packet's first byte.
func mode(packet []byte) string {
	switch config := packet[0] >> 3; {
	case config < 12:
		return "SILK"
	case config < 16:
		return "hybrid"
	}
	return "CELT"
}
