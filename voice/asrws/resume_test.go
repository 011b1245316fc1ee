package asrws_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/recognisertest"
	"github.com/coder/websocket"
	"github.com/google/uuid"
)

// back is the query of a client that comes back, and more.
func back(config map[string]any, more string) string {
	return "?session_id=" + config["session_id"].(string) + "&resume_token=" + url.QueryEscape(config["resume_token"].(string)) + more
}

// greeted reads config and the first state.
func (c *client) greeted() (config, first map[string]any) {
	c.t.Helper()
	_, config = c.read()
	if config["type"] != "config" {
		c.t.Fatalf("first message %v", config)
	}
	_, first = c.read()
	return config, first
}

// taken reads states until the server has taken at least n bytes.
func (c *client) taken(n int) (at int) {
	c.t.Helper()
	for at < n {
		_, m := c.read()
		if v, ok := m["received_bytes"].(float64); ok {
			at = int(v)
		}
	}
	return at
}

func numbered(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint("utterance ", i+1))
	}
	return all
}

// A connection that is killed in the middle of words, several times: the client sends on
// from received_bytes, and all words are there once, in every mode.
func TestConnectionKilledMidSentence(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"", "&mode=diff"} {
		finals := numbered(6)
		s, _, l := serve(t, setup{Grace: time.Minute, Recogniser: scripted(recognisertest.Script{Finals: finals})})
		speech := said(6, time.Second)
		c := dial(t, s, "?source=mobile-client"+mode)
		config, _ := c.greeted()
		for _, cut := range []int{len(speech)/4 + 1, len(speech) / 2, len(speech)*3/4 + 3} {
			at := int(config["received_bytes"].(float64))
			c.send(speech[at:cut])
			if cut != len(speech)/2 { // once it is killed with frames on the way
				c.taken(cut)
			}
			c.conn.CloseNow()
			c = dial(t, s, back(config, mode))
			config, _ = c.greeted()
			if got := int(config["received_bytes"].(float64)); got < at || got > cut {
				t.Fatalf("received %d bytes, sent up to %d", got, cut)
			}
			if got := int(config["audio_ms"].(float64)); got != int(config["received_bytes"].(float64))/32 {
				t.Errorf("audio_ms %d of %v bytes", got, config["received_bytes"])
			}
		}
		c.send(speech[int(config["received_bytes"].(float64)):])
		c.send(nil)
		all := c.record()
		if mode == "" {
			if got := texts(object(t, []byte(all[len(all)-2]))); !reflect.DeepEqual(got, finals) {
				t.Errorf("lines %q", got)
			}
		}
		l.words(t, finals)
	}
}

// words checks that every final is an event, once and in order, of a single session.
func (l *ledger) words(t *testing.T, finals []string) {
	t.Helper()
	end := l.end(t)
	if end["utterances"] != float64(len(finals)) || end["failed"] != 0.0 {
		t.Errorf("closing payload %v", end)
	}
	events := l.all()
	if len(events) != len(finals)+2 {
		t.Fatalf("%d events, want %d", len(events), len(finals)+2)
	}
	for i, want := range finals {
		if p := object(t, events[i+1].Payload); p["text"] != want || p["utterance"] != float64(i+1) {
			t.Errorf("event %d says %v", i+1, p)
		}
	}
}

// The lines of a client that comes back are those of the session, not of the connection;
// after tells only what is new.
func TestLinesAreRebuilt(t *testing.T) {
	t.Parallel()
	s, _, _ := serve(t, setup{Grace: time.Minute, Recogniser: scripted(recognisertest.Script{Finals: []string{"one", "", "three", "four"}})})
	c := dial(t, s, "")
	config, _ := c.greeted()
	c.send(said(3, time.Second))
	for at := 0.0; at < 3; {
		_, m := c.read()
		at, _ = m["last_utterance"].(float64)
	}
	c.conn.CloseNow()
	c = dial(t, s, back(config, ""))
	if _, first := c.greeted(); !reflect.DeepEqual(texts(first), []string{"one", "three"}) || first["last_utterance"] != 3.0 {
		t.Errorf("first state %v", first)
	}
	c.conn.CloseNow()
	c = dial(t, s, back(config, "&mode=diff&after=1"))
	_, snapshot := c.greeted()
	if !reflect.DeepEqual(texts(snapshot), []string{"three"}) || snapshot["type"] != "snapshot" || snapshot["seq"] != 1.0 {
		t.Errorf("snapshot %v", snapshot)
	}
	c.send(said(1, time.Second))
	c.send(nil)
	var new []any
	for _, raw := range c.record() {
		lines, _ := object(t, []byte(raw))["new_lines"].([]any)
		new = append(new, lines...)
	}
	if len(new) != 1 || new[0].(map[string]any)["text"] != "four" {
		t.Errorf("new lines %v", new)
	}
}

