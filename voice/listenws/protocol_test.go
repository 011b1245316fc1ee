package listenws_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/recognisertest"
	"github.com/33god/bloodbank/voice/wsdoor"
	"github.com/coder/websocket"
)

func TestOneUtterance(t *testing.T) {
	t.Parallel()
	confidence := 0.75
	s, _, l := serve(t, setup{Recogniser: scripted(recognisertest.Script{
		Finals: []string{"Hello, world."},
		Result: voice.Transcription{Language: "en-US", Confidence: &confidence, Speaker: "1", Model: "base", Words: []voice.Word{
			{Text: "Hello,", Start: 0, End: 400 * time.Millisecond, Confidence: 0.5},
			{Text: "world.", Start: 500 * time.Millisecond, End: time.Second, Confidence: 0.25},
		}},
	})})
	c := dial(t, s, "?model=nova-3&smart_format=true&vad_events=true&interim_results=true&utterance_end_ms=1000&language=en-US&encoding=linear16&sample_rate=16000&channels=1&endpointing=25")
	hello := c.expect("Metadata")
	id := hello["request_id"].(string)
	if hello["duration"] != 0.0 || hello["channels"] != 1.0 || fmt.Sprint(hello["models"]) != "[scripted]" {
		t.Errorf("%v", hello)
	}
	c.send(said(1, time.Second))
	if m := c.expect("SpeechStarted"); m["timestamp"] != 0.3 || fmt.Sprint(m["channel"]) != "[0 1]" {
		t.Errorf("%v", m)
	}
	m := c.expect("Results")
	if m["is_final"] != true || m["speech_final"] != true || m["from_finalize"] != false || m["start"] != 0.3 || m["duration"].(float64) < 1 {
		t.Errorf("%v", m)
	}
	want := "map[confidence:0.75 transcript:Hello, world. words:[" +
		"map[confidence:0.5 end:0.7 punctuated_word:Hello, speaker:1 start:0.3 word:hello] " +
		"map[confidence:0.25 end:1.3 punctuated_word:world. speaker:1 start:0.8 word:world]]]"
	if got := fmt.Sprint(best(m)); got != want {
		t.Errorf("said\n%s, want\n%s", got, want)
	}
	if d := m["metadata"].(map[string]any); d["request_id"] != id || d["model_info"].(map[string]any)["name"] != "base" {
		t.Errorf("%v", d)
	}
	// A second of quiet behind the last word is reached by more quiet alone.
	c.send(make([]byte, 32_000))
	if m := c.expect("UtteranceEnd"); m["last_word_end"] != 1.3 {
		t.Errorf("%v", m)
	}
	c.control(`{"type":"CloseStream"}`)
	if m := c.expect("Metadata"); m["duration"] != 3.6 || m["request_id"] != id {
		t.Errorf("%v", m)
	}
	if status := c.status(); status != websocket.StatusNormalClosure {
		t.Errorf("closed with %d", status)
	}
	events := l.all()
	if p := object(t, events[1].Payload); p["session_id"] != id || p["text"] != "Hello, world." {
		t.Errorf("payload %v", p)
	}
}

func TestFinalize(t *testing.T) {
	t.Parallel()
	s, _, _ := serve(t, setup{})
	c := dial(t, s, "")
	c.expect("Metadata")
	c.control(`{"type":"Finalize"}`) // nothing is open: answered all the same
	if m := c.expect("Results"); m["from_finalize"] != true || m["is_final"] != true || m["speech_final"] != false || transcript(m) != "" {
		t.Errorf("%v", m)
	}
	c.send(unfinished())
	c.control(`{"type":"Finalize"}`)
	if m := c.expect("Results"); m["from_finalize"] != true || m["is_final"] != true || transcript(m) != "one" {
		t.Errorf("%v", m)
	}
	// The stream goes on.
	c.control(`{"type":"KeepAlive"}`)
	c.control(`{"type":"SomethingNew"}`)
	c.send(said(1, time.Second))
	if m := c.expect("Results"); m["from_finalize"] != false || transcript(m) != "two" {
		t.Errorf("%v", m)
	}
	c.control(`not JSON`)
	if m := c.expect("Error"); m["description"] == "" || m["request_id"] == "" {
		t.Errorf("%v", m)
	}
	c.control(`{"type":"CloseStream"}`)
	c.expect("Metadata")
}

