package gateway

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	// every is how often audio is sent, and how often upstream tells its state: one new
	// word each time.
	every = 100 * time.Millisecond
	// lineWords is after how many words a line ends in a pause.
	lineWords = 40
	// keptLines is how many lines a state has at the most, as with upstream's retention.
	keptLines = 6
)

// words are the times when each word of each connection was told, in Unix nanoseconds.
type words struct {
	told [][]atomic.Int64
	next atomic.Int64
}

func newWords(connections, each int) *words {
	w := &words{told: make([][]atomic.Int64, connections)}
	for i := range w.told {
		w.told[i] = make([]atomic.Int64, each)
	}
	return w
}

// unseen counts what was told to each and did not come.
func (w *words) unseen(all []*speaker) (n int) {
	for _, s := range all {
		told := w.told[s.connection]
		for i := s.seen; i < len(told); i++ {
			if told[i].Load() > 0 {
				n++
			}
		}
	}
	return n
}

func (w *words) forget() {
	w.next.Store(0)
	for _, connection := range w.told {
		for i := range connection {
			connection[i].Store(0)
		}
	}
}

// upstream is a WhisperLiveKit server 0.2.26 with --pcm-input that hears one word in
// each frame.
type upstream struct {
	words  *words
	server *http.Server
	url    string
}

func startUpstream(w *words) (*upstream, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u := &upstream{words: w, url: "ws://" + l.Addr().String() + "/asr"}
	u.server = &http.Server{Handler: u}
	go func() { _ = u.server.Serve(l) }() // ends with Close, which says why
	return u, nil
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	say := func(text string) error { return conn.Write(r.Context(), websocket.MessageText, []byte(text)) }
	if say(`{"type":"config","useAudioWorklet":true,"mode":"full"}`) != nil {
		return
	}
	u.listen(r.Context(), conn, say)
}

// listen takes a number with the first audio, so that who only looks takes none.
func (u *upstream) listen(ctx context.Context, conn *websocket.Conn, say func(string) error) {
	number := -1
	var lines []string
	var open strings.Builder
	for n := 0; ; n++ {
		_, frame, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if len(frame) == 0 {
			_ = say(`{"type":"ready_to_stop"}`)
			continue
		}
		if number < 0 {
			number = int(u.words.next.Add(1)) - 1
		}
		if number >= len(u.words.told) || n >= len(u.words.told[number]) {
			continue
		}
		fmt.Fprintf(&open, " c%dw%d.", number, n)
		at := time.Duration(n) * every
		line := fmt.Sprintf(`{"speaker":1,"text":%q,"start":%q,"end":%q}`, open.String(), stamp(at-time.Duration(n%lineWords)*every), stamp(at+every))
		state := strings.Join(append(lines[:len(lines):len(lines)], line), ",")
		if n%lineWords == lineWords-1 {
			lines = append(lines, line, fmt.Sprintf(`{"speaker":-2,"text":"","start":%q,"end":%q}`, stamp(at), stamp(at+every)))
			lines = lines[max(0, len(lines)-keptLines):]
			open.Reset()
		}
		u.words.told[number][n].Store(time.Now().UnixNano())
		if say(`{"status":"active_transcription","lines":[`+state+`],"buffer_transcription":"","buffer_diarization":"","buffer_translation":"",`+
			`"remaining_time_transcription":0.1,"remaining_time_transcription_processing":0.1,"remaining_time_transcription_policy":0,"remaining_time_diarization":0}`) != nil {
			return
		}
	}
}

func stamp(d time.Duration) string {
	c := max(0, d) / (10 * time.Millisecond)
	return fmt.Sprintf("%d:%02d:%02d.%02d", c/360_000, c/6000%60, c/100%60, c%100)
}
