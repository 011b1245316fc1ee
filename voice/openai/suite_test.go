package openai_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/openai"
	"github.com/33god/bloodbank/voice/recognisertest"
)

func TestSuite(t *testing.T) {
	f := serve(t, transcribes(behind(t)))
	recognisertest.Run(t, recognisertest.Setup{New: func(t *testing.T) voice.Recogniser {
		c := f.config()
		c.Words = true
		// A machine that is busy with everything else is no fault of the server.
		c.Timeout, c.Patience = time.Minute, time.Minute
		r, err := openai.New(c)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}})
}

// The server of whisper.cpp: another path, no list of models, no token.
func TestPathOfWhisperCpp(t *testing.T) {
	t.Parallel()
	f := serve(t, func(_ int, _ posted, w http.ResponseWriter, _ *http.Request) { says(w, " hello\n there\n") })
	c := f.config()
	c.BaseURL, c.Path = f.URL, "/inference"
	r := open(t, c)
	if err := r.Check(t.Context()); err != nil {
		t.Error(err)
	}
	finals, failed, _ := recognisertest.Hear(t, r, babble(time.Second))
	if recognisertest.Text(finals) != "hello there" || len(failed) > 0 {
		t.Errorf("heard %+v, failures %v", finals, failed)
	}
}

func TestForm(t *testing.T) {
	t.Parallel()
	f := serve(t, func(_ int, _ posted, w http.ResponseWriter, _ *http.Request) { says(w, "hello") })
	c := f.config()
	c.Model, c.Language, c.Prompt, c.Words = "large-v3", "en-GB", "Bloodbank, Tonny", true
	finals, _, _ := recognisertest.Hear(t, open(t, c), babble(2*time.Second))
	if f.count() != 1 || len(finals) != 1 {
		t.Fatalf("%d posts, finals %+v", f.count(), finals)
	}
	want := map[string]string{
		"model": "[large-v3]", "language": "[en]", "prompt": "[Bloodbank, Tonny]", "response_format": "[verbose_json]",
		"timestamp_granularities[]": "[word segment]", "temperature": "[0]",
	}
	p := f.posts[0]
	for k, v := range want {
		if got := fmt.Sprint(p.form[k]); got != v {
			t.Errorf("%s is %s, want %s", k, got, v)
		}
	}
	if length := audio.Duration(int64(len(p.pcm))); length != finals[0].Duration() || length < 2*time.Second {
		t.Errorf("%s of audio for an utterance of %s", length, finals[0].Duration())
	}
	if finals[0].Model != "large-v3" || finals[0].Language != "en" || finals[0].Confidence != nil {
		t.Errorf("%+v", finals[0].Transcription)
	}
}

// A server that knows no verbose_json is asked for json, and only once each way.
func TestServerWithoutVerboseAnswers(t *testing.T) {
	t.Parallel()
	f := serve(t, func(_ int, p posted, w http.ResponseWriter, _ *http.Request) {
		if p.form["response_format"][0] != "json" {
			http.Error(w, "response_format 'verbose_json' is not compatible with this model", http.StatusBadRequest)
			return
		}
		says(w, "hello")
	})
	r := open(t, f.config())
	for range 2 {
		if finals, failed, _ := recognisertest.Hear(t, r, babble(time.Second)); recognisertest.Text(finals) != "hello" || len(failed) > 0 {
			t.Errorf("heard %+v, failures %v", finals, failed)
		}
	}
	if f.count() != 3 {
		t.Errorf("%d posts, want 3", f.count())
	}
}

// Interim text only when configured, and then seldom.
func TestInterim(t *testing.T) {
	t.Parallel()
	f := serve(t, func(_ int, p posted, w http.ResponseWriter, _ *http.Request) { says(w, "one two") })
	recognisertest.Hear(t, open(t, f.config()), babble(8*time.Second))
	if f.count() != 1 {
		t.Errorf("%d posts without interim text, want 1", f.count())
	}
	c := f.config()
	c.Interim = 2 * time.Second
	r := open(t, c)
	s, err := r.Open(t.Context(), voice.StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	pcm := babble(7 * time.Second)
	if err := s.Write(t.Context(), pcm[:len(pcm)-audio.SampleRate]); err != nil {
		t.Fatal(err)
	}
	// Two looks agree: that takes two posts, two seconds apart though the audio is there.
	told := false
	for result := range s.Results() {
		if i, ok := result.(voice.Interim); ok && !told {
			told = true
			if i.Text != "one two" {
				t.Errorf("interim text %q", i.Text)
			}
			if err := errors.Join(s.Write(t.Context(), pcm[len(pcm)-audio.SampleRate:]), s.CloseWrite()); err != nil {
				t.Fatal(err)
			}
		} else if !told {
			// Every look needs audio since the last.
			if err := s.Write(t.Context(), pcm[8000:8000+3*audio.SampleRate]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !told {
		t.Error("no interim text")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if between := f.times[2].Sub(f.times[1]); between < 1900*time.Millisecond {
		t.Errorf("posts for interim text %s apart", between)
	}
}

func TestLongSpeechIsCut(t *testing.T) {
	t.Parallel()
	f := serve(t, func(_ int, _ posted, w http.ResponseWriter, _ *http.Request) { says(w, "hello") })
	c := f.config()
	c.MaxUtterance = 3 * time.Second
	finals, _, _ := recognisertest.Hear(t, open(t, c), babble(7*time.Second))
	if len(finals) < 3 {
		t.Errorf("%d utterances in seven seconds", len(finals))
	}
	for _, p := range f.posts {
		if d := audio.Duration(int64(len(p.pcm))); d > 3*time.Second {
			t.Errorf("%s were posted", d)
		}
	}
}

func TestConfigRefuses(t *testing.T) {
	t.Parallel()
	for word, change := range map[string]func(*openai.Config){
		"BaseURL":      func(c *openai.Config) { c.BaseURL = "localhost:8000" },
		"Interim":      func(c *openai.Config) { c.Interim = time.Second },
		"Attempts":     func(c *openai.Config) { c.Attempts = -1 },
		"Concurrent":   func(c *openai.Config) { c.Concurrent = -1 },
		"Timeout":      func(c *openai.Config) { c.Timeout = -1 },
		"MaxUtterance": func(c *openai.Config) { c.MaxUtterance = time.Minute },
		"MaxAnswer":    func(c *openai.Config) { c.MaxAnswer = -1 },
		"Language":     func(c *openai.Config) { c.Language = "?" },
		"Token":        func(c *openai.Config) { c.Token = "a\nb" },
	} {
		c := openai.Config{BaseURL: "http://127.0.0.1:1"}
		change(&c)
		if _, err := openai.New(c); !mentions(err, word) {
			t.Errorf("%s: %v", word, err)
		}
	}
}

func TestFeatures(t *testing.T) {
	t.Parallel()
	r := open(t, openai.Config{BaseURL: "http://127.0.0.1:1", Languages: []string{"en", "de"}, Language: "de"})
	if got := r.Features(); fmt.Sprint(got.Languages) != "[de en]" || got.AnyLanguage || got.Interim || got.Words {
		t.Errorf("%+v", got)
	}
	if _, err := r.Open(t.Context(), voice.StreamOptions{Language: "fr"}); !errors.Is(err, voice.ErrLanguage) {
		t.Errorf("French: %v", err)
	}
}