func TestInterimResults(t *testing.T) {
	t.Parallel()
	const text = "ask not what your country"
	hold := make(chan struct{})
	s, _, _ := serve(t, setup{Recogniser: scripted(recognisertest.Script{
		Finals: slices.Repeat([]string{"ask not"}, 99), Interim: text, Hold: hold})})
	c := dial(t, s, "?interim_results=true")
	c.expect("Metadata")
	c.send(said(0, 0))
	got := make(chan map[string]any, 1)
	go func() {
		m, err := c.next()
		if err != nil {
			t.Error(err)
		}
		got <- m
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var m map[string]any
	for waiting := true; waiting; {
		c.send(syllable())
		select {
		case m = <-got:
			waiting = false
		case <-tick.C:
		}
	}
	if m["type"] != "Results" || m["is_final"] != false || m["speech_final"] != false || m["duration"].(float64) <= 0 {
		t.Fatalf("interim %v", m)
	}
	if said := transcript(m); said == "" || !strings.HasPrefix(text, said) {
		t.Errorf("interim %v", m)
	}
	close(hold)
	c.control(`{"type":"CloseStream"}`)
	if all := c.rest(); transcript(all[len(all)-2]) != "ask not" {
		t.Errorf("%v", all)
	}
}

func TestNoInterimResultsWhenNotWanted(t *testing.T) {
	t.Parallel()
	s, _, _ := serve(t, setup{Recogniser: scripted(recognisertest.Script{Finals: []string{"one"}, Interim: "o ne"})})
	c := dial(t, s, "")
	c.expect("Metadata")
	c.send(said(0, 0))
	for range 15 {
		c.send(syllable())
	}
	c.control(`{"type":"CloseStream"}`)
	if all := c.rest(); len(all) != 2 || all[0]["is_final"] != true {
		t.Errorf("%v", all)
	}
}

func TestBadParameters(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{})
	for _, query := range []string{
		"?encoding=linear16", "?encoding=linear16&sample_rate=x", "?encoding=linear16&sample_rate=7999", "?encoding=opus&sample_rate=48000",
		"?channels=2", "?interim_results=perhaps", "?vad_events=7", "?endpointing=soon", "?endpointing=-1",
		"?utterance_end_ms=1000", "?interim_results=true&utterance_end_ms=999", "?interim_results=true&utterance_end_ms=5001", "?language=tlh",
	} {
		c := dial(t, s, query)
		if m := c.expect("Error"); m["description"] == "" || m["request_id"] == "" {
			t.Errorf("%s: %v", query, m)
		}
		if status := c.status(); status != 4400 {
			t.Errorf("%s: closed with %d", query, status)
		}
	}
	if n := len(l.all()); n != 0 {
		t.Errorf("%d events", n)
	}
}

func TestOtherRates(t *testing.T) {
	t.Parallel()
	s, _, _ := serve(t, setup{})
	for query, bytes := range map[string]int{
		"?encoding=linear16&sample_rate=48000": 96_000, "?encoding=mulaw&sample_rate=8000": 8000, "?encoding=LINEAR16&sample_rate=16000": 32_000,
	} {
		c := dial(t, s, query)
		c.expect("Metadata")
		c.send(make([]byte, bytes))
		c.control(`{"type":"CloseStream"}`)
		if m := c.expect("Metadata"); m["duration"].(float64) < 0.98 || m["duration"].(float64) > 1.02 {
			t.Errorf("%s: a second lasts %v", query, m["duration"])
		}
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{Recogniser: scripted(recognisertest.Script{
		Finals: []string{"x", "two"}, Failures: map[int]error{1: errors.New("engine died")}})})
	c := dial(t, s, "?endpointing=false")
	c.expect("Metadata")
	c.send(said(2, time.Second))
	if m := c.expect("Error"); !strings.Contains(m["description"].(string), "engine died") {
		t.Errorf("%v", m)
	}
	if m := c.expect("Results"); transcript(m) != "two" || m["speech_final"] != false {
		t.Errorf("%v", m)
	}
	c.send(nil)
	if m := c.expect("Error"); !strings.Contains(m["description"].(string), "CloseStream") {
		t.Errorf("%v", m)
	}
	if status := c.status(); status != 4400 {
		t.Errorf("closed with %d", status)
	}
	l.end(t)

	c = dial(t, s, "")
	c.expect("Metadata")
	c.send([]byte("fLaC\x00\x00\x00\x22\x10\x00\x10\x00"))
	if m := c.expect("Error"); !strings.Contains(m["description"].(string), "flac") {
		t.Errorf("%v", m)
	}
	if status := c.status(); status != 4400 {
		t.Errorf("closed with %d", status)
	}
	l.end(t)
}

