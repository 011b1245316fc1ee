package asrws_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/recognisertest"
	"github.com/coder/websocket"
)

func TestProtocolLiterally(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{Recogniser: scripted(recognisertest.Script{
		Finals: []string{"a <b> & c"}, Result: voice.Transcription{Language: "en-US"}})})
	c := dial(t, s, "?language=en&mode=full&source=chrome-extension&target=tonny&session_id=0198c0de-0000-7000-8000-000000000001&token=x&target_language=fr")
	raw, greeting := c.read()
	token := greeting["resume_token"].(string)
	opened := l.all()[0].EventID.String()
	want := `{"type":"config","useAudioWorklet":true,"mode":"full","session_id":"0198c0de-0000-7000-8000-000000000001",` +
		`"resume_token":"` + token + `","received_bytes":0,"audio_ms":0,"event_id":"` + opened + `","sample_rate":16000,"language":"en-US","recogniser":"scripted"}`
	if raw != want {
		t.Errorf("config\n%s, want\n%s", raw, want)
	}
	const tail = `"buffer_transcription":"","buffer_diarization":"","buffer_translation":"","remaining_time_transcription":0.0,` +
		`"remaining_time_transcription_processing":0.0,"remaining_time_transcription_policy":0.0,"remaining_time_diarization":0.0`
	if raw, _ = c.read(); raw != `{"status":"no_audio_detected","lines":[],`+tail+"}" {
		t.Errorf("first state %s", raw)
	}
	c.send(said(1, time.Second))
	raw, _ = c.until(func(m map[string]any) bool { return m["received_bytes"] == 83200.0 && len(texts(m)) == 1 })
	event := l.all()[1]
	want = `{"status":"active_transcription","lines":[{"speaker":1,"text":"a <b> & c","start":"0:00:00.30","end":"0:00:01.82",` +
		`"detected_language":"en","event_id":"` + event.EventID.String() + `"}],` + tail +
		`,"received_bytes":83200,"finished_ms":2600,"last_utterance":1}`
	if raw != want {
		t.Errorf("state\n%s, want\n%s", raw, want)
	}
	c.send(nil)
	if raw, _ = c.read(); raw != `{"type":"ready_to_stop"}` {
		t.Errorf("after the end %s", raw)
	}
	if err := c.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("close: %v", err)
	}
	p := object(t, event.Payload)
	if p["source"] != "chrome-extension" || p["target"] != "tonny" || p["session_id"] != "0198c0de-0000-7000-8000-000000000001" {
		t.Errorf("payload %s", event.Payload)
	}
	if end := l.end(t); end["reason"] != "end" || end["utterances"] != 1.0 {
		t.Errorf("closing payload %v", end)
	}
}

func TestFinalsInTheTailComeBeforeReadyToStop(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{})
	c := dial(t, s, "")
	c.greeting()
	b := said(3, 500*time.Millisecond)
	for piece := range slices.Chunk(b[:len(b)-20_001], 85) {
		c.send(piece)
	}
	c.send(nil)
	states := c.rest()
	if got := texts(states[len(states)-1]); !reflect.DeepEqual(got, []string{"one", "two", "three"}) {
		t.Errorf("last lines %q", got)
	}
	if n := len(l.all()); n != 5 {
		t.Errorf("%d events, want 5", n)
	}
}

func TestInterimText(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s, _, _ := serve(t, setup{Recogniser: scripted(recognisertest.Script{
		Finals: slices.Repeat([]string{"ask not"}, 99), Interim: "ask not what your country", Hold: hold})})
	c := dial(t, s, "")
	c.greeting()
	// Speech goes on until there is interim text, however busy the machine is.
	got := make(chan []byte, 1)
	go func() {
		var b []byte
		var err error
		for err == nil && (b == nil || bytes.Contains(b, []byte(`"buffer_transcription":""`))) {
			_, b, err = c.conn.Read(c.ctx)
		}
		got <- b
	}()
	c.send(said(0, 0))
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var raw []byte
	for raw == nil {
		c.send(syllable())
		select {
		case raw = <-got:
		case <-tick.C:
		}
	}
	m := object(t, raw)
	if text := m["buffer_transcription"].(string); text == "" || !strings.HasPrefix("ask not what your country", text) || m["status"] != "active_transcription" || len(texts(m)) != 0 {
		t.Errorf("interim state %v", m)
	}
	if lag := m["remaining_time_transcription"].(float64); lag <= 0 {
		t.Errorf("lag %g while an utterance is open", lag)
	}
	close(hold)
	c.send(nil)
	states := c.rest()
	if last := states[len(states)-1]; last["buffer_transcription"] != "" || len(texts(last)) == 0 || texts(last)[0] != "ask not" {
		t.Errorf("last state %v", last)
	}
}

