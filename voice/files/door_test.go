package files_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/files"
	"github.com/33god/bloodbank/voice/recognisertest"
	"github.com/33god/bloodbank/voice/wsdoor"
)

// withWords is a recogniser whose utterances have a word each.
func withWords(finals ...string) voice.Recogniser {
	return scripted(recognisertest.Script{Finals: finals, Result: voice.Transcription{
		Language: "en-US", Words: []voice.Word{{Text: "w", Start: 100 * time.Millisecond, End: 200 * time.Millisecond}}}})
}

func TestFormats(t *testing.T) {
	t.Parallel()
	recording := string(said(2, time.Second))
	for format, want := range map[string]string{
		"":     `{"text":"one <1> two","usage":{"type":"duration","seconds":5}}` + "\n",
		"json": `{"text":"one <1> two","usage":{"type":"duration","seconds":5}}` + "\n",
		"text": "one <1> two\n",
		"srt":  "1\n00:00:00,300 --> 00:00:01,820\none <1>\n\n2\n00:00:02,300 --> 00:00:03,820\ntwo\n\n",
		"vtt":  "WEBVTT\n\n00:00:00.300 --> 00:00:01.820\none &lt;1&gt;\n\n00:00:02.300 --> 00:00:03.820\ntwo\n\n",
		"verbose_json": `{"task":"transcribe","language":"en-US","duration":4.6,"text":"one <1> two",` +
			`"words":[{"word":"w","start":0.4,"end":0.5},{"word":"w","start":2.4,"end":2.5}],` +
			`"segments":[{"id":0,"start":0.3,"end":1.82,"text":"one <1>","event_id":"EVENT1"},` +
			`{"id":1,"start":2.3,"end":3.82,"text":"two","event_id":"EVENT2"}],"usage":{"type":"duration","seconds":5}}` + "\n",
	} {
		t.Run("format "+format, func(t *testing.T) {
			t.Parallel()
			s, _, l := serve(t, setup{Recogniser: withWords("one <1>", "two")})
			fields := []string{"file", recording, "model", "whisper-1", "language", "en", "prompt", "x"}
			if format != "" { // behind the file, as some clients send it
				fields = append(fields, "response_format", format)
			}
			status, header, body := post(t, s, fields...)
			events := l.all()
			if len(events) != 4 {
				t.Fatalf("%d events; %s", len(events), body)
			}
			want := strings.NewReplacer("EVENT1", events[1].EventID.String(), "EVENT2", events[2].EventID.String()).Replace(want)
			if status != http.StatusOK || body != want {
				t.Errorf("%d\n%s, want\n%s", status, body, want)
			}
			kind := "application/json"
			if slices.Contains([]string{"text", "srt", "vtt"}, format) {
				kind = "text/plain; charset=utf-8"
			}
			if header.Get("Content-Type") != kind {
				t.Errorf("type %s", header.Get("Content-Type"))
			}
			p := object(t, events[1].Payload)
			if p["session_id"] != header.Get("X-Session-Id") || p["text"] != "one <1>" || p["source"] != "desktop-client" {
				t.Errorf("payload %v", p)
			}
			if end := l.end(t); end["reason"] != "end" || end["utterances"] != 2.0 {
				t.Errorf("closing payload %v", end)
			}
		})
	}
}

