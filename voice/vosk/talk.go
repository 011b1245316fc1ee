package vosk

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/coder/websocket"
)

const (
	// The server compares these byte for byte, blanks included.
	messageEnd   = `{"eof" : 1}`
	messageReset = `{"reset" : 1}`

	// window is how many chunks may be without an answer: two seconds of audio.
	window = 20
)

// answer is any message of the server.
type answer struct {
	Partial *string `json:"partial"`
	Text    *string `json:"text"`
	Result  []struct {
		Word  string  `json:"word"`
		Start float64 `json:"start"`
		End   float64 `json:"end"`
		Conf  float64 `json:"conf"`
	} `json:"result"`
}

// transcription has its times between the given ones, whatever the server says.
func (a *answer) transcription(origin, least, most time.Duration) voice.Transcription {
	t := voice.Transcription{Text: strings.Join(strings.Fields(*a.Text), " "), Start: least, End: most}
	var sum float64
	at := least
	for _, w := range a.Result {
		p := min(1, max(0, w.Conf))
		word := voice.Word{Text: w.Word, Confidence: p}
		word.Start = min(max(origin+seconds(w.Start), at), most-time.Millisecond)
		word.End = min(max(origin+seconds(w.End), word.Start+time.Millisecond), most)
		at, sum = word.Start, sum+p
		t.Words = append(t.Words, word)
	}
	if n := len(t.Words); n > 0 && t.Text != "" {
		mean := sum / float64(n)
		t.Start, t.End, t.Confidence = t.Words[0].Start, t.Words[n-1].End, &mean
	}
	return t
}

// seconds bounds absurd times, so that sums with them stay sane.
func seconds(s float64) time.Duration {
	return time.Duration(min(max(s, 0), 1e6) * float64(time.Second))
}

// talk is one connection. A goroutine reads; the stream writes.
type talk struct {
	conn    *websocket.Conn
	config  Config
	ctx     context.Context
	cancel  context.CancelFunc
	answers chan answer
	over    chan struct{} // closed when nothing more can be read
	err     error         // why; set before over is closed
}

func newTalk(ctx context.Context, conn *websocket.Conn, c Config) *talk {
	t := &talk{conn: conn, config: c, answers: make(chan answer), over: make(chan struct{})}
	t.ctx, t.cancel = context.WithCancel(ctx)
	go t.read()
	return t
}

// close ends the connection and waits for the reader.
func (t *talk) close() {
	t.cancel()
	_ = t.conn.CloseNow()
	<-t.over
}

func (t *talk) read() {
	defer close(t.over)
	for {
		_, b, err := t.conn.Read(t.ctx)
		if err != nil {
			t.err = fmt.Errorf("the Vosk server ends the connection: %w", err)
			return
		}
		var a answer
		if err := json.Unmarshal(b, &a); err != nil || a.Partial == nil && a.Text == nil {
			t.err = fmt.Errorf("%w: %.100q", errNonsense, b)
			return
		}
		select {
		case t.answers <- a:
		case <-t.ctx.Done():
			t.err = context.Cause(t.ctx)
			return
		}
	}
}

func (t *talk) write(kind websocket.MessageType, b []byte) error {
	ctx, cancel := context.WithTimeout(t.ctx, t.config.Timeout)
	defer cancel()
	err := t.conn.Write(ctx, kind, b)
	if err == nil {
		return nil
	}
	// What the server said last explains more than a broken pipe.
	select {
	case <-t.over:
		return t.err
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
	return fmt.Errorf("the Vosk server takes nothing more: %w", err)
}

func (t *talk) configure() error {
	config := map[string]any{"sample_rate": audio.SampleRate, "words": true, "max_alternatives": 0}
	if len(t.config.Phrases) > 0 {
		config["phrase_list"] = t.config.Phrases
	}
	b, err := json.Marshal(map[string]any{"config": config})
	if err != nil {
		return err
	}
	return t.write(websocket.MessageText, b)
}

// turn is how far a connection is with what is kept.
type turn struct {
	*talk
	origin int64 // position on the audio clock where the connection began to listen
	sent   int   // samples of kept
	heard  int   // samples of kept that were answered
	due    []int // samples of each chunk without an answer; 0 is the end of the utterance
	ending bool  // the end was asked for
}

// converse sends what is kept and what comes, and tells the answers. It returns nil when
// the server has heard all there is, or has ended the utterance with the connection.
func (s *stream) converse(t *talk) error {
	defer t.close()
	if err := t.configure(); err != nil {
		return err
	}
	n := &turn{talk: t, origin: s.at}
	quiet := time.NewTimer(t.config.Timeout)
	defer quiet.Stop()
	for {
		if err := s.feed(n); err != nil {
			return err
		}
		var ops chan op
		if s.end == "" && n.sent == len(s.kept) {
			ops = s.ops
		}
		var late <-chan time.Time
		if len(n.due) > 0 {
			late = quiet.C
		}
		select {
		case o := <-ops:
			if len(n.due) == 0 {
				quiet.Reset(t.config.Timeout)
			}
			s.take(o)
		case a := <-t.answers:
			quiet.Reset(t.config.Timeout)
			over, err := s.hear(n, a)
			if over || err != nil {
				return err
			}
		case <-late:
			return fmt.Errorf("the Vosk server has not answered for %s", t.config.Timeout)
		case <-t.over:
			return t.err
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
}

// feed sends chunks as far as the window allows, then the end if one is wished.
func (s *stream) feed(n *turn) error {
	for n.sent < len(s.kept) && len(n.due) < window {
		chunk := s.kept[n.sent:min(n.sent+slice, len(s.kept))]
		if err := n.write(websocket.MessageBinary, audio.Bytes(nil, chunk)); err != nil {
			return err
		}
		n.sent += len(chunk)
		n.due = append(n.due, len(chunk))
	}
	if s.end == "" || n.ending || n.sent < len(s.kept) {
		return nil
	}
	n.ending = true
	n.due = append(n.due, 0)
	if s.end != audio.EndStream && n.config.Reset {
		return n.write(websocket.MessageText, []byte(messageReset))
	}
	return n.write(websocket.MessageText, []byte(messageEnd))
}

// hear takes the answer to the oldest chunk without one. over says that the connection
// has done its work.
func (s *stream) hear(n *turn, a answer) (over bool, err error) {
	if len(n.due) == 0 {
		return false, fmt.Errorf("%w: an answer to nothing", errNonsense)
	}
	chunk := n.due[0]
	n.due = n.due[1:]
	n.heard += chunk
	switch {
	case chunk == 0 && a.Text == nil:
		return false, fmt.Errorf("%w: no result at the end", errNonsense)
	case chunk == 0:
		over = s.last || !n.config.Reset
		s.final(a, len(s.kept), n.origin, s.end)
		s.end, n.ending, n.sent, n.heard = "", false, 0, 0
	case a.Text != nil:
		s.final(a, n.heard, n.origin, audio.EndSilence)
		n.sent -= n.heard
		n.heard = 0
	default:
		s.interim(strings.TrimSpace(*a.Partial), n.heard)
	}
	return over, nil
}
