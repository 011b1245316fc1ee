package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/httpapi"
)

// message is anything that a stream's server says.
type message struct {
	Hello *struct {
		Position int64
		Begin    *int64
	}
	Gap         *struct{ From, To, N int64 }
	Error       *bloodbank.Error
	First, Last int64
	Events      []json.RawMessage
	Seqs        []int64
	Counts      *struct{ Matched, Scanned int64 }
	Dropped     *int64
}

// wire is a client of the stream.
type wire struct {
	t    *testing.T
	conn *websocket.Conn
	ctx  context.Context
}

func (b *bundle) dial(query string, headers ...string) (*wire, *http.Response) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	b.t.Cleanup(cancel)
	o := &websocket.DialOptions{HTTPHeader: http.Header{}}
	for i := 0; i < len(headers); i += 2 {
		o.HTTPHeader.Set(headers[i], headers[i+1])
	}
	conn, response, err := websocket.Dial(ctx, "ws://"+b.addr+"/api/v1/stream"+query, o)
	if err != nil {
		if response == nil {
			b.t.Fatal(err)
		}
		return nil, response
	}
	conn.SetReadLimit(64 << 20)
	b.t.Cleanup(func() { _ = conn.CloseNow() })
	return &wire{b.t, conn, ctx}, response
}

func (w *wire) next() (m message) {
	w.t.Helper()
	kind, data, err := w.conn.Read(w.ctx)
	if err != nil || kind != websocket.MessageText {
		w.t.Fatalf("%v %v", kind, err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		w.t.Fatalf("%v: %s", err, data)
	}
	return m
}

func (w *wire) hello() int64 {
	w.t.Helper()
	m := w.next()
	if m.Hello == nil || m.Hello.Begin == nil {
		w.t.Fatalf("the first message is %+v", m)
	}
	return m.Hello.Position
}

func (w *wire) say(text string) {
	w.t.Helper()
	must(w.t, w.conn.Write(w.ctx, websocket.MessageText, []byte(text)))
}

// frames reads and confirms until n events have come, and returns their bytes.
func (w *wire) frames(n int) (raws []string, seqs []int64) {
	w.t.Helper()
	for len(raws) < n {
		m := w.next()
		if m.Counts == nil || m.Dropped == nil || m.Events == nil || len(m.Events) != len(m.Seqs) {
			w.t.Fatalf("no whole frame: %+v", m)
		}
		if len(m.Events) == 0 {
			continue
		}
		if m.First != m.Seqs[0] || m.Last < m.Seqs[len(m.Seqs)-1] {
			w.t.Fatalf("%+v", m)
		}
		for _, e := range m.Events {
			raws = append(raws, string(e))
		}
		seqs = append(seqs, m.Seqs...)
		ack, err := json.Marshal(map[string]int64{"ack": m.Last})
		must(w.t, err)
		w.say(string(ack))
	}
	return raws, seqs
}

func TestSocketBeginsWhereAsked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for n := 1; n <= 3; n++ {
		b.publish(numbered(n))
	}
	b.waitFor(func() bool { return b.hub.Status().Position == 3 })
	newest, _ := b.dial("")
	all, _ := b.dial("?since=0")
	some, _ := b.dial("?since=1&q=payload.n:3,4")
	if a, c, d := newest.hello(), all.hello(), some.hello(); a != 3 || c != 0 || d != 1 {
		t.Fatalf("begin at %d, %d, %d", a, c, d)
	}
	raws, seqs := all.frames(3)
	if !slices.Equal(seqs, []int64{1, 2, 3}) {
		t.Fatal(seqs)
	}
	if page := string(b.do("GET", "/events?limit=1", "").body); !strings.Contains(page, raws[2]) {
		t.Errorf("not the exact bytes: %s", raws[2])
	}
	b.publish(numbered(4))
	if _, seqs := newest.frames(1); seqs[0] != 4 {
		t.Error(seqs)
	}
	if _, seqs := some.frames(2); !slices.Equal(seqs, []int64{3, 4}) {
		t.Error(seqs)
	}
}

func TestSocketRequests(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w, _ := b.dial("?q=payload.n:1")
	w.hello()
	for _, bad := range []string{`{"q":"type:"}`, `{"mode":"loud"}`, `{}`, `nonsense`} {
		w.say(bad)
		m := w.next()
		for m.Error == nil && len(m.Events) == 0 {
			m = w.next()
		}
		if m.Error == nil || m.Error.Code != bloodbank.CodeInvalid || m.Error.Message == "" {
			t.Errorf("%s: %+v", bad, m)
		}
	}
	b.publish(numbered(2))
	b.publish(numbered(1))
	if _, seqs := w.frames(1); seqs[0] != 2 {
		t.Error("the last good filter is gone", seqs)
	}
	w.say(`{"mode":"count"}`)
	w.say(`{"q":"payload.n:2"}`)
	b.publish(numbered(2))
	for {
		m := w.next()
		if len(m.Events) > 0 {
			t.Fatalf("an event while counting: %+v", m)
		}
		if m.Counts != nil && m.Counts.Matched == 1 && m.Counts.Scanned == 1 {
			break
		}
	}
	w.say(`{"mode":"events"}`)
	for {
		m := w.next()
		if m.Gap != nil {
			if m.Gap.From != 3 || m.Gap.To != 3 || m.Gap.N != 1 {
				t.Errorf("%+v", m.Gap)
			}
			break
		}
	}
	b.publish(numbered(2))
	if _, seqs := w.frames(1); seqs[0] != 4 {
		t.Error(seqs)
	}
}