func TestGranularities(t *testing.T) {
	t.Parallel()
	for wish, want := range map[string]string{"word": "words", "segment": "segments", "word,segment": "words segments"} {
		s, _, _ := serve(t, setup{Recogniser: withWords("one")})
		_, _, body := post(t, s, "timestamp_granularities[]", wish, "response_format", "verbose_json", "file", string(said(1, time.Second)))
		var got []string
		for _, key := range []string{"words", "segments"} {
			if _, there := object(t, []byte(body))[key]; there {
				got = append(got, key)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s", wish, body)
		}
	}
}

// problem reads an error in both of its shapes.
func problem(t *testing.T, body string) (message, kind, code string) {
	t.Helper()
	var e struct {
		Detail string
		Error  struct{ Message, Type, Code string }
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil || e.Detail == "" || e.Detail != e.Error.Message {
		t.Errorf("not an error in both shapes: %s (%v)", body, err)
	}
	return e.Error.Message, e.Error.Type, e.Error.Code
}

func TestBadForms(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{Door: files.Options{MaxBytes: 100_000}})
	speech := string(said(1, time.Second))
	for name, c := range map[string]struct {
		fields []string
		status int
		says   string
	}{
		"no file":         {[]string{"model", "x"}, 400, "no field named file"},
		"empty file":      {[]string{"file", ""}, 400, "empty"},
		"two files":       {[]string{"file", speech, "file", speech}, 400, "two fields"},
		"format":          {[]string{"file", speech, "response_format", "docx"}, 400, "response_format"},
		"speakers":        {[]string{"file", speech, "response_format", "diarized_json"}, 400, "diarized_json"},
		"granularity":     {[]string{"file", speech, "timestamp_granularities[]", "letter"}, 400, "granularities"},
		"language":        {[]string{"file", speech, "language", "tlh"}, 400, "en-US"},
		"stream":          {[]string{"file", speech, "stream", "true"}, 400, "stream"},
		"too large":       {[]string{"file", speech + speech}, 413, "100000"},
		"field too large": {[]string{"prompt", strings.Repeat("x", 70_000), "file", speech}, 413, "prompt"},
		"fields":          {append(slices.Repeat([]string{"x", "y"}, 64), "file", speech), 400, "64"},
		"no sound":        {[]string{"file", "RIFF\x04\x00\x00\x00WAVE"}, 400, ""},
		"other audio":     {[]string{"file", "fLaC\x00\x00\x00\x22\x10\x00\x10\x00"}, 400, "flac"},
	} {
		status, _, body := post(t, s, c.fields...)
		message, kind, _ := problem(t, body)
		if status != c.status || !strings.Contains(message, c.says) || kind != "invalid_request_error" {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	for _, e := range l.all() {
		if e.EventType == bloodbank.TypeVoiceCompleted {
			t.Errorf("an utterance of a bad form: %s", e.Payload)
		}
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	s, _, _ := serve(t, setup{Door: files.Options{MaxBytes: 1000, Guard: wsdoor.Guard{Token: "secret"}}})
	send := func(method, kind string, size int, h http.Header) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL, bytes.NewReader(make([]byte, size)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = h
		r.Header.Set("Content-Type", kind)
		status, _, body := do(t, s, r)
		return status, body
	}
	key := func() http.Header { return http.Header{"Authorization": {"Bearer secret"}} }
	for name, c := range map[string]struct {
		method, kind string
		size         int
		header       http.Header
		want         int
	}{
		"GET":          {"GET", "", 0, key(), 405},
		"no token":     {"POST", "multipart/form-data; boundary=x", 9, http.Header{}, 401},
		"foreign page": {"POST", "multipart/form-data; boundary=x", 9, http.Header{"Origin": {"https://evil.example"}}, 403},
		"not a form":   {"POST", "audio/wav", 9, key(), 415},
		"broken form":  {"POST", "multipart/form-data; boundary=x", 9, key(), 400},
		"announced":    {"POST", "multipart/form-data; boundary=x", 2 << 20, key(), 413},
	} {
		status, body := send(c.method, c.kind, c.size, c.header)
		if problem(t, body); status != c.want {
			t.Errorf("%s: %d %s, want %d", name, status, body, c.want)
		}
	}
}

func TestNoRoom(t *testing.T) {
	t.Parallel()
	s, desk, _ := serve(t, setup{MaxSessions: 1})
	ticket, err := desk.Admit(t.Context(), [16]byte{})
	if err != nil {
		t.Fatal(err)
	}
	status, header, body := post(t, s, "file", string(said(1, time.Second)))
	if _, kind, _ := problem(t, body); status != 503 || kind != "server_error" || header.Get("Retry-After") == "" {
		t.Errorf("%d %s", status, body)
	}
	ticket.Return()
	if status, _, body = post(t, s, "file", string(said(1, time.Second))); status != 200 {
		t.Errorf("with room: %d %s", status, body)
	}
}

func TestLostUtterances(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{Recogniser: scripted(recognisertest.Script{
		Finals: []string{"x", "two"}, Failures: map[int]error{1: errors.New("engine died")}})})
	status, _, body := post(t, s, "file", string(said(2, time.Second)))
	if message, kind, _ := problem(t, body); status != 500 || kind != "server_error" || !strings.Contains(message, "1 of 2") || !strings.Contains(message, "engine died") {
		t.Errorf("%d %s", status, body)
	}
	if end := l.end(t); end["utterances"] != 1.0 || end["failed"] != 1.0 {
		t.Errorf("closing payload %v", end)
	}
}

func TestRecordingTooLong(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{Door: files.Options{MaxAudio: 5 * time.Second}})
	status, _, body := post(t, s, "file", string(said(3, time.Second)))
	if message, _, code := problem(t, body); status != 413 || code != "too_large" || !strings.Contains(message, "5s") {
		t.Errorf("%d %s", status, body)
	}
	if end := l.end(t); end["reason"] != "error" {
		t.Errorf("closing payload %v", end)
	}
}

func TestTranscriptionTakesTooLong(t *testing.T) {
	t.Parallel()
	s, desk, l := serve(t, setup{Door: files.Options{Timeout: 50 * time.Millisecond},
		Recogniser: scripted(recognisertest.Script{Finals: []string{"never"}, Hold: make(chan struct{})})})
	status, _, body := post(t, s, "file", string(said(1, time.Second)))
	if _, _, code := problem(t, body); status != 408 || code != "timeout" {
		t.Errorf("%d %s", status, body)
	}
	if end := l.end(t); end["failed"] != 1.0 {
		t.Errorf("closing payload %v", end)
	}
	if n := desk.Status().Sessions; n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

func TestUploadStandsStill(t *testing.T) {
	t.Parallel()
	s, desk, l := serve(t, setup{Door: files.Options{Stall: 50 * time.Millisecond}})
	kind, form := upload(t, "file", string(said(1, time.Second)))
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", kind, len(form))
	if _, err := conn.Write(form[:len(form)/2]); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if message, _, _ := problem(t, string(body)); answer.StatusCode != 408 || !strings.Contains(message, "stood still") {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
	if n := len(l.all()); n != 0 || desk.Status().Sessions != 0 {
		t.Errorf("%d events, %+v", n, desk.Status())
	}
}

// What was heard before the client went is published, and its session ends.
func TestClientVanishes(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s, _, l := serve(t, setup{Recogniser: scripted(recognisertest.Script{Finals: []string{"one", "two"}, Hold: hold})})
	kind, form := upload(t, "file", string(said(40, time.Second))) // more than may wait to be transcribed
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, bytes.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	gone := make(chan error, 1)
	go func() {
		answer, err := s.Client().Do(r)
		if err == nil {
			answer.Body.Close()
		}
		gone <- err
	}()
	release(t, hold)
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("answered: %v", err)
	}
	<-time.After(time.Second) // the door, which waits for room, has heard of it by now
	close(hold)
	if end := l.end(t); end["reason"] != "disconnected" || end["utterances"] != 2.0 {
		t.Errorf("closing payload %v", end)
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s, desk, l := serve(t, setup{Recogniser: scripted(recognisertest.Script{Finals: []string{"one"}, Hold: hold})})
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case hold <- struct{}{}:
		case <-time.After(patience):
			t.Error("no utterance is being written down")
		}
		closing := make(chan struct{})
		go func() { defer close(closing); closeDesk(t, desk) }()
		<-desk.Closing()
		<-time.After(time.Second) // the door, which waits for room, has heard of it by now
		close(hold)
		<-closing
	}()
	status, _, body := post(t, s, "file", string(said(40, time.Second)))
	if message, _, _ := problem(t, body); status != 503 || !strings.Contains(message, "going down") {
		t.Errorf("%d %s", status, body)
	}
	<-done
	if end := l.end(t); end["reason"] != "shutdown" {
		t.Errorf("closing payload %v", end)
	}
}

// The server's own timeouts, which are meant for small requests, do not end this one.
func TestServerTimeouts(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	inner, _, _ := serve(t, setup{Recogniser: scripted(recognisertest.Script{Finals: []string{"one"}, Hold: hold})})
	s := httptest.NewUnstartedServer(inner.Config.Handler)
	s.Config.ReadTimeout, s.Config.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
	s.Start()
	defer s.Close()
	go func() {
		<-time.After(300 * time.Millisecond)
		close(hold)
	}()
	if status, _, body := post(t, s, "file", string(said(1, time.Second)), "response_format", "text"); status != 200 || body != "one\n" {
		t.Errorf("%d %s", status, body)
	}
}

// A format that only ffmpeg knows, when the desk may use it.
func TestFormatsThatNeedFFmpeg(t *testing.T) {
	t.Parallel()
	mp3 := convert(t, said(1, time.Second), "mp3")
	mp4 := convert(t, said(1, time.Second), "mp4")
	for name, recording := range map[string]string{"mp3": mp3, "mp4 with its index at the end": mp4} {
		s, _, _ := serve(t, setup{Transcoder: audio.NewTranscoder(audio.TranscoderOptions{})})
		status, _, body := post(t, s, "file", recording, "response_format", "text")
		if status != 200 || body != "one\n" {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}
