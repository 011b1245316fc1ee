package streamws_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/recognisertest"
	"github.com/33god/bloodbank/voice/wsdoor"
	"github.com/coder/websocket"
)

const someID = "0198c0de-0000-7000-8000-000000000001"

func TestOneUtterance(t *testing.T) {
	t.Parallel()
	confidence := 0.8125
	s, _, l := serve(t, setup{Recogniser: scripted(recognisertest.Script{
		Finals: []string{"a <b> & c"},
		Result: voice.Transcription{Language: "en-US", Confidence: &confidence, Speaker: "2",
			Words: []voice.Word{{Text: "a", Start: 0, End: 100 * time.Millisecond, Confidence: 0.5}}},
	})})
	c := dial(t, s, "?language=en&source=mobile-client&target=tonny&session_id="+someID)
	hello := c.expect("session.started")
	opened := l.all()[0]
	for key, want := range map[string]any{
		"session_id": someID, "event_id": opened.EventID.String(), "received_bytes": 0.0, "audio_ms": 0.0,
		"sample_rate": 16000.0, "recogniser": "scripted", "language": "en-US", "resumed": false,
	} {
		if hello[key] != want {
			t.Errorf("session.started: %s is %v, want %v", key, hello[key], want)
		}
	}
	c.send(said(1, time.Second))
	if m := c.expect("speech.started"); m["start"] != 0.3 || m["utterance"] != 1.0 {
		t.Errorf("%v", m)
	}
	if m := c.expect("utterance.ended"); m["end"] != 1.82 || m["utterance"] != 1.0 {
		t.Errorf("%v", m)
	}
	got := c.expect("final")
	event := l.all()[1]
	want := fmt.Sprint(map[string]any{
		"type": "final", "session_id": someID, "seq": got["seq"], "utterance": 1, "text": "a <b> & c", "start": 0.3, "end": 1.82,
		"words":      []any{map[string]any{"text": "a", "start": 0.3, "end": 0.4, "confidence": 0.5}},
		"confidence": 0.813, "language": "en-US", "speaker": "2", "event_id": event.EventID.String(), "truncated": false,
	})
	if fmt.Sprint(got) != want {
		t.Errorf("final\n%v, want\n%s", got, want)
	}
	c.send(nil)
	end := c.expect("session.ended")
	if fmt.Sprint(end["totals"]) != "map[audio:2.6 failed:0 utterances:1]" || end["reason"] != "end" {
		t.Errorf("%v", end)
	}
	if status := c.status(); status != websocket.StatusNormalClosure {
		t.Errorf("closed with %d", status)
	}
	p := object(t, event.Payload)
	if p["source"] != "mobile-client" || p["target"] != "tonny" || p["session_id"] != someID {
		t.Errorf("payload %s", event.Payload)
	}
}

func TestControls(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{})
	c := dial(t, s, "")
	c.expect("session.started")
	c.control(`{"type":"KeepAlive"}`)
	c.send(unfinished())
	c.control(`{"type":"Finalize"}`)
	c.expect("speech.started")
	c.expect("utterance.ended")
	if m := c.expect("final"); m["text"] != "one" || m["truncated"] != false || m["words"] != nil || m["confidence"] != nil || m["speaker"] != nil {
		t.Errorf("after Finalize %v", m)
	}
	for _, bad := range []string{"hello", `{"type":7}`, `[]`, `{"type":"Explode"}`, strings.Repeat("x", wsdoor.MaxControl+1)} {
		c.control(bad)
		if m := c.expect("error"); m["code"] != "invalid" || m["retryable"] != false || m["session_id"] == nil {
			t.Errorf("answer to %.20q: %v", bad, m)
		}
	}
	c.send(said(1, time.Second))
	c.control(`{"type":"CloseStream"}`)
	finals := ofType("final", c.rest())
	if len(finals) != 1 || finals[0]["text"] != "two" || finals[0]["utterance"] != 2.0 {
		t.Errorf("finals %v", finals)
	}
	if status := c.status(); status != websocket.StatusNormalClosure {
		t.Errorf("closed with %d", status)
	}
	if end := l.end(t); end["reason"] != "end" || end["utterances"] != 2.0 {
		t.Errorf("closing payload %v", end)
	}
}

// speak sends speech until a message of the type comes or n seconds are spoken.
func speak(c *client, seconds int, kind string) (found bool, all []map[string]any) {
	c.t.Helper()
	c.send(said(0, 0))
	for range seconds * 5 / 2 {
		c.send(syllable())
	}
	c.send(nil)
	all = c.rest()
	return len(ofType(kind, all)) > 0, all
}

