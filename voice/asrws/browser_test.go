package asrws_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/internal/testenv"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/pocketsphinx"
	"github.com/33god/bloodbank/voice/recognisertest"
)

// captions is what the page says at its end.
type captions struct {
	Config  map[string]any
	Interim int
	Frames  int
	Shown   []string
	Kind    string
	Error   string
}

// TestCaptionsInABrowser: a real browser records its microphone in both ways that
// pages of WhisperLiveKit do, and shows what was spoken.
func TestCaptionsInABrowser(t *testing.T) {
	said := []string{"the meeting starts at ten in the morning", "there is a problem with the server"}
	voice := writeVoice(t, said)
	for _, way := range []struct{ as, kind string }{{"webm", "audio/webm;codecs=opus"}, {"pcm", "s16le at 16000"}} {
		t.Run(way.as, func(t *testing.T) {
			s, l, reports := serveCaptions(t)
			testenv.OpenBrowser(t, fmt.Sprintf("%s/?as=%s&lines=%d", s.URL, way.as, len(said)), voice)
			var got captions
			select {
			case got = <-reports:
			case <-time.After(2 * patience):
				t.Fatal("the page never came to its end")
			}
			if got.Error != "" || got.Kind != way.kind || got.Config["type"] != "config" || got.Frames < 20 {
				t.Errorf("%+v", got)
			}
			if !reflect.DeepEqual(got.Shown, said) {
				t.Errorf("the page showed %q, want %q", got.Shown, said)
			}
			if texts := utterances(t, l); !reflect.DeepEqual(texts, said) {
				t.Errorf("the events say %q", texts)
			}
			t.Logf("%s: %d frames, %d states with interim text", got.Kind, got.Frames, got.Interim)
		})
	}
}

// writeVoice writes what the microphone hears: the sentences, with a breath between.
func writeVoice(t *testing.T, sentences []string) string {
	t.Helper()
	pcm := make([]int16, 3*audio.SampleRate/2)
	for _, text := range sentences {
		pcm = append(pcm, recognisertest.Say(t, "kal16", text)...)
		pcm = append(pcm, make([]int16, 3*audio.SampleRate/2)...)
	}
	data := audio.Bytes(nil, pcm)
	le := func(n int) []byte { return []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)} }
	wav := append([]byte("RIFF"), le(36+len(data))...)
	wav = append(wav, "WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data"...)
	wav = append(append(wav, le(len(data))...), data...)
	file := filepath.Join(t.TempDir(), "voice.wav")
	if err := os.WriteFile(file, wav, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// serveCaptions serves the page beside the door of a real recogniser.
func serveCaptions(t *testing.T) (*httptest.Server, *ledger, <-chan captions) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := pocketsphinx.New(pocketsphinx.Config{Command: []string{self}, Env: []string{"BB_TEST_ASR_WORKER=1"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context()); err != nil {
		r.Close()
		t.Skip(err)
	}
	door, _, l := serve(t, setup{Recogniser: r})
	reports := make(chan captions, 1)
	mux := http.NewServeMux()
	mux.Handle("GET /asr", door.Config.Handler)
	mux.Handle("GET /", http.FileServer(http.Dir("testdata/browser")))
	mux.HandleFunc("POST /report", func(_ http.ResponseWriter, r *http.Request) {
		var c captions
		if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
			c.Error = err.Error()
		}
		reports <- c
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s, l, reports
}

func utterances(t *testing.T, l *ledger) (texts []string) {
	t.Helper()
	l.end(t)
	for _, e := range l.all() {
		if e.EventType == bloodbank.TypeVoiceCompleted {
			texts = append(texts, strings.TrimSpace(object(t, e.Payload)["text"].(string)))
		}
	}
	return texts
}