func TestBadParameters(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{})
	for _, query := range []string{"?session_id=123", "?session_id={0198c0de-0000-7000-8000-000000000001}", "?source=phone", "?language=xx", "?target=" + strings.Repeat("x", 300),
		"?endpoint_ms=soon", "?max_utterance_ms=1", "?after=1", "?compat=1", "?mode=" + strings.Repeat("x", 300), "?resume_token=x"} {
		c := dial(t, s, query)
		if _, m := c.read(); m["type"] != "error" || m["error"] == "" || len(m) != 2 {
			t.Errorf("%s: %v", query, m)
		}
		if _, _, err := c.conn.Read(c.ctx); websocket.CloseStatus(err) != 4400 {
			t.Errorf("%s: %v, want close code 4400", query, err)
		}
	}
	if n := len(l.all()); n != 0 {
		t.Errorf("%d events of sessions that never were", n)
	}
}

func TestRefusedBeforeTheUpgrade(t *testing.T) {
	t.Parallel()
	missing := errors.Join(voice.ErrUnavailable, errors.New("run: apt-get install libpocketsphinx3"))
	broken, _, _ := serve(t, setup{Recogniser: scripted(recognisertest.Script{Unavailable: missing})})
	locked, _, _ := serve(t, setup{Token: "secret", Origins: []string{"https://ok.example"}})
	for _, c := range []struct {
		url, origin, says string
		status            int
	}{
		{broken.URL, "", "apt-get install", 503},
		{locked.URL, "", "token", 403},
		{locked.URL + "?token=wrong", "", "token", 403},
		{locked.URL + "?token=secret", "https://evil.example", "origin", 403},
		{locked.URL + "?token=secret", "null", "origin", 403},
		{locked.URL + "?token=secret", "", "", 101},
		{locked.URL + "?token=secret", "https://ok.example", "", 101},
		{locked.URL + "?token=secret", "http://localhost:5173", "", 101},
		{locked.URL + "?token=secret", "chrome-extension://abcdef", "", 101},
		{locked.URL + "?token=secret", locked.URL, "", 101},
	} {
		header := http.Header{}
		if c.origin != "" {
			header.Set("Origin", c.origin)
		}
		conn, answer, err := websocket.Dial(t.Context(), c.url, &websocket.DialOptions{HTTPHeader: header})
		if err == nil {
			conn.CloseNow()
		}
		if answer == nil || answer.StatusCode != c.status {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if c.status == 101 {
			continue
		}
		b, _ := io.ReadAll(answer.Body)
		if !strings.Contains(string(b), c.says) || object(t, b)["error"] == nil {
			t.Errorf("%+v: body %s", c, b)
		}
	}
	page, _, err := websocket.Dial(t.Context(), locked.URL, &websocket.DialOptions{Subprotocols: []string{"token", "secret"}})
	if err != nil {
		t.Fatalf("the token of a page: %v", err)
	}
	if page.CloseNow(); page.Subprotocol() != "token" {
		t.Errorf("a browser would hang up: subprotocol %q", page.Subprotocol())
	}
	answer, err := http.Get(broken.URL)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusBadRequest {
		t.Errorf("plain GET: %d", answer.StatusCode)
	}
}

func TestSessionsAreCounted(t *testing.T) {
	t.Parallel()
	s, d, l := serve(t, setup{MaxSessions: 1})
	first := dial(t, s, "")
	first.greeting()
	_, answer, err := websocket.Dial(t.Context(), s.URL, nil)
	if err == nil || answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Fatalf("second session: %v, %v", err, answer)
	}
	first.conn.CloseNow()
	l.end(t)
	deadline := time.After(patience)
	for d.Status().Sessions != 0 {
		select {
		case <-deadline:
			t.Fatal("the place of a client that is gone is still taken")
		default:
		}
	}
	dial(t, s, "").greeting()
}

// What was said before the client vanished is transcribed and published.
func TestClientVanishesMidUtterance(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{})
	c := dial(t, s, "")
	c.greeting()
	b := said(2, time.Second)
	c.send(b[:len(b)-45_000])
	c.conn.CloseNow()
	if end := l.end(t); end["reason"] != "disconnected" || end["utterances"] != 2.0 {
		t.Errorf("closing payload %v", end)
	}
	if n := len(l.all()); n != 4 {
		t.Errorf("%d events, want 4", n)
	}
}

func TestAudioThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for name, b := range map[string][]byte{
		"mp4":  []byte("\x00\x00\x00\x20ftypisom"),
		"riff": []byte("RIFF\x00\x00\x00\x00AVI LIST"),
	} {
		s, _, l := serve(t, setup{})
		c := dial(t, s, "")
		c.greeting()
		c.send(b)
		states := c.rest()
		last := states[len(states)-1]
		if last["status"] != "error" || !strings.Contains(last["error"].(string), name) || !strings.Contains(last["error"].(string), "send raw PCM") {
			t.Errorf("%s: %v", name, states)
		}
		if end := l.end(t); end["reason"] != "error" {
			t.Errorf("%s: closing payload %v", name, end)
		}
	}
}

func TestHalfAHeaderAtTheEnd(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{})
	c := dial(t, s, "")
	c.greeting()
	c.send([]byte("RIFF\x00\x00\x00\x00WAVEfmt "))
	c.send(nil)
	if states := c.rest(); states[len(states)-1]["status"] != "error" {
		t.Errorf("states %v", states)
	}
	l.end(t)
}

