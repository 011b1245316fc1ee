package vosk_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/recognisertest"
	"github.com/33god/bloodbank/voice/vosk"
)

func TestSuite(t *testing.T) {
	f := serve(t, converses(behind(t)))
	recognisertest.Run(t, recognisertest.Setup{New: func(t *testing.T) voice.Recogniser {
		c := f.config()
		// A machine that is busy with everything else is no fault of the server.
		c.Timeout = time.Minute
		r, err := vosk.New(c)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}})
}

// What a server says comes out: interim text, words with their times, confidence.
func TestWhatTheServerSays(t *testing.T) {
	t.Parallel()
	configs := make(chan string, 1)
	f := serve(t, func(c call) {
		_, text, _ := c.next()
		configs <- text
		for i := 1; ; i++ {
			_, text, ok := c.next()
			switch {
			case !ok:
				return
			case text == eof:
				c.result("")
				return
			case i == 10:
				c.partial("hello")
			case i == 20:
				c.result("hello there", 0.5, 1)
			default:
				c.partial("")
			}
		}
	})
	c := f.config()
	c.Model, c.Phrases = "small", []string{"hello there"}
	finals, failed, interims := recognisertest.Hear(t, open(t, c), recognisertest.Silence(3*audio.SampleRate))
	if len(finals) != 1 || len(failed) > 0 || fmt.Sprint(interims) != "[hello]" {
		t.Fatalf("finals %+v, failures %v, interim texts %q", finals, failed, interims)
	}
	got := finals[0].Transcription
	if got.Text != "hello there" || got.Start != 500*time.Millisecond || got.End != 1250*time.Millisecond || *got.Confidence != 0.5 ||
		got.Reason != audio.EndSilence || got.Language != "en-US" || got.Model != "small" || len(got.Words) != 2 || got.Words[1].Start != time.Second {
		t.Errorf("%+v", got)
	}
	if config := <-configs; config != `{"config":{"max_alternatives":0,"phrase_list":["hello there"],"sample_rate":16000,"words":true}}` {
		t.Errorf("config %s", config)
	}
}

// Finalize ends the utterance, with a new connection where the server knows no reset.
// Either way the clock goes on.
func TestFinalize(t *testing.T) {
	t.Parallel()
	for _, knows := range []bool{false, true} {
		f := serve(t, speaks)
		c := f.config()
		c.Reset = knows
		s, err := open(t, c).Open(t.Context(), voice.StreamOptions{})
		if err != nil {
			t.Fatal(err)
		}
		second := recognisertest.Silence(audio.SampleRate)
		if err := errors.Join(s.Write(t.Context(), second), s.Finalize(), s.Write(t.Context(), second), s.Write(t.Context(), second),
			s.Finalize(), s.Finalize(), s.CloseWrite()); err != nil {
			t.Fatal(err)
		}
		var finals []voice.Transcription
		for r := range s.Results() {
			switch r := r.(type) {
			case voice.Final:
				finals = append(finals, r.Transcription)
			case voice.Failed:
				t.Error(r.Err)
			}
		}
		if len(finals) != 2 || finals[0].Text != "word" || finals[1].Text != "word word" || finals[1].Reason != audio.EndRequest ||
			finals[1].Start < time.Second || finals[1].End > 3*time.Second {
			t.Errorf("reset %t: %+v", knows, finals)
		}
		if n := f.count(); knows && n != 1 || !knows && n < 2 {
			t.Errorf("reset %t: %d connections", knows, n)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Speech that the server does not end is ended here, and no word is lost between.
func TestEndlessSpeech(t *testing.T) {
	t.Parallel()
	f := serve(t, speaks)
	c := f.config()
	c.MaxUtterance = 4 * time.Second
	finals, failed, _ := recognisertest.Hear(t, open(t, c), recognisertest.Silence(10*audio.SampleRate))
	if len(failed) > 0 || len(finals) != 3 || finals[0].Reason != audio.EndLength || strings.Count(recognisertest.Text(finals), "word") != 10 {
		t.Errorf("finals %+v, failures %v", finals, failed)
	}
}

func TestConfigRefuses(t *testing.T) {
	t.Parallel()
	for word, change := range map[string]func(*vosk.Config){
		"URL":          func(c *vosk.Config) { c.URL = "http://127.0.0.1:2700" },
		"Timeout":      func(c *vosk.Config) { c.Timeout = -1 },
		"Attempts":     func(c *vosk.Config) { c.Attempts = -1 },
		"MaxUtterance": func(c *vosk.Config) { c.MaxUtterance = time.Minute },
		"Language":     func(c *vosk.Config) { c.Language = "?" },
		"Token":        func(c *vosk.Config) { c.Token = "a\nb" },
	} {
		c := vosk.Config{URL: "ws://127.0.0.1:1"}
		change(&c)
		if _, err := vosk.New(c); !mentions(err, word) {
			t.Errorf("%s: %v", word, err)
		}
	}
}

func TestUnknownLanguage(t *testing.T) {
	t.Parallel()
	r := open(t, vosk.Config{URL: "ws://127.0.0.1:1"})
	if f := r.Features(); !f.AnyLanguage || len(f.Languages) > 0 {
		t.Errorf("%+v", f)
	}
	s, err := r.Open(t.Context(), voice.StreamOptions{Language: "fr"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
