package asrws_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice/recognisertest"
	"github.com/coder/websocket"
)

// record reads all messages of a session, to its last or to the close.
func (c *client) record() (all []string) {
	c.t.Helper()
	for {
		kind, b, err := c.conn.Read(c.ctx)
		if err != nil {
			if websocket.CloseStatus(err) == -1 {
				c.t.Fatalf("after %q: %v", all, err)
			}
			return all
		}
		if kind != websocket.MessageText {
			c.t.Fatalf("a binary message: %q", b)
		}
		if all = append(all, string(b)); string(b) == `{"type":"ready_to_stop"}` {
			return all
		}
	}
}

func (c *client) text(s string) {
	c.t.Helper()
	if err := c.conn.Write(c.ctx, websocket.MessageText, []byte(s)); err != nil {
		c.t.Fatal(err)
	}
}

// busySession has everything in it that a session may have: silence, interim text, finals,
// a lost utterance, commands and nonsense.
func busySession(t *testing.T, query string, last []byte) []string {
	s, _, _ := serve(t, setup{Recogniser: scripted(recognisertest.Script{
		Finals: []string{"one", "", "three"}, Failures: map[int]error{2: errWorker{}}, Interim: "one two three"})})
	c := dial(t, s, query)
	all := make(chan []string, 1)
	go func() { all <- c.record() }()
	for _, text := range []string{`{"type":"KeepAlive"}`, `{"type":"nobody knows"}`, "hello"} {
		c.text(text)
	}
	c.send(said(2, 2*time.Second))
	c.text(`{"type":"Finalize"}`)
	c.send(said(1, 2*time.Second))
	c.send(last)
	return <-all
}

type errWorker struct{}

func (errWorker) Error() string { return "the worker died" }

// keys are those of a message, and its type, "" if it has none.
func keys(t *testing.T, raw string) (kind string, names []string) {
	t.Helper()
	for name, v := range object(t, []byte(raw)) {
		names = append(names, name)
		if name == "type" {
			kind = v.(string)
		}
	}
	slices.Sort(names)
	return kind, names
}

// A message of a type that a client does not know clears its page. So over whole
// sessions of each kind, nothing comes but what upstream would send.
func TestNoUnknownTypes(t *testing.T) {
	t.Parallel()
	avi := []byte("RIFF\x00\x00\x00\x00AVI LIST")
	for query, known := range map[string][]string{
		"":                        {"config", "", "ready_to_stop"},
		"?mode=quick":             {"config", "", "ready_to_stop"},
		"?mode=diff":              {"config", "snapshot", "diff", "ready_to_stop"},
		"?compat=0.2.8":           {"", "ready_to_stop"},
		"?compat=0.2.8&mode=full": {"", "ready_to_stop"},
	} {
		for _, raw := range busySession(t, query, nil) {
			if kind, _ := keys(t, raw); !slices.Contains(known, kind) {
				t.Errorf("%s: %s", query, raw)
			}
		}
		s, _, _ := serve(t, setup{})
		c := dial(t, s, query)
		c.send(avi)
		all := c.record()
		if !strings.Contains(all[len(all)-2], `"status":"error"`) {
			t.Errorf("%s: audio that cannot be used: %q", query, all)
		}
		for _, raw := range all {
			if kind, _ := keys(t, raw); !slices.Contains(known, kind) {
				t.Errorf("%s: %s", query, raw)
			}
		}
	}
}

// The client of 0.2.8 sees what it saw then, and nothing else.
func TestCompat(t *testing.T) {
	t.Parallel()
	all := busySession(t, "?compat=0.2.8", nil)
	if want := `{"status":"no_audio_detected","lines":[],"buffer_transcription":"","buffer_diarization":"",` +
		`"remaining_time_transcription":0.0,"remaining_time_diarization":0.0}`; all[0] != want {
		t.Errorf("first message %s, want %s", all[0], want)
	}
	for _, raw := range all[:len(all)-1] {
		_, names := keys(t, raw)
		names = slices.DeleteFunc(names, func(n string) bool { return n == "error" })
		if !reflect.DeepEqual(names, []string{"buffer_diarization", "buffer_transcription", "lines", "remaining_time_diarization",
			"remaining_time_transcription", "status"}) {
			t.Errorf("keys %v", names)
		}
		if strings.Contains(raw, statusActive) && strings.Contains(raw, `"lines":[]`) {
			t.Errorf("active without a line: %s", raw)
		}
	}
	if last := all[len(all)-2]; !strings.Contains(last, `"lines":[{"speaker":1,"text":"one","start":"0:00:00","end":"0:00:02","beg":"0:00:00","diff":2.`) {
		t.Errorf("last state %s", last)
	}
	s, _, _ := serve(t, setup{})
	c := dial(t, s, "?compat=0.2.8&endpoint_ms=0")
	if raw, m := c.read(); m["type"] != nil || m["status"] != "error" || !strings.Contains(raw, "endpoint_ms") {
		t.Errorf("refused with %s", raw)
	}
}

const statusActive = `"status":"active_transcription"`