func TestPartials(t *testing.T) {
	t.Parallel()
	const text = "ask not what your country"
	hold := make(chan struct{})
	s, _, _ := serve(t, setup{Recogniser: scripted(recognisertest.Script{
		Finals: slices.Repeat([]string{"ask not"}, 99), Interim: text, Hold: hold})})
	c := dial(t, s, "")
	c.expect("session.started")
	c.send(said(0, 0))
	got := make(chan map[string]any, 1)
	go func() {
		m, err := c.next()
		for err == nil && m["type"] != "partial" {
			m, err = c.next()
		}
		if err != nil {
			t.Error(err)
			m = map[string]any{"text": ""}
		}
		got <- m
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var m map[string]any
	for m == nil {
		c.send(syllable())
		select {
		case m = <-got:
		case <-tick.C:
		}
	}
	if said := m["text"].(string); said == "" || !strings.HasPrefix(text, said) || m["revision"].(float64) < 1 || m["utterance"] != 1.0 {
		t.Fatalf("partial %v", m)
	}
	close(hold)
	c.send(nil)
	if finals := ofType("final", c.rest()); len(finals) == 0 {
		t.Error("no final behind the partial")
	}
}

func TestNoPartialsWhenNotWanted(t *testing.T) {
	t.Parallel()
	s, _, _ := serve(t, setup{Recogniser: scripted(recognisertest.Script{Finals: []string{"one"}, Interim: "o ne"})})
	c := dial(t, s, "?interim=false")
	c.expect("session.started")
	if found, all := speak(c, 6, "partial"); found || len(ofType("final", all)) == 0 {
		t.Errorf("messages %v", all)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	s, _, _ := serve(t, setup{})
	c := dial(t, s, "")
	c.expect("session.started")
	b := said(1, time.Second)
	c.send(b)
	began := time.Now()
	for n := 0; ; {
		_, raw, err := c.conn.Read(c.ctx)
		if err != nil {
			t.Fatal(err)
		}
		m := object(t, raw)
		if m["type"] != "progress" {
			continue
		}
		n++
		if m["received_bytes"] == float64(len(b)) && m["received_ms"] == 2600.0 && m["finished_ms"] == 2600.0 {
			if most := int(time.Since(began)/(500*time.Millisecond)) + 1; n > most {
				t.Errorf("%d messages in %s", n, time.Since(began))
			}
			break
		}
	}
	// Nothing changes, so nothing comes but the answer to this.
	c.control("x")
	_, raw, err := c.conn.Read(c.ctx)
	if err != nil || object(t, raw)["type"] != "error" {
		t.Errorf("%s %v", raw, err)
	}
}

func TestUtterancesThatAreLost(t *testing.T) {
	t.Parallel()
	l := newLedger()
	l.refuse = bloodbank.Errorf(bloodbank.CodeStorageFull, "disk full")
	s, _, _ := serve(t, setup{Emitter: l, Recogniser: scripted(recognisertest.Script{
		Finals: []string{"x", "kept here"}, Failures: map[int]error{1: errors.New("engine died")}})})
	c := dial(t, s, "")
	c.expect("session.started")
	c.send(said(2, time.Second))
	c.send(nil)
	all := c.rest()
	faults := ofType("error", all)
	if len(faults) != 2 {
		t.Fatalf("errors %v", faults)
	}
	if m := faults[0]; m["code"] != "utterance_failed" || m["utterance"] != 1.0 || m["retryable"] != true || m["start"] != 0.3 || !strings.Contains(m["message"].(string), "engine died") {
		t.Errorf("%v", m)
	}
	if m := faults[1]; m["code"] != "not_saved" || m["utterance"] != 2.0 || m["text"] != "kept here" || !strings.Contains(m["message"].(string), "disk full") {
		t.Errorf("%v", m)
	}
	if last := all[len(all)-1]; fmt.Sprint(last["totals"]) != "map[audio:4.6 failed:2 utterances:0]" {
		t.Errorf("%v", last)
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{})
	c := dial(t, s, "")
	hello := c.expect("session.started")
	id, token := hello["session_id"].(string), hello["resume_token"].(string)
	b := said(3, time.Second)
	third := int(2 * audio.Samples(2600*time.Millisecond))
	c.send(b[:third])
	for c.read()["type"] != "final" {
	}
	c.conn.CloseNow()

	c = dial(t, s, "?session_id="+id+"&resume_token="+token)
	hello = c.expect("session.started")
	if hello["resumed"] != true || hello["received_bytes"] != float64(third) || hello["session_id"] != id {
		t.Fatalf("after coming back %v", hello)
	}
	c.expect("speech.started")
	c.expect("utterance.ended")
	if m := c.expect("final"); m["text"] != "one" {
		t.Errorf("replayed %v", m)
	}
	// The first connection of the two loses the session to the second, and is told.
	second := dial(t, s, "?after=1&session_id="+id+"&resume_token="+token)
	if m := c.expect("error"); m["code"] != "taken_over" || m["retryable"] != false {
		t.Errorf("%v", m)
	}
	if status := c.status(); status != 4409 {
		t.Errorf("closed with %d", status)
	}
	hello = second.expect("session.started")
	second.send(b[int(hello["received_bytes"].(float64)):])
	second.send(nil)
	finals := ofType("final", second.rest())
	if len(finals) != 2 || finals[0]["text"] != "two" || finals[1]["text"] != "three" {
		t.Errorf("finals %v", finals)
	}
	if n := len(l.all()); n != 5 {
		t.Errorf("%d events, want 5", n)
	}
	// What has ended can still be read.
	third2 := dial(t, s, "?after=2&session_id="+id+"&resume_token="+token)
	third2.expect("session.started")
	all := third2.rest()
	if finals := ofType("final", all); len(finals) != 1 || finals[0]["text"] != "three" || all[len(all)-1]["reason"] != nil {
		t.Errorf("after the end %v", all)
	}
}

func TestRefusedAfterTheUpgrade(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{})
	holder := dial(t, s, "")
	id := holder.expect("session.started")["session_id"].(string)
	for query, want := range map[string]struct {
		status websocket.StatusCode
		code   string
	}{
		"?language=tlh":                                 {4400, "invalid"},
		"?session_id=7":                                 {4400, "invalid"},
		"?resume_token=x":                               {4400, "invalid"},
		"?after=1":                                      {4400, "invalid"},
		"?endpoint_ms=10":                               {4400, "invalid"},
		"?max_utterance_ms=99999":                       {4400, "invalid"},
		"?endpoint_ms=-9000000000s":                     {4400, "invalid"},
		"?interim=perhaps":                              {4400, "invalid"},
		"?source=toaster":                               {4400, "invalid"},
		"?target=" + strings.Repeat("x", 201):           {4400, "invalid"},
		"?session_id=" + someID + "&resume_token=x":     {4403, "forbidden"},
		"?session_id=" + id:                             {4409, "conflict"},
		"?after=-1&resume_token=x&session_id=" + someID: {4400, "invalid"},
	} {
		c := dial(t, s, query)
		if m := c.expect("error"); m["code"] != want.code || m["message"] == "" || m["session_id"] != nil {
			t.Errorf("%s: %v", query, m)
		}
		if status := c.status(); status != want.status {
			t.Errorf("%s: closed with %d, want %d", query, status, want.status)
		}
	}
	if n := len(l.all()); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}

func TestUnknownSessionCannotBeResumed(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{Grace: -1})
	c := dial(t, s, "")
	hello := c.expect("session.started")
	c.conn.CloseNow()
	if end := l.end(t); end["reason"] != "disconnected" {
		t.Errorf("closing payload %v", end)
	}
	c = dial(t, s, fmt.Sprintf("?session_id=%s&resume_token=%s", hello["session_id"], hello["resume_token"]))
	if m := c.expect("error"); m["code"] != "not_found" {
		t.Errorf("%v", m)
	}
	if status := c.status(); status != 4404 {
		t.Errorf("closed with %d", status)
	}
}