// A connection that is dead without the server's knowing: the client comes back by a
// new one, which takes over at once.
func TestHalfOpenConnectionIsTakenOver(t *testing.T) {
	t.Parallel()
	finals := numbered(4)
	s, _, l := serve(t, setup{Grace: time.Minute, Recogniser: scripted(recognisertest.Script{Finals: finals})})
	speech := said(4, time.Second)
	old := dial(t, s, "")
	config, _ := old.greeted()
	old.send(speech[:len(speech)/2])
	c := dial(t, s, back(config, ""))
	config, _ = c.greeted()
	// What the old connection still brings is not taken.
	_ = old.conn.Write(old.ctx, websocket.MessageBinary, speech)
	c.send(speech[int(config["received_bytes"].(float64)):])
	c.send(nil)
	states := c.rest()
	if got := texts(states[len(states)-1]); !reflect.DeepEqual(got, finals) {
		t.Errorf("lines %q", got)
	}
	l.words(t, finals)
	var err error
	for err == nil {
		_, _, err = old.conn.Read(old.ctx)
	}
	if code := websocket.CloseStatus(err); code != 4409 {
		t.Errorf("the old connection: %v", err)
	}
}

// While the recogniser is so far behind that the old connection cannot let go, who comes
// back is told to try again; and then goes on without a gap.
func TestTakingOverWaitsForTheRecogniser(t *testing.T) {
	t.Parallel()
	finals := numbered(8)
	hold := make(chan struct{})
	s, desk, l := serve(t, setup{Grace: time.Minute, Recogniser: scripted(recognisertest.Script{Finals: finals, Hold: hold})})
	// More than may wait, in utterances of 9 s: when the lag is 30 s, the next bytes wait.
	speech := said(0, 0)
	for range finals {
		speech = append(speech, bytes.Repeat(syllable(), 22)...)
		speech = append(speech, make([]byte, 32_000)...)
	}
	old := dial(t, s, "")
	config, _ := old.greeted()
	old.send(speech)
	deadline := time.After(patience)
	for lag, same := 0.0, 0; lag < 30 || same < 20; same++ {
		select {
		case <-deadline:
			t.Fatalf("lag %g", lag)
		case <-time.After(20 * time.Millisecond):
		}
		if now := desk.Status().Lag; now != lag {
			lag, same = now, 0
		}
	}
	c := dial(t, s, back(config, ""))
	if raw, m := c.read(); m["type"] != "error" || !strings.Contains(raw, "try again") {
		t.Fatalf("first message %s", raw)
	}
	if _, _, err := c.conn.Read(c.ctx); websocket.CloseStatus(err) != websocket.StatusTryAgainLater {
		t.Errorf("closed: %v", err)
	}
	close(hold)
	c = dial(t, s, back(config, ""))
	config, _ = c.greeted()
	c.send(speech[int(config["received_bytes"].(float64)):])
	c.send(nil)
	c.rest()
	l.words(t, finals)
}

// Who comes back for a session that is over gets what was missed, and the end.
func TestSessionThatIsOver(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s, _, l := serve(t, setup{Grace: time.Minute, Recogniser: scripted(recognisertest.Script{Finals: []string{"one", "two"}, Hold: hold})})
	c := dial(t, s, "")
	config, _ := c.greeted()
	c.send(said(2, time.Second))
	c.send(nil)
	c.taken(1)
	c.conn.CloseNow()
	close(hold)
	l.end(t)
	for range 2 {
		c = dial(t, s, back(config, ""))
		_, first := c.greeted()
		if states := append([]map[string]any{first}, c.rest()...); !reflect.DeepEqual(texts(states[len(states)-1]), []string{"one", "two"}) {
			t.Errorf("states %v", states)
		}
		c.conn.CloseNow()
	}
	if n := len(l.all()); n != 4 {
		t.Errorf("%d events, want 4", n)
	}
}