// TestSocketSlowClient: a client that reads nothing holds up nobody, and one that
// confirms nothing learns what it missed.
func TestSocketSlowClient(t *testing.T) {
	t.Parallel()
	b := setup(t)
	silent, _ := b.dial("")
	lazy, _ := b.dial("")
	fast, _ := b.dial("")
	lazy.hello()
	fast.hello()
	const events = 6000
	var filling sync.WaitGroup
	filling.Go(func() { b.fill(events, nil) })
	defer filling.Wait()
	seen := 0
	for seen < events {
		m := fast.next()
		if m.Gap != nil { // it is only as fast as this machine
			seen += int(m.Gap.N)
			continue
		}
		seen += len(m.Events)
		if len(m.Events) > 0 {
			ack, err := json.Marshal(map[string]int64{"ack": m.Last})
			must(t, err)
			fast.say(string(ack))
		}
	}
	b.waitFor(func() bool { return b.hub.Status().Position == events })
	var last int64
	delivered := 0
	for frames := 0; frames < 4; {
		m := lazy.next()
		if m.Gap != nil {
			t.Fatal("a gap before the window was full")
		}
		if n := len(m.Events); n > 0 {
			frames++
			delivered += n
			last = m.Last
		}
	}
	ack, err := json.Marshal(map[string]int64{"ack": last})
	must(t, err)
	lazy.say(string(ack))
	var gap int64
	for int64(delivered)+gap < events {
		m := lazy.next()
		if m.Gap != nil {
			if m.Gap.From != last+1 {
				t.Fatalf("gap %+v behind %d", m.Gap, last)
			}
			gap += m.Gap.N
			last = m.Gap.To
			continue
		}
		if n := len(m.Events); n > 0 {
			if m.Seqs[0] != last+1 {
				t.Fatalf("%d follows %d and no gap says so", m.Seqs[0], last)
			}
			delivered += n
			last = m.Last
			ack, err := json.Marshal(map[string]int64{"ack": m.Last})
			must(t, err)
			lazy.say(string(ack))
		}
	}
	if gap == 0 {
		t.Error("nothing was left out")
	}
	_ = silent
}

func TestSocketWhoMayConnect(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *httpapi.Options) {
		o.Tokens = []string{"right"}
		o.Origins = []string{"https://friend.example"}
	})
	for _, c := range []struct {
		name, query, origin, protocol, authorization string
		status                                       int
	}{
		{"no token", "", "", "", "", 403},
		{"token in the address", "?token=right", "", "", "", 101},
		{"token in a header", "", "", "", "Bearer right", 101},
		{"token as a browser", "", "", "bearer, right", "", 101},
		{"wrong token", "?token=wrong", "", "", "", 403},
		{"page of this server", "?token=right", "http://" + b.addr, "", "", 101},
		{"page of this machine", "?token=right", "http://localhost:5173", "", "", 101},
		{"a friend's page", "?token=right", "https://friend.example", "", "", 101},
		{"another page", "?token=right", "https://evil.example", "", "", 403},
		{"a page without a name", "?token=right", "null", "", "", 403},
		{"bad filter", "?token=right&q=type:", "", "", "", 400},
		{"bad position", "?token=right&since=-4", "", "", "", 400},
	} {
		headers := []string{"Authorization", c.authorization}
		if c.origin != "" {
			headers = append(headers, "Origin", c.origin)
		}
		if c.protocol != "" {
			headers = append(headers, "Sec-WebSocket-Protocol", c.protocol)
		}
		w, response := b.dial(c.query, headers...)
		if response.StatusCode != c.status {
			t.Errorf("%s: %s", c.name, response.Status)
		}
		if w != nil {
			w.hello()
			_ = w.conn.CloseNow()
		}
	}
	checkFailure(t, "no upgrade", b.do("GET", "/api/v1/stream?token=right", ""), 400, bloodbank.CodeInvalid, "WebSocket")
}

func TestSocketsEndWithClientAndServer(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *httpapi.Options) { o.Limits.Streams = 2; o.Heartbeat = 10 * time.Millisecond })
	gone, _ := b.dial("")
	stays, _ := b.dial("")
	gone.hello()
	stays.hello()
	if _, response := b.dial(""); response.StatusCode != http.StatusTooManyRequests {
		t.Error(response.Status)
	}
	must(t, gone.conn.CloseNow())
	b.waitFor(func() bool { return b.hub.Status().Watchers == 1 })
	b.api.Close()
	for {
		if _, _, err := stays.conn.Read(stays.ctx); err != nil {
			if websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Error(err)
			}
			break
		}
	}
	b.waitFor(func() bool { return b.hub.Status().Watchers == 0 })
	if _, response := b.dial(""); response.StatusCode != http.StatusServiceUnavailable {
		t.Error(response.Status)
	}
}