func TestRefusedBeforeTheUpgrade(t *testing.T) {
	t.Parallel()
	s, _, _ := serve(t, setup{MaxSessions: 1, Guard: wsdoor.Guard{Token: "secret"}})
	url := strings.Replace(s.URL, "http", "ws", 1)
	refused := func(query string, h http.Header) int {
		t.Helper()
		conn, r, err := websocket.Dial(t.Context(), url+query, &websocket.DialOptions{HTTPHeader: h})
		if err == nil {
			conn.CloseNow()
			return 101
		}
		return r.StatusCode
	}
	if got := refused("", nil); got != http.StatusUnauthorized {
		t.Errorf("no token: %d", got)
	}
	if got := refused("?token=secret", http.Header{"Origin": {"https://evil.example"}}); got != http.StatusForbidden {
		t.Errorf("foreign page: %d", got)
	}
	dial(t, s, "?token=secret").expect("session.started")
	if got := refused("?token=secret", nil); got != http.StatusServiceUnavailable {
		t.Errorf("no room: %d", got)
	}
}

func TestAudioThatCannotBeDecoded(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{})
	c := dial(t, s, "")
	c.expect("session.started")
	c.send([]byte("fLaC\x00\x00\x00\x22\x10\x00\x10\x00"))
	if m := c.expect("error"); m["code"] != "unsupported_audio" || !strings.Contains(m["message"].(string), "flac") {
		t.Errorf("%v", m)
	}
	if m := c.expect("session.ended"); m["reason"] != "error" {
		t.Errorf("%v", m)
	}
	if status := c.status(); status != websocket.StatusUnsupportedData {
		t.Errorf("closed with %d", status)
	}
	l.end(t)
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	s, desk, l := serve(t, setup{})
	c := dial(t, s, "")
	c.expect("session.started")
	c.send(unfinished())
	c.expect("speech.started")
	done := make(chan struct{})
	go func() { defer close(done); closeDesk(t, desk) }()
	all := c.rest()
	if finals := ofType("final", all); len(finals) != 1 || finals[0]["truncated"] != true {
		t.Errorf("finals %v", finals)
	}
	if last := all[len(all)-1]; last["reason"] != "shutdown" {
		t.Errorf("%v", last)
	}
	if status := c.status(); status != websocket.StatusGoingAway {
		t.Errorf("closed with %d", status)
	}
	<-done
	l.end(t)
}