func TestClientVanishes(t *testing.T) {
	t.Parallel()
	s, desk, l := serve(t, setup{})
	c := dial(t, s, "?vad_events=true")
	c.expect("Metadata")
	c.send(unfinished())
	c.expect("SpeechStarted")
	c.conn.CloseNow()
	if end := l.end(t); end["reason"] != "disconnected" || end["utterances"] != 1.0 {
		t.Errorf("closing payload %v", end)
	}
	if p := object(t, l.all()[1].Payload); p["text"] != "one" || p["truncated"] != true {
		t.Errorf("payload %v", p)
	}
	if n := desk.Status().Waiting; n != 0 {
		t.Errorf("%d sessions wait for a client that cannot come back", n)
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	s, desk, l := serve(t, setup{})
	c := dial(t, s, "?vad_events=true")
	c.expect("Metadata")
	c.send(unfinished())
	c.expect("SpeechStarted")
	done := make(chan struct{})
	go func() { defer close(done); closeDesk(t, desk) }()
	if all := c.rest(); transcript(all[0]) != "one" {
		t.Errorf("%v", all)
	}
	if status := c.status(); status != websocket.StatusGoingAway {
		t.Errorf("closed with %d", status)
	}
	<-done
	if end := l.end(t); end["reason"] != "shutdown" {
		t.Errorf("closing payload %v", end)
	}
}

// Who comes in, in the three ways in which Deepgram's clients say who they are.
func TestAdmission(t *testing.T) {
	t.Parallel()
	s, _, _ := serve(t, setup{MaxSessions: 3, Guard: wsdoor.Guard{Token: "secret"}})
	url := strings.Replace(s.URL, "http", "ws", 1)
	try := func(h http.Header, protocols ...string) int {
		t.Helper()
		conn, r, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPHeader: h, Subprotocols: protocols})
		if err == nil {
			t.Cleanup(func() { conn.CloseNow() })
			if r.Header.Get("Dg-Request-Id") == "" {
				t.Error("no request id in the answer")
			}
		}
		return r.StatusCode
	}
	for name, c := range map[string]struct{ got, want int }{
		"none":    {try(nil), http.StatusUnauthorized},
		"wrong":   {try(http.Header{"Authorization": {"Token x"}}), http.StatusUnauthorized},
		"foreign": {try(http.Header{"Authorization": {"Token secret"}, "Origin": {"https://evil.example"}}), http.StatusForbidden},
		"token":   {try(http.Header{"Authorization": {"Token secret"}}), 101},
		"bearer":  {try(http.Header{"Authorization": {"Bearer secret"}}), 101},
		"browser": {try(nil, "token", "secret"), 101},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", name, c.got, c.want)
		}
	}
	if got := try(http.Header{"Authorization": {"Token secret"}}); got != http.StatusServiceUnavailable {
		t.Errorf("no room: %d", got)
	}
}

func TestLongUtterance(t *testing.T) {
	t.Parallel()
	s, _, _ := serve(t, setup{})
	c := dial(t, s, "")
	c.expect("Metadata")
	c.send(said(0, 0))
	for range int(25 * time.Second / (400 * time.Millisecond)) {
		c.send(syllable())
	}
	c.send(make([]byte, 2*audio.SampleRate))
	c.control(`{"type":"CloseStream"}`)
	all := c.rest()
	if len(all) < 3 || all[0]["speech_final"] != false || all[0]["is_final"] != true {
		t.Errorf("%v", all)
	}
}
