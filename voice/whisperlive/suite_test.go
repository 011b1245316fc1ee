package whisperlive

import (
	"slices"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/recognisertest"
)

// flite knows sentences by how long flite takes to say them.
func flite(t *testing.T) hearing {
	t.Helper()
	sentences := []string{recognisertest.Sentence, "there is a problem with the server", "we need to talk about the budget"}
	var lengths []time.Duration
	for _, text := range sentences {
		ends, err := audio.NewEndpointer(audio.EndpointSettings{})
		if err != nil {
			t.Fatal(err)
		}
		said := slices.Concat(recognisertest.Silence(audio.SampleRate/2), recognisertest.Say(t, "kal16", text), recognisertest.Silence(audio.SampleRate))
		var m measure
		ends.Write(said, &m)
		ends.Flush(&m)
		lengths = append(lengths, m.length)
	}
	return func(pcm []int16) string {
		d := audio.Duration(int64(len(pcm)))
		for i, l := range lengths {
			if max(d-l, l-d) < 60*time.Millisecond {
				return sentences[i]
			}
		}
		return ""
	}
}

type measure struct {
	begun  int64
	length time.Duration
}

func (m *measure) SpeechStart(at int64)                  { m.begun = at }
func (m *measure) SpeechAudio([]int16)                   {}
func (m *measure) SpeechEnd(at int64, _ audio.EndReason) { m.length = audio.Duration(at - m.begun) }

func recogniser(t *testing.T, c Config) *Recogniser {
	t.Helper()
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestSuite(t *testing.T) {
	t.Parallel()
	for name, gen := range map[string]generation{"Modern": modern, "Fork": fork, "WithFFmpeg": withFFmpeg} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hear := flite(t)
			recognisertest.Run(t, recognisertest.Setup{New: func(t *testing.T) voice.Recogniser {
				return recogniser(t, Config{URL: serveFake(t, &fake{gen: gen, hear: hear}).url()})
			}})
		})
	}
}