func TestFrameOverTheLimit(t *testing.T) {
	t.Parallel()
	s, desk, _ := serve(t, setup{Limits: wsdoor.Limits{MaxFrame: 1000}})
	c := dial(t, s, "")
	hello := c.expect("session.started")
	c.send(make([]byte, 1001))
	if status := c.status(); status != websocket.StatusMessageTooBig {
		t.Errorf("closed with %d", status)
	}
	back := dial(t, s, fmt.Sprintf("?session_id=%s&resume_token=%s", hello["session_id"], hello["resume_token"]))
	if m := back.expect("session.started"); m["resumed"] != true {
		t.Errorf("%v", m)
	}
	if n := desk.Status().Sessions; n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// A client that reads nothing holds nothing up: its session goes on being published, and
// it is cut off and can come back.
func TestClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("so much to say ", 70_000) // a megabyte, more than the sockets hold
	texts := make([]string, 20)
	for i := range texts {
		texts[i] = fmt.Sprintf("%d %s%d", i, strings.Join(strings.Fields(long)[:3], " "), i) + strings.Repeat("x", len(long))
	}
	s, _, l := serve(t, setup{Recogniser: scripted(recognisertest.Script{Finals: texts}), Limits: wsdoor.Limits{WriteWithin: 3 * time.Second}})
	c := dial(t, s, "")
	hello := c.expect("session.started")
	b := said(len(texts), time.Second)
	// Then it only says that it is alive, until it is cut off.
	pieces := slices.Collect(slices.Chunk(b, 64<<10))
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for err := error(nil); err == nil; <-tick.C {
		if len(pieces) > 0 {
			err = c.conn.Write(c.ctx, websocket.MessageBinary, pieces[0])
			pieces = pieces[1:]
		} else {
			err = c.conn.Write(c.ctx, websocket.MessageText, []byte(`{"type":"KeepAlive"}`))
		}
	}
	if c.ctx.Err() != nil {
		t.Fatal("it was never cut off")
	}
	back := dial(t, s, fmt.Sprintf("?session_id=%s&resume_token=%s", hello["session_id"], hello["resume_token"]))
	back.conn.SetReadLimit(16 << 20)
	m := back.expect("session.started")
	if m["resumed"] != true {
		t.Fatalf("%v", m)
	}
	if rest := b[int(m["received_bytes"].(float64)):]; len(rest) > 0 {
		back.send(rest)
	}
	back.send(nil)
	finals := ofType("final", back.rest())
	if len(finals) != len(texts) {
		t.Errorf("%d finals, want %d", len(finals), len(texts))
	}
	for i, m := range finals {
		if m["text"] != texts[i] {
			t.Errorf("final %d is not the text %d", i, i)
		}
	}
	if n := len(l.all()); n != len(texts)+2 {
		t.Errorf("%d events, want %d", n, len(texts)+2)
	}
}
