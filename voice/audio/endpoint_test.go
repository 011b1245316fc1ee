package audio_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice/audio"
)

type found struct {
	start, end time.Duration
	why        audio.EndReason
	pcm        []int16
	begun      int64
}

type collector struct {
	t    *testing.T
	all  []found
	open bool
}

func (c *collector) SpeechStart(at int64) {
	if c.open {
		c.t.Fatal("start within an utterance")
	}
	if n := len(c.all); n > 0 && audio.Duration(at) < c.all[n-1].end {
		c.t.Fatalf("utterance at %s begins before the end of the last, %s", audio.Duration(at), c.all[n-1].end)
	}
	c.open = true
	c.all = append(c.all, found{start: audio.Duration(at), begun: at})
}

func (c *collector) SpeechAudio(pcm []int16) {
	u := &c.all[len(c.all)-1]
	u.pcm = append(u.pcm, pcm...)
}

func (c *collector) SpeechEnd(at int64, why audio.EndReason) {
	u := &c.all[len(c.all)-1]
	u.end, u.why, c.open = audio.Duration(at), why, false
	if int64(len(u.pcm)) != at-u.begun {
		c.t.Fatalf("%d samples told for %d of the clock", len(u.pcm), at-u.begun)
	}
}

func utterances(t *testing.T, s audio.EndpointSettings, pcm []int16, piece int) []found {
	t.Helper()
	e, err := audio.NewEndpointer(s)
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{t: t}
	for p := range slices.Chunk(pcm, piece) {
		e.Write(p, c)
	}
	if e.Position() != int64(len(pcm)) {
		t.Fatalf("clock at %d after %d samples", e.Position(), len(pcm))
	}
	e.Flush(c)
	if c.open {
		t.Fatal("utterance still open after Flush")
	}
	for _, u := range c.all {
		if want := pcm[u.begun:][:len(u.pcm)]; !slices.Equal(u.pcm, want) {
			t.Fatalf("audio of the utterance at %s is not that of the stream", u.start)
		}
	}
	return c.all
}

const ms = time.Millisecond

func burst(d time.Duration) []int16 { return tone(600, 0.2, d, audio.SampleRate) }

func TestEndpointBursts(t *testing.T) {
	t.Parallel()
	bed := noise(0.001, 8*time.Second)
	for at, d := range map[time.Duration]time.Duration{1000 * ms: 800 * ms, 3000 * ms: 500 * ms, 5000 * ms: 1000 * ms} {
		for i, s := range burst(d) {
			bed[audio.Samples(at)+int64(i)] += s
		}
	}
	got := utterances(t, audio.EndpointSettings{}, bed, 320)
	want := []found{{start: 700 * ms, end: 2000 * ms}, {start: 2700 * ms, end: 3700 * ms}, {start: 4700 * ms, end: 6200 * ms}}
	if len(got) != len(want) {
		t.Fatalf("%d utterances, want %d: %v", len(got), len(want), spans(got))
	}
	for i, w := range want {
		near(t, "start", got[i].start, w.start)
		near(t, "end", got[i].end, w.end)
		if got[i].why != audio.EndSilence {
			t.Errorf("utterance %d ended by %s", i, got[i].why)
		}
	}
}

func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if d := (got - want).Abs(); d > 60*ms {
		t.Errorf("%s at %s, want about %s", what, got, want)
	}
}

func spans(all []found) (s []string) {
	for _, u := range all {
		s = append(s, u.start.String()+"-"+u.end.String())
	}
	return s
}

func TestEndpointPiecesDoNotMatter(t *testing.T) {
	t.Parallel()
	pcm := join(quiet(400*ms), burst(700*ms), quiet(900*ms), burst(300*ms), quiet(100*ms))
	want := utterances(t, audio.EndpointSettings{}, pcm, len(pcm))
	if len(want) != 2 {
		t.Fatalf("utterances %v, want 2", spans(want))
	}
	for _, piece := range []int{1, 43, 320, 1600} {
		if got := utterances(t, audio.EndpointSettings{}, pcm, piece); !reflect.DeepEqual(got, want) {
			t.Errorf("pieces of %d: %v, want %v", piece, spans(got), spans(want))
		}
	}
}

func TestEndpointHearsNothing(t *testing.T) {
	t.Parallel()
	var clicks []int16
	for range 20 {
		clicks = append(clicks, join(quiet(480*ms), noise(0.5, 20*ms))...)
	}
	for name, pcm := range map[string][]int16{
		"silence":     quiet(10 * time.Second),
		"white noise": noise(0.05, 20*time.Second),
		"pink noise":  pink(0.2, 20*time.Second),
		"clicks":      clicks,
		"hum":         tone(50, 0.1, 10*time.Second, audio.SampleRate),
		"nothing":     nil,
		"one sample":  {1000},
		"dc":          slices.Repeat([]int16{9000}, 100_000),
	} {
		if got := utterances(t, audio.EndpointSettings{}, pcm, 333); len(got) != 0 {
			t.Errorf("%s: speech at %v", name, spans(got))
		}
	}
}

