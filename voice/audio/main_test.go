package audio_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice/audio"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("AUDIO_TEST_ORPHAN"); path != "" {
		orphan(path)
	}
	goleak.VerifyTestMain(m)
}

// clip reads a real recording, or skips with the reason.
func clip(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("BB_TEST_AUDIO")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "audio")
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Skipf("no real clips here (set BB_TEST_AUDIO to their folder): %v", err)
	}
	return b
}

func tone(hertz, amplitude float64, d time.Duration, rate int) []int16 {
	pcm := make([]int16, int(d.Seconds()*float64(rate)))
	for i := range pcm {
		pcm[i] = int16(amplitude * 32767 * math.Sin(2*math.Pi*hertz*float64(i)/float64(rate)))
	}
	return pcm
}

func quiet(d time.Duration) []int16 { return make([]int16, audio.Samples(d)) }

// noise is white noise of the given amplitude, the same at every run.
func noise(amplitude float64, d time.Duration) []int16 {
	r := rand.New(rand.NewPCG(1, 2))
	pcm := make([]int16, audio.Samples(d))
	for i := range pcm {
		pcm[i] = int16(amplitude * 32767 * (2*r.Float64() - 1))
	}
	return pcm
}

// pink shapes noise with the usual sum of first-order filters.
func pink(amplitude float64, d time.Duration) []int16 {
	var a, b, c float64
	pcm := noise(1, d)
	for i, s := range pcm {
		w := float64(s) / 32767
		a = 0.99765*a + w*0.0990460
		b = 0.96300*b + w*0.2965164
		c = 0.57000*c + w*1.0526913
		pcm[i] = int16(amplitude * 32767 * (a + b + c + w*0.1848) / 6)
	}
	return pcm
}

func join(parts ...[]int16) (all []int16) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

type wavHead struct {
	tag, channels, bits uint16
	rate                uint32
	dataSize            int64 // -1: the true size
	before, after       string
}

func wav(h wavHead, pcm []int16) []byte {
	le := binary.LittleEndian
	data := audio.Bytes(nil, pcm)
	size := uint32(len(data))
	if h.dataSize >= 0 {
		size = uint32(h.dataSize)
	}
	b := append([]byte("RIFF\xff\xff\xff\xffWAVE"), h.before...)
	b = append(b, "fmt \x10\x00\x00\x00"...)
	b = le.AppendUint16(b, h.tag)
	b = le.AppendUint16(b, h.channels)
	b = le.AppendUint32(b, h.rate)
	b = le.AppendUint32(b, h.rate*uint32(h.channels)*2)
	b = le.AppendUint16(b, h.channels*2)
	b = le.AppendUint16(b, h.bits)
	b = append(b, "data"...)
	b = le.AppendUint32(b, size)
	return append(append(b, data...), h.after...)
}
