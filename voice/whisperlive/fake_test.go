package whisperlive

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice/audio"
	"github.com/coder/websocket"
)

// generation is what a fake server looks like.
type generation int

const (
	modern     generation = iota // 0.2.26 with --pcm-input
	fork                         // HeyMa: session_info, no config, beg and end
	withFFmpeg                   // 0.2.26 without --pcm-input
)

// hearing writes down one utterance for a fake server.
type hearing func(pcm []int16) string

// fake is a WhisperLiveKit server in the test's process. It finds utterances by their
// energy and tells them as upstream does: first in the buffer, then in the lines.
type fake struct {
	t     *testing.T
	gen   generation
	hear  hearing
	token string
	// crashAfter is how much audio the connections take before they die, in order.
	mu         sync.Mutex
	crashAfter []time.Duration
	polite     bool // they die with a close frame
	dials      int
	queries    []string
	server     *httptest.Server
}

func serveFake(t *testing.T, f *fake) *fake {
	t.Helper()
	f.t = t
	f.server = httptest.NewServer(f)
	t.Cleanup(f.server.Close)
	return f
}

func (f *fake) url() string { return strings.Replace(f.server.URL, "http", "ws", 1) }

func (f *fake) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if f.token != "" && q.Header.Get("Authorization") != "Bearer "+f.token {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	conn, err := websocket.Accept(w, q, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(16 << 20)
	f.mu.Lock()
	f.dials++
	f.queries = append(f.queries, q.URL.RawQuery)
	c := &fakeSession{fake: f, conn: conn, crash: -1}
	if len(f.crashAfter) > 0 {
		c.crash, f.crashAfter = f.crashAfter[0], f.crashAfter[1:]
	}
	f.mu.Unlock()
	c.serve(q.Context())
}

// fakeSession is one connection to a fake.
type fakeSession struct {
	*fake
	conn  *websocket.Conn
	crash time.Duration
	pcm   []int16 // of the utterance that is open
	start int64
	lines []map[string]any
	ends  *audio.Endpointer
	ctx   context.Context
}

func (c *fakeSession) say(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		c.t.Error(err)
	}
	_ = c.conn.Write(c.ctx, websocket.MessageText, b)
}

func (c *fakeSession) serve(ctx context.Context) {
	c.ctx = ctx
	var err error
	if c.ends, err = audio.NewEndpointer(audio.EndpointSettings{}); err != nil {
		c.t.Error(err)
		return
	}
	switch c.gen {
	case fork:
		c.say(map[string]any{"type": "session_info", "session_id": "0f8fad5b-d9cb-469f-a165-70867728950e"})
	default:
		c.say(map[string]any{"type": "config", "useAudioWorklet": c.gen == modern, "mode": "full"})
	}
	c.update("")
	var decoder audio.Decoder
	for {
		kind, b, err := c.conn.Read(ctx)
		if err != nil {
			return
		}
		if kind == websocket.MessageText {
			c.t.Errorf("a text frame: %q", b)
			return
		}
		if len(b) == 0 {
			c.ends.Flush(c)
			c.say(map[string]any{"type": "ready_to_stop"})
			_, _, _ = c.conn.Read(ctx)
			return
		}
		var pcm []int16
		if c.gen == withFFmpeg {
			if pcm, err = decoder.Decode(nil, bytes.Clone(b)); err != nil {
				c.t.Errorf("container: %v", err)
			}
		} else {
			for i := 0; i+1 < len(b); i += 2 {
				pcm = append(pcm, int16(uint16(b[i])|uint16(b[i+1])<<8))
			}
		}
		c.ends.Write(pcm, c)
		if c.crash >= 0 && audio.Duration(c.ends.Position()) > c.crash {
			if c.polite {
				_ = c.conn.Close(websocket.StatusInternalError, "")
			}
			return
		}
	}
}

func (c *fakeSession) SpeechStart(at int64)    { c.start, c.pcm = at, nil }
func (c *fakeSession) SpeechAudio(pcm []int16) { c.pcm = append(c.pcm, pcm...) }
func (c *fakeSession) SpeechEnd(at int64, _ audio.EndReason) {
	text := c.hear(c.pcm)
	if text == "" {
		return
	}
	words := strings.Fields(text)
	for n := range words {
		c.update(" " + strings.Join(words[:n+1], " "))
	}
	if len(c.lines) > 0 {
		c.lines = append(c.lines, c.line(-2, "", 0, 0))
	}
	c.lines = append(c.lines, c.line(1, " "+text, c.start, at))
	c.update("")
}

func (c *fakeSession) line(speaker int, text string, start, end int64) map[string]any {
	l := map[string]any{"speaker": speaker, "text": text}
	if c.gen == fork {
		l["beg"], l["end"], l["diff"] = coarse(start), coarse(end), 0.5
	} else {
		l["start"], l["end"] = fine(start), fine(end)
	}
	return l
}

func coarse(at int64) string { return fine(at)[:7] }
func fine(at int64) string {
	ms := audio.Duration(at).Milliseconds()
	return fmt.Sprintf("%d:%02d:%02d.%02d", ms/3600000, ms/60000%60, ms/1000%60, ms/10%100)
}

func (c *fakeSession) update(buffer string) {
	status := "active_transcription"
	if len(c.lines) == 0 && buffer == "" {
		status = "no_audio_detected"
	}
	u := map[string]any{"status": status, "lines": c.lines, "buffer_transcription": buffer, "buffer_diarization": "",
		"remaining_time_transcription": 0.1, "remaining_time_diarization": 0}
	if c.lines == nil {
		u["lines"] = []any{}
	}
	if c.gen != fork {
		u["buffer_translation"], u["remaining_time_transcription_processing"], u["remaining_time_transcription_policy"] = "", 0.1, 0.0
	}
	c.say(u)
}