func TestEndpointPauseLengths(t *testing.T) {
	t.Parallel()
	with := func(pause time.Duration) []int16 {
		return join(quiet(600*ms), burst(500*ms), quiet(pause), burst(500*ms), quiet(time.Second))
	}
	if got := utterances(t, audio.EndpointSettings{}, with(400*ms), 320); len(got) != 1 {
		t.Errorf("a pause of 400 ms splits: %v", spans(got))
	}
	if got := utterances(t, audio.EndpointSettings{}, with(800*ms), 320); len(got) != 2 {
		t.Errorf("a pause of 800 ms does not split: %v", spans(got))
	}
	if got := utterances(t, audio.EndpointSettings{End: 300 * ms}, with(400*ms), 320); len(got) != 2 {
		t.Errorf("with End 300 ms a pause of 400 ms does not split: %v", spans(got))
	}
}

func TestEndpointCutsWithoutGap(t *testing.T) {
	t.Parallel()
	// Bursts so close together that no pause ends an utterance, and dips so that the floor stays low.
	pcm := quiet(600 * ms)
	for range 60 {
		pcm = append(pcm, join(burst(350*ms), quiet(60*ms))...)
	}
	got := utterances(t, audio.EndpointSettings{Max: 5 * time.Second}, pcm, 320)
	if len(got) < 5 {
		t.Fatalf("utterances %v, want at least 5", spans(got))
	}
	for i, u := range got[:len(got)-1] {
		if u.why != audio.EndLength || u.end-u.start != 5*time.Second {
			t.Errorf("utterance %d is %s long and ended by %s", i, u.end-u.start, u.why)
		}
		if got[i+1].start != u.end {
			t.Errorf("a gap between %s and %s", u.end, got[i+1].start)
		}
	}
	if last := got[len(got)-1]; last.why != audio.EndStream {
		t.Errorf("the last ended by %s", last.why)
	}
}

// Near the limit a short pause is enough, so that the cut seldom falls into a word.
func TestEndpointPrefersAShortPauseNearTheLimit(t *testing.T) {
	t.Parallel()
	speech := quiet(600 * ms)
	for range 12 {
		speech = append(speech, join(burst(300*ms), quiet(60*ms))...)
	}
	pcm := join(speech, quiet(240*ms), speech)
	got := utterances(t, audio.EndpointSettings{Max: 5 * time.Second}, pcm, 320)
	if len(got) == 0 || got[0].why != audio.EndSilence || got[0].end-got[0].start >= 5*time.Second {
		t.Fatalf("utterances %v, want the first to end in the pause", spans(got))
	}
}

func TestEndpointEndOfStreamKeepsTheLastWord(t *testing.T) {
	t.Parallel()
	pcm := join(quiet(600*ms), burst(505*ms))
	got := utterances(t, audio.EndpointSettings{}, pcm, 320)
	if len(got) != 1 || got[0].why != audio.EndStream || audio.Samples(got[0].end) != int64(len(pcm)) {
		t.Fatalf("utterances %v, want one up to the last sample", spans(got))
	}
	short := join(quiet(100*ms), burst(200*ms))
	if got := utterances(t, audio.EndpointSettings{}, short, 320); len(got) != 1 {
		t.Fatalf("a stream of 300 ms: %v, want one utterance", spans(got))
	}
}

func TestEndpointSettings(t *testing.T) {
	t.Parallel()
	_, err := audio.NewEndpointer(audio.EndpointSettings{End: time.Minute, Max: time.Second, OnDB: 3, OffDB: 5})
	if err == nil {
		t.Fatal("bad settings accepted")
	}
	for _, name := range []string{"End 1m", "Max 1s", "OnDB 3"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q does not name %s", err, name)
		}
	}
}

func TestEndpointRealClips(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"goforward.wav", "cards-001.wav", "cards-002.wav",
		"librispeech-6930-75918-0000.wav", "librispeech-7902-96591-0000.wav"} {
		pcm, _, err := decode(clip(t, name), 4096)
		if err != nil {
			t.Fatal(err)
		}
		got := utterances(t, audio.EndpointSettings{}, join(quiet(2*time.Second), pcm, quiet(2*time.Second)), 320)
		if len(got) != 1 {
			t.Errorf("%s (%s): utterances %v, want 1", name, audio.Duration(int64(len(pcm))), spans(got))
		}
		if got = utterances(t, audio.EndpointSettings{}, pcm, 320); len(got) != 1 {
			t.Errorf("%s alone: utterances %v, want 1", name, spans(got))
		}
	}
}

func BenchmarkEndpointer(b *testing.B) {
	pcm := join(noise(0.001, time.Second), burst(time.Second))
	e, err := audio.NewEndpointer(audio.EndpointSettings{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		e.Write(pcm, deaf{})
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/2, "rtf")
}

type deaf struct{}

func (deaf) SpeechStart(int64)                {}
func (deaf) SpeechAudio([]int16)              {}
func (deaf) SpeechEnd(int64, audio.EndReason) {}
