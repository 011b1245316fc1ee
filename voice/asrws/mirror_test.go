package asrws_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/whisperlive"
	"github.com/coder/websocket"
)

// upstream is a WhisperLiveKit server of one script, behind a door.
func upstream(t *testing.T, script func(ctx context.Context, c *websocket.Conn)) *httptest.Server {
	t.Helper()
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		tell(r.Context(), c, `{"type":"config","useAudioWorklet":true,"mode":"full"}`)
		script(r.Context(), c)
	}))
	t.Cleanup(far.Close)
	r, err := whisperlive.New(whisperlive.Config{URL: strings.Replace(far.URL, "http", "ws", 1)})
	if err != nil {
		t.Fatal(err)
	}
	s, _, _ := serve(t, setup{Recogniser: r})
	return s
}

// tell writes messages; a client that is gone shows where it is read from.
func tell(ctx context.Context, c *websocket.Conn, messages ...string) {
	for _, m := range messages {
		_ = c.Write(ctx, websocket.MessageText, []byte(m))
	}
}

// toTheEnd reads audio up to the empty frame and says that all is told.
func toTheEnd(ctx context.Context, c *websocket.Conn) {
	for {
		_, frame, err := c.Read(ctx)
		if err != nil {
			return
		}
		if len(frame) == 0 {
			tell(ctx, c, `{"type":"ready_to_stop"}`)
			_, _, _ = c.Read(ctx)
			return
		}
	}
}

// hear reads so much audio, if it comes.
func hear(ctx context.Context, c *websocket.Conn, d time.Duration) bool {
	for left := 2 * audio.Samples(d); left > 0; {
		_, frame, err := c.Read(ctx)
		if err != nil || len(frame) == 0 {
			return false
		}
		left -= int64(len(frame))
	}
	return true
}

const (
	upstreamEarly = `{"status":"active_transcription","lines":[],"buffer_transcription":" Hel"}`
	upstreamState = `{ "status":"active_transcription","lines":[{"speaker":2,"text":" Hello.","start":"0:00:00.32","end":"0:00:02.96",` +
		`"translation":"Salut. "}],"buffer_transcription":"","buffer_translation":" caf\u00e9","not_yet_known":[1e2]}`
)

// TestUpstreamStatesArePassedOn: a client in front of an upstream of its own generation
// gets upstream's states byte for byte. One that knows sessions gets lines of ours, which
// never change and have their events, and so does one that wants another shape.
func TestUpstreamStatesArePassedOn(t *testing.T) {
	t.Parallel()
	s := upstream(t, func(ctx context.Context, c *websocket.Conn) {
		tell(ctx, c, upstreamEarly, upstreamState)
		toTheEnd(ctx, c)
	})
	plain := dial(t, s, "?target_language=fra_Latn")
	plain.await(func(raw string, _ map[string]any) bool { return raw == upstreamState })
	plain.send(nil)
	plain.rest()

	ours := dial(t, s, "?session_id=0198f3a0-0000-7000-8000-000000000001")
	ours.send(make([]byte, 2*audio.Samples(3*time.Second)))
	ours.send(nil)
	states := ours.tillReady()
	last := states[len(states)-1]
	line := last["lines"].([]any)[0].(map[string]any)
	if line["text"] != "Hello." || line["event_id"] == nil || last["not_yet_known"] != nil {
		t.Errorf("a client of ours is told %v", last)
	}

	diff := dial(t, s, "?mode=diff")
	diff.await(func(_ string, m map[string]any) bool {
		return m["type"] == "diff" && strings.Contains(m["buffer_transcription"].(string), "Hello.")
	})
}

// TestLostUpstreamIsTold: a client is told that upstream is lost, keeps its lines, and
// is told no more of it when upstream is back.
func TestLostUpstreamIsTold(t *testing.T) {
	t.Parallel()
	back := make(chan struct{})
	var lost atomic.Bool
	s := upstream(t, func(ctx context.Context, c *websocket.Conn) {
		if !lost.Load() {
			if !hear(ctx, c, 8*time.Second) {
				return // who asks whether we are there
			}
			lost.Store(true)
			tell(ctx, c, `{"status":"active_transcription","lines":[{"speaker":1,"text":" Hello.","start":"0:00:00.32","end":"0:00:00.96"},`+
				`{"speaker":-2,"text":"","start":"0:00:00.96","end":"0:00:07.00"},{"speaker":1,"text":" And","start":"0:00:07.00","end":"0:00:07.10"}]}`)
			return
		}
		<-back
		toTheEnd(ctx, c)
	})
	c := dial(t, s, "")
	c.send(make([]byte, 2*audio.Samples(8*time.Second)))
	says := func(m map[string]any) bool {
		said, _ := m["error"].(string)
		return strings.Contains(said, "the speech server was lost")
	}
	c.await(func(_ string, m map[string]any) bool { return says(m) && len(texts(m)) > 0 && texts(m)[0] == "Hello." })
	close(back)
	c.await(func(_ string, m map[string]any) bool { return !says(m) && len(texts(m)) > 0 && texts(m)[0] == "Hello." })
	c.send(nil)
	c.rest()
}

// await reads messages up to the one that is looked for.
func (c *client) await(found func(raw string, m map[string]any) bool) {
	c.t.Helper()
	for {
		raw, m := c.read()
		if found(raw, m) {
			return
		}
	}
}

// tillReady reads all states up to ready_to_stop, behind config.
func (c *client) tillReady() []map[string]any {
	c.t.Helper()
	c.greeting()
	return c.rest()
}