// Frames that a hostile or broken client sends: nothing dies, the session goes on.
func TestOddFrames(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{})
	c := dial(t, s, "")
	c.greeting()
	for _, text := range []string{"", "hello", `{"type":"KeepAlive"}`, strings.Repeat("x", 100_000)} {
		if err := c.conn.Write(c.ctx, websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		c.send([]byte{1})
	}
	c.send(said(1, time.Second))
	for range 10_000 {
		c.send(nil)
	}
	c.send(said(1, time.Second))
	states := c.rest()
	if got := texts(states[len(states)-1]); !reflect.DeepEqual(got, []string{"one"}) {
		t.Errorf("lines %q; audio after the end must not count", got)
	}
	if end := l.end(t); end["utterances"] != 1.0 {
		t.Errorf("closing payload %v", end)
	}
}

func TestHugeFrames(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{MaxFrame: 1 << 20})
	c := dial(t, s, "")
	c.greeting()
	c.send(append(said(2, time.Second), make([]byte, 900_000-133_000)...))
	if err := c.conn.Write(c.ctx, websocket.MessageBinary, bytes.Repeat([]byte{1}, 2<<20)); err == nil {
		for err == nil {
			_, _, err = c.conn.Read(c.ctx)
		}
		if code := websocket.CloseStatus(err); code != websocket.StatusMessageTooBig && code != -1 {
			t.Errorf("close code %d", code)
		}
	}
	if end := l.end(t); end["reason"] != "disconnected" || end["utterances"] != 2.0 {
		t.Errorf("closing payload %v", end)
	}
}

func TestUtteranceThatIsLostIsTold(t *testing.T) {
	t.Parallel()
	s, _, _ := serve(t, setup{Recogniser: scripted(recognisertest.Script{
		Finals: []string{"", "two"}, Failures: map[int]error{1: errors.New("the worker process died")}})})
	c := dial(t, s, "")
	c.greeting()
	c.send(said(1, time.Second))
	heard := func(n float64) func(map[string]any) bool {
		return func(m map[string]any) bool { return m["last_utterance"] == n }
	}
	if _, m := c.until(heard(1)); m["error"] != "the worker process died" || len(texts(m)) != 0 {
		t.Errorf("state %v", m)
	}
	c.send(said(1, time.Second))
	if _, m := c.until(heard(2)); m["error"] != nil || !reflect.DeepEqual(texts(m), []string{"two"}) {
		t.Errorf("state %v", m)
	}
}

func TestUtteranceThatIsNotAcceptedIsTold(t *testing.T) {
	t.Parallel()
	l := newLedger()
	l.refuse = bloodbank.Errorf(bloodbank.CodeStorageFull, "the disk is full")
	s, _, _ := serve(t, setup{Emitter: l})
	c := dial(t, s, "")
	c.greeting()
	c.send(said(1, time.Second))
	_, m := c.until(func(m map[string]any) bool { return m["last_utterance"] == 1.0 })
	if !strings.Contains(m["error"].(string), "not saved") || !strings.Contains(m["error"].(string), "disk is full") {
		t.Errorf("state %v", m)
	}
	if line := m["lines"].([]any)[0].(map[string]any); line["text"] != "one" || line["event_id"] != nil {
		t.Errorf("line %v", line)
	}
}

// Close transcribes what was said, tells the clients, and refuses new ones.
func TestDoorCloses(t *testing.T) {
	t.Parallel()
	s, d, l := serve(t, setup{})
	c := dial(t, s, "")
	c.greeting()
	c.send(said(2, time.Second))
	c.linesReach(1)
	closed := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { closed <- d.Close(ctx) }()
	var err error
	var last string
	for err == nil {
		var b []byte
		if _, b, err = c.conn.Read(c.ctx); err == nil {
			last = string(b)
		}
	}
	if last != `{"type":"ready_to_stop"}` || websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("last message %s, then %v", last, err)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if end := l.end(t); end["reason"] != "shutdown" || end["utterances"] != 2.0 {
		t.Errorf("closing payload %v", end)
	}
	if _, answer, err := websocket.Dial(t.Context(), s.URL, nil); err == nil || answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("after Close: %v", err)
	}
}

func TestDoorGivesUpInTime(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s, d, l := serve(t, setup{Recogniser: scripted(recognisertest.Script{Finals: []string{"one"}, Hold: hold})})
	c := dial(t, s, "")
	c.greeting()
	c.send(said(2, time.Second))
	hold <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := d.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v", err)
	}
	if end := l.end(t); end["utterances"] != 1.0 || end["failed"] != 1.0 {
		t.Errorf("closing payload %v", end)
	}
}

// A client that never reads holds up neither its own events nor the door.
func TestClientThatNeverReads(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{})
	c := dial(t, s, "")
	for range 3 {
		c.send(said(1, 500*time.Millisecond))
	}
	c.send(nil)
	if end := l.end(t); end["utterances"] != 3.0 {
		t.Errorf("closing payload %v", end)
	}
}
