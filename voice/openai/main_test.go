package openai_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/openai"
	"github.com/33god/bloodbank/voice/pocketsphinx"
	"github.com/33god/bloodbank/voice/recognisertest"
	"go.uber.org/goleak"
)

// TestMain is a worker of PocketSphinx when the fake server starts this binary again.
func TestMain(m *testing.M) {
	if os.Getenv("BB_TEST_ASR_WORKER") == "1" {
		if err := pocketsphinx.RunWorker(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "ERROR:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

const token = "sk-not-a-secret"

// posted is a request as the fake server read it.
type posted struct {
	form map[string][]string
	pcm  []int16
}

// fake is a transcription server. do answers the n-th post, from 1.
type fake struct {
	*httptest.Server
	do func(n int, p posted, w http.ResponseWriter, r *http.Request)

	mu    sync.Mutex
	posts []posted
	times []time.Time
}

func serve(t *testing.T, do func(n int, p posted, w http.ResponseWriter, r *http.Request)) *fake {
	t.Helper()
	f := &fake{do: do}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+token {
		http.Error(w, `{"error":{"message":"Incorrect API key provided: `+token+`x"}}`, http.StatusUnauthorized)
		return
	}
	switch r.URL.Path {
	case "/v1/models":
		fmt.Fprint(w, `{"object":"list","data":[]}`)
		return
	case "/v1/audio/transcriptions", "/inference":
	default:
		http.NotFound(w, r)
		return
	}
	p, err := read(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	f.posts = append(f.posts, p)
	f.times = append(f.times, time.Now())
	n := len(f.posts)
	f.mu.Unlock()
	f.do(n, p, w, r)
}

func read(r *http.Request) (posted, error) {
	if err := r.ParseMultipartForm(8 << 20); err != nil {
		return posted{}, err
	}
	file, _, err := r.FormFile("file")
	if err != nil {
		return posted{}, err
	}
	b, err := io.ReadAll(file)
	if err != nil {
		return posted{}, err
	}
	var d audio.Decoder
	pcm, err := d.Decode(nil, b)
	if err == nil {
		pcm, err = d.Flush(pcm)
	}
	return posted{form: r.MultipartForm.Value, pcm: pcm}, err
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.posts)
}

func (f *fake) config() openai.Config {
	return openai.Config{BaseURL: f.URL + "/v1/", Token: token, Patience: 20 * time.Second}
}

// says answers with one text.
func says(w http.ResponseWriter, text string) {
	_ = json.NewEncoder(w).Encode(map[string]any{"text": text, "language": "english"})
}

// behind is a PocketSphinx for a server to answer with. The test is skipped where it is
// missing.
func behind(t *testing.T) *pocketsphinx.Recogniser {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := pocketsphinx.New(pocketsphinx.Config{Command: []string{self}, Env: []string{"BB_TEST_ASR_WORKER=1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if err := r.Check(t.Context()); errors.Is(err, voice.ErrUnavailable) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	return r
}

const padding = audio.SampleRate / 2

// hear has a recogniser write down what was posted.
func hear(ctx context.Context, r voice.Recogniser, pcm []int16) ([]voice.Final, error) {
	s, err := r.Open(ctx, voice.StreamOptions{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	all := append(recognisertest.Silence(padding), pcm...)
	if err := errors.Join(s.Write(ctx, append(all, recognisertest.Silence(2*padding)...)), s.CloseWrite()); err != nil {
		return nil, err
	}
	var finals []voice.Final
	for result := range s.Results() {
		switch v := result.(type) {
		case voice.Final:
			finals = append(finals, v)
		case voice.Failed:
			err = v.Err
		}
	}
	return finals, errors.Join(err, ctx.Err())
}

// transcribes answers like a whisper server with words from PocketSphinx.
func transcribes(r voice.Recogniser) func(int, posted, http.ResponseWriter, *http.Request) {
	return func(_ int, p posted, w http.ResponseWriter, req *http.Request) {
		finals, err := hear(req.Context(), r, p.pcm)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		shift := func(d time.Duration) float64 { return max(0, (d - audio.Duration(padding)).Seconds()) }
		var segments []any
		for _, f := range finals {
			var words []any
			for _, word := range f.Words {
				words = append(words, map[string]any{"word": " " + word.Text, "start": shift(word.Start), "end": shift(word.End), "probability": word.Confidence})
			}
			segments = append(segments, map[string]any{"start": shift(f.Start), "end": shift(f.End), "text": f.Text, "avg_logprob": -0.25, "words": words})
		}
		text := recognisertest.Text(finals)
		if p.form["response_format"][0] == "json" {
			says(w, text)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"task": "transcribe", "language": "english", "text": " " + text + "\n", "segments": segments})
	}
}

func open(t *testing.T, c openai.Config) *openai.Recogniser {
	t.Helper()
	r, err := openai.New(c)
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

// babble is a room and d of sound that an endpointer takes for speech.
func babble(d time.Duration) []int16 {
	pcm := make([]int16, audio.Samples(d))
	for i := range pcm {
		if i/1600%3 != 2 {
			pcm[i] = int16(8000 * (i / 16 % 2))
		}
	}
	all := append(recognisertest.Silence(audio.SampleRate/2), pcm...)
	return append(all, recognisertest.Silence(audio.SampleRate)...)
}

func mentions(err error, words ...string) bool {
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			return false
		}
	}
	return true
}
