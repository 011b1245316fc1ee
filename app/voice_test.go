package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/config"
	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/voice"
)

// needRecogniser skips where the recogniser that comes with bb cannot work.
func needRecogniser(t *testing.T, a *App) {
	t.Helper()
	if err := a.voice.recogniser.Check(t.Context()); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
}

// upload posts a recording as OpenAI's clients do.
func upload(t *testing.T, a *App, recording []byte) (status int, answer string) {
	t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile("file", "a.wav")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write(recording) // a buffer takes all
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL()+"/v1/audio/transcriptions", &form)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", w.FormDataContentType())
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return response.StatusCode, string(body)
}

// A recording goes in at OpenAI's endpoint, and its utterance is an event; one that
// is larger than other requests may be is no problem.
func TestRecordingBecomesEvents(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	needRecogniser(t, a)
	recording, err := os.ReadFile("../cli/demo.wav")
	if err != nil {
		t.Fatal(err)
	}
	status, answer := upload(t, a, recording)
	var heard struct{ Text string }
	if err := json.Unmarshal([]byte(answer), &heard); err != nil || status != http.StatusOK || heard.Text != "the meeting starts at ten in the morning" {
		t.Fatalf("%d %s", status, answer)
	}
	f, err := store.ParseFilter("type:"+string(bloodbank.TypeVoiceCompleted), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	page, err := a.store.Query(t.Context(), store.Query{Filter: f})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Events {
		if !strings.Contains(string(e.Raw), heard.Text) {
			t.Errorf("the event: %s", e.Raw)
		}
	}
	if status, answer := upload(t, a, append(recording, make([]byte, 9<<20)...)); status != http.StatusOK {
		t.Errorf("a large one: %d %s", status, answer)
	}
}

// Every door for speech is there and greets in its own words.
func TestVoiceDoorsGreet(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	needRecogniser(t, a)
	for path, want := range map[string]string{
		"/asr":          `"type":"config"`,
		"/api/v1/voice": `"type":"session.started"`,
		"/v1/listen?encoding=linear16&sample_rate=16000": `"type":"Metadata"`,
	} {
		conn, _, err := websocket.Dial(t.Context(), strings.Replace(a.URL(), "http", "ws", 1)+path, nil)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		_, hello, err := conn.Read(t.Context())
		if err != nil || !strings.Contains(string(hello), want) {
			t.Errorf("%s: %s, %v", path, hello, err)
		}
		_ = conn.CloseNow()
	}
}

// The recogniser elsewhere takes as many sessions as the desk does.
func TestSessionsElsewhere(t *testing.T) {
	t.Parallel()
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		_ = c.Write(r.Context(), websocket.MessageText, []byte(`{"type":"config","useAudioWorklet":true,"mode":"full"}`))
		_, _, _ = c.Read(r.Context())
	}))
	defer far.Close()
	const sessions = 120
	r, err := openRecogniser(config.Config{Voice: config.Voice{
		Recogniser: "whisperlive", Upstream: strings.Replace(far.URL, "http", "ws", 1), MaxSessions: sessions,
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	for i := range sessions + 1 {
		_, err := r.Open(t.Context(), voice.StreamOptions{})
		if busy := errors.Is(err, voice.ErrBusy); busy != (i == sessions) || err != nil && !busy {
			t.Fatalf("session %d: %v", i, err)
		}
	}
}