func TestResumeIsRefused(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{Grace: 300 * time.Millisecond})
	one, two := dial(t, s, ""), dial(t, s, "")
	first, _ := one.greeted()
	second, _ := two.greeted()
	gone := dial(t, s, "")
	third, _ := gone.greeted()
	gone.conn.CloseNow()
	l.end(t) // after the grace time
	unknown := map[string]any{"session_id": "0198c0de-0000-7000-8000-000000000001", "resume_token": first["resume_token"]}
	foreign := map[string]any{"session_id": first["session_id"], "resume_token": second["resume_token"]}
	wrong := map[string]any{"session_id": first["session_id"], "resume_token": "AAAA"}
	for name, c := range map[string]struct {
		query, says string
	}{
		"wrong token":      {back(wrong, ""), "resume_token"},
		"foreign token":    {back(foreign, ""), "resume_token"},
		"unknown session":  {back(unknown, ""), "resume_token"},
		"session in use":   {"?session_id=" + first["session_id"].(string), "resume"},
		"token alone":      {"?resume_token=x", "session_id"},
		"after without it": {"?after=2", "after"},
	} {
		who := dial(t, s, c.query)
		if raw, m := who.read(); m["type"] != "error" || !strings.Contains(m["error"].(string), c.says) {
			t.Errorf("%s: %s", name, raw)
		}
		if _, _, err := who.conn.Read(who.ctx); websocket.CloseStatus(err) != 4400 {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The grace time is over, and as much again, so nothing is known of it any more.
	deadline := time.Now().Add(patience)
	for {
		who := dial(t, s, back(third, ""))
		raw, m := who.read()
		who.conn.CloseNow()
		if m["type"] == "error" {
			if !strings.Contains(raw, "not known any more") {
				t.Errorf("grace over: %s", raw)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the session is known for ever")
		}
	}
	// All that did no harm to those who speak.
	for _, c := range []*client{one, two} {
		c.send(said(1, time.Second))
		c.send(nil)
		if states := c.rest(); len(texts(states[len(states)-1])) != 1 {
			t.Errorf("states %v", states)
		}
	}
}

// The process dies and another takes the session up: the lines are there, and the
// client begins a new stream at audio_ms.
func TestSessionOfAnEarlierProcess(t *testing.T) {
	t.Parallel()
	secret := []byte("0123456789abcdef0123456789abcdef")
	first, _, l := serve(t, setup{Secret: secret})
	c := dial(t, first, "")
	config, _ := c.greeted()
	c.send(said(1, time.Second))
	c.linesReach(1)
	opened := l.all()[0]
	past := past{
		Opened: opened.EventID, Utterances: 3, Audio: 9 * time.Second,
		Finals: []voice.Update{{Kind: voice.KindFinal, Utterance: 1, Text: "one", Final: &voice.Transcription{Text: "one"}}},
	}
	second, _, later := serve(t, setup{Secret: secret, Past: past, Recogniser: scripted(recognisertest.Script{Finals: []string{"four"}})})
	c = dial(t, second, back(config, ""))
	again, state := c.greeted()
	if again["received_bytes"] != 0.0 || again["audio_ms"] != 9000.0 || again["event_id"] != config["event_id"] || !reflect.DeepEqual(texts(state), []string{"one"}) {
		t.Errorf("config %v, first state %v", again, state)
	}
	c.send(said(1, time.Second))
	c.send(nil)
	states := c.rest()
	last := states[len(states)-1]
	if got := texts(last); !reflect.DeepEqual(got, []string{"one", "four"}) || last["last_utterance"] != 4.0 {
		t.Errorf("last state %v", last)
	}
	if start := last["lines"].([]any)[1].(map[string]any)["start"].(string); !strings.HasPrefix(start, "0:00:09.") {
		t.Errorf("the new line starts at %s", start)
	}
	if end := later.end(t); end["utterances"] != 2.0 {
		t.Errorf("closing payload %v", end)
	}
}

// past knows one session, whatever is asked.
type past voice.PastSession

func (p past) Session(context.Context, uuid.UUID) (voice.PastSession, error) {
	return voice.PastSession(p), nil
}

// A client that comes back finds its place even where all others are taken.
func TestComingBackNeedsNoPlace(t *testing.T) {
	t.Parallel()
	s, _, _ := serve(t, setup{Grace: time.Minute, MaxSessions: 1})
	c := dial(t, s, "")
	config, _ := c.greeted()
	_, answer, err := websocket.Dial(t.Context(), s.URL, nil)
	if err == nil || answer.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("second session: %v", err)
	}
	c.conn.CloseNow()
	conn, answer, err := websocket.Dial(t.Context(), s.URL+back(config, ""), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if _, b, err := conn.Read(c.ctx); err != nil || object(t, b)["session_id"] != config["session_id"] {
		t.Errorf("config %s, %v", b, err)
	}
	if got := answer.Header.Get("X-Session-Id"); got != config["session_id"] {
		t.Errorf("X-Session-Id %q", got)
	}
}