// rebuild plays the messages of mode diff to a client with the documented rule, and to
// one with the rule that fits upstream's server.
func rebuild(t *testing.T, all []string) (documented, fitting []any) {
	t.Helper()
	seq := 0.0
	for _, raw := range all {
		kind, _ := keys(t, raw)
		if kind != "snapshot" && kind != "diff" {
			continue
		}
		o := object(t, []byte(raw))
		if seq++; o["seq"] != seq {
			t.Fatalf("message %g: %s", seq, raw)
		}
		if kind == "snapshot" {
			documented = o["lines"].([]any)
			fitting = slices.Clone(documented)
			continue
		}
		added, _ := o["new_lines"].([]any)
		cut, _ := o["lines_pruned"].(float64)
		documented = append(documented[int(cut):], added...)
		fitting = append(fitting[int(cut):][:int(o["n_lines"].(float64))-len(added)], added...)
	}
	return documented, fitting
}

func TestModeDiff(t *testing.T) {
	t.Parallel()
	all := busySession(t, "?mode=diff", nil)
	if o := object(t, []byte(all[0])); o["type"] != "config" || o["mode"] != "diff" {
		t.Errorf("first %s", all[0])
	}
	if !strings.HasPrefix(all[1], `{"type":"snapshot","seq":1,"status":"no_audio_detected","lines":[],`) {
		t.Errorf("second %s", all[1])
	}
	documented, fitting := rebuild(t, all)
	if !reflect.DeepEqual(documented, fitting) || len(fitting) != 2 || fitting[1].(map[string]any)["text"] != "three" {
		t.Errorf("lines %v and %v", documented, fitting)
	}
}

// Finalize ends an utterance in the middle of a word, and the session goes on;
// CloseStream is as good as an empty frame.
func TestCommands(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{})
	c := dial(t, s, "")
	c.greeting()
	c.send(said(0, 0))
	for range 5 {
		c.send(syllable())
	}
	c.text(`{"type":"Finalize"}`)
	if got := c.linesReach(1); got[0] != "one" {
		t.Errorf("lines %q", got)
	}
	c.text(`{"type":"Finalize"}`) // nothing is open
	c.send(said(1, time.Second))
	c.text(`{"type":"CloseStream"}`)
	c.send(said(1, time.Second)) // too late
	states := c.rest()
	if got := texts(states[len(states)-1]); !reflect.DeepEqual(got, []string{"one", "two"}) {
		t.Errorf("lines %q", got)
	}
	if end := l.end(t); end["reason"] != "end" || end["utterances"] != 2.0 {
		t.Errorf("closing payload %v", end)
	}
}

// linesReach reads states until there are n lines.
func (c *client) linesReach(n int) []string {
	c.t.Helper()
	for {
		_, m := c.read()
		if got := texts(m); len(got) >= n {
			return got
		}
	}
}

// until reads states until there is one that is looked for.
func (c *client) until(found func(map[string]any) bool) (raw string, m map[string]any) {
	c.t.Helper()
	for raw, m = c.read(); !found(m); raw, m = c.read() {
	}
	return raw, m
}

// The pause that ends an utterance is the client's to choose.
func TestEndpointIsTheClients(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]int{"": 3, "?endpoint_ms=2500": 1, "?endpoint_ms=2500&max_utterance_ms=2000": 3} {
		s, _, _ := serve(t, setup{})
		c := dial(t, s, query)
		c.greeting()
		c.send(said(3, 1500*time.Millisecond))
		c.send(nil)
		states := c.rest()
		if got := texts(states[len(states)-1]); len(got) < min(want, 3) || want == 1 && len(got) != 1 {
			t.Errorf("%s: lines %q, want %d", query, got, want)
		}
	}
}

// While audio flows a client is told what it need not keep, even when nobody speaks.
func TestSilenceIsReportedToo(t *testing.T) {
	t.Parallel()
	s, _, _ := serve(t, setup{})
	c := dial(t, s, "")
	c.greeting()
	quiet := make([]byte, 32_000)
	c.send(quiet)
	begun := time.Now()
	raw, m := c.until(func(m map[string]any) bool { return m["received_bytes"] == 32_000.0 })
	if m["finished_ms"] != 1000.0 || m["status"] != "no_audio_detected" {
		t.Errorf("state %s", raw)
	}
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("told after %s", took)
	}
	// Nothing changes, so nothing is sent: the next message answers the next audio.
	c.send(quiet)
	if _, m = c.read(); m["received_bytes"].(float64) <= 32_000 {
		t.Errorf("state %v", m)
	}
}

// decode checks that a message is JSON with each key once.
func onlyOnce(t *testing.T, raw string) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(raw))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	seen := map[any]bool{}
	for d.More() {
		k, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		if seen[k] {
			t.Errorf("%v comes twice in %s", k, raw)
		}
		seen[k] = true
		var skip json.RawMessage
		if err := d.Decode(&skip); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKeysComeOnce(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"", "?mode=diff", "?compat=0.2.8"} {
		for _, raw := range busySession(t, query, nil) {
			onlyOnce(t, raw)
		}
	}
}
