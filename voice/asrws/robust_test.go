package asrws_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice/recognisertest"
	"github.com/coder/websocket"
)

// raw is a client below WebSockets: what it sends is not checked by a library.
func raw(t testing.TB, s *httptest.Server) (net.Conn, *bufio.Reader) { return rawAt(t, s, "") }

func rawAt(t testing.TB, s *httptest.Server, query string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET /asr"+query+" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", answer, err)
	}
	return conn, r
}

// frame is a masked frame with a key of zeros, which changes nothing.
func frame(opcode byte, size uint64, payload []byte) []byte {
	b := []byte{0x80 | opcode, 0x80 | 127}
	b = binary.BigEndian.AppendUint64(b, size)
	return append(append(b, 0, 0, 0, 0), payload...)
}

// Whatever comes below the frames ends one connection and nothing else, be it that the
// client then hangs up, or that it is only silent.
func TestBrokenFrames(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 5000)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	for name, b := range map[string][]byte{
		"nothing":          nil,
		"half a header":    {0x82},
		"more of a header": frame(2, 100, nil)[:7],
		"half a frame":     frame(2, 32_000, make([]byte, 16_000)),
		"a frame of 4 EiB": frame(2, 1<<62, make([]byte, 100_000)),
		"a size below 0":   frame(2, 1<<63, make([]byte, 100)),
		"unknown opcode":   frame(3, 4, []byte("abcd")),
		"huge ping":        frame(9, 4000, make([]byte, 4000)),
		"no mask":          {0x82, 4, 1, 2, 3, 4},
		"continuation":     frame(0, 4, []byte("abcd")),
		"reserved bits":    {0xf2, 0x80, 0, 0, 0, 0},
		"noise":            append([]byte{0xff}, noise...),
	} {
		for _, silent := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s silent=%t", name, silent), func(t *testing.T) { brokenFrame(t, b, silent) })
		}
	}
}

func brokenFrame(t *testing.T, b []byte, silent bool) {
	t.Parallel()
	s, _, l := serve(t, setup{PingAfter: 300 * time.Millisecond})
	conn, reader := raw(t, s)
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
	if !silent {
		_ = conn.(*net.TCPConn).CloseWrite() // fails where the server has hung up already
	}
	if _, err := reader.WriteTo(&bytes.Buffer{}); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("not let go: %v", err)
	}
	if end := l.end(t); end["reason"] != "disconnected" || end["utterances"] != 0.0 {
		t.Errorf("closing payload %v", end)
	}
}

// A connection that breaks inside a frame, at any byte: what was taken of it is what the
// client sent, to the byte, and all words are there once.
func TestConnectionBreaksInsideAFrame(t *testing.T) {
	t.Parallel()
	finals := numbered(6)
	s, _, l := serve(t, setup{Grace: time.Minute, Recogniser: scripted(recognisertest.Script{Finals: finals})})
	speech := said(len(finals), time.Second)
	query, at := "", 0
	for _, cut := range []int{0, 1, 8191, 8192, 8193, 40_001, 60_003} {
		conn, reader := rawAt(t, s, query)
		config := readRaw(t, reader)
		if at = int(config["received_bytes"].(float64)); at > len(speech) {
			t.Fatalf("received_bytes %d", at)
		}
		query = back(config, "")
		rest := bytes.Clone(speech[at:])
		for i := range rest {
			rest[i] ^= "\x12\x34\x56\x78"[i%4]
		}
		b := frame(2, uint64(len(rest)), rest)
		copy(b[10:14], "\x12\x34\x56\x78")
		if _, err := conn.Write(b[:14+cut]); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_, _ = reader.WriteTo(&bytes.Buffer{}) // until the server lets go
	}
	c := dial(t, s, query)
	config, _ := c.greeted()
	c.send(speech[int(config["received_bytes"].(float64)):])
	c.send(nil)
	c.rest()
	l.words(t, finals)
	for i, e := range l.all()[1 : 1+len(finals)] {
		m := object(t, e.Payload)["audio_metadata"].(map[string]any)
		if start := m["start_seconds"].(float64); start < 0.2+2*float64(i) || start > 0.7+2*float64(i) {
			t.Errorf("utterance %d starts at %g s", i+1, start)
		}
	}
}

// readRaw reads config below the library.
func readRaw(t *testing.T, r *bufio.Reader) map[string]any {
	t.Helper()
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil || head[0] != 0x81 || head[1] != 126 {
		t.Fatalf("frame %x, %v", head, err)
	}
	b := make([]byte, binary.BigEndian.Uint16(head[2:]))
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
	return object(t, b)
}

// Frames that hold no audio at all, but noise, are heard as noise.
func TestGarbage(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{})
	c := dial(t, s, "")
	all := make(chan []string, 1)
	go func() { all <- c.record() }()
	r := rand.New(rand.NewPCG(7, 7))
	c.send([]byte{0}) // no container begins so
	for range 300 {
		b := make([]byte, r.IntN(999)+1)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		c.send(b)
	}
	c.send(nil)
	if m := <-all; len(m) < 3 || strings.Contains(m[len(m)-2], `"error"`) {
		t.Errorf("messages %q", m)
	}
	if end := l.end(t); end["reason"] != "end" || end["audio_seconds"].(float64) < 1 {
		t.Errorf("closing payload %v", end)
	}
}

func TestTextFlood(t *testing.T) {
	t.Parallel()
	s, _, l := serve(t, setup{})
	c := dial(t, s, "")
	all := make(chan []string, 1)
	go func() { all <- c.record() }()
	speech := said(2, time.Second)
	c.send(speech[:len(speech)/2])
	deep := strings.Repeat("[", 2000)
	for range 700 {
		c.text("x")
		c.text(`{"type":"KeepAlive"}`)
		c.text(deep)
	}
	c.text(strings.Repeat(`{"type":"CloseStream"}`, 100_000))
	for range 1000 {
		c.text(`{"type":"Finalize"}`)
	}
	c.send(speech[len(speech)/2:])
	c.send(nil)
	m := <-all
	if got := texts(object(t, []byte(m[len(m)-2]))); len(got) < 2 {
		t.Errorf("lines %q", got)
	}
	if end := l.end(t); end["reason"] != "end" {
		t.Errorf("closing payload %v", end)
	}
}

// A client that reads nothing is let go when its messages find no more room, and holds up
// nobody: neither those who speak beside it, nor its own events.
func TestClientThatNeverReadsIsLetGo(t *testing.T) {
	t.Parallel()
	// Words that do not repeat: those that do are taken for a recogniser's loop.
	long := slices.Repeat([]string{strings.Join(numbered(8000), " ")}, 1000)
	s, _, l := serve(t, setup{SendWithin: time.Second, Recogniser: scripted(recognisertest.Script{Finals: long})})
	deaf := dial(t, s, "")
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		speech := said(1, time.Second)
		for deaf.conn.Write(deaf.ctx, websocket.MessageBinary, speech) == nil {
			continue
		}
	}()
	for range 3 {
		c := dial(t, s, "")
		c.conn.SetReadLimit(-1)
		all := make(chan []string, 1)
		go func() { all <- c.record() }()
		c.send(said(1, time.Second))
		c.send(nil)
		if m := <-all; len(texts(object(t, []byte(m[len(m)-2])))) != 1 {
			t.Errorf("%d messages", len(m))
		}
		c.conn.CloseNow()
	}
	for {
		if end := l.end(t); end["reason"] == "disconnected" {
			if end["utterances"].(float64) < 1 || end["failed"] != 0.0 {
				t.Errorf("closing payload %v", end)
			}
			break
		}
	}
	<-stopped
}

// Audio that comes a hundred times too fast waits at the client, and no word is lost.
func TestTooFast(t *testing.T) {
	t.Parallel()
	finals := numbered(40)
	hold := make(chan struct{})
	s, desk, l := serve(t, setup{Recogniser: scripted(recognisertest.Script{Finals: finals, Hold: hold})})
	c := dial(t, s, "")
	all := make(chan []string, 1)
	go func() { all <- c.record() }()
	speech := said(len(finals), 2500*time.Millisecond)
	sent := make(chan error, 1)
	go func() {
		for piece := range slices.Chunk(speech, 4000) {
			if err := c.conn.Write(c.ctx, websocket.MessageBinary, piece); err != nil {
				sent <- err
				return
			}
		}
		sent <- c.conn.Write(c.ctx, websocket.MessageBinary, nil)
	}()
	deadline := time.After(patience)
	for desk.Status().Lag < 30 {
		select {
		case <-deadline:
			t.Fatalf("lag %g: what waits never became much", desk.Status().Lag)
		case <-time.After(time.Millisecond):
		}
	}
	most := 0.0
	for range finals {
		hold <- struct{}{}
		most = max(most, desk.Status().Lag)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if most > 60 {
		t.Errorf("%g s of %d waited in the server", most, len(speech)/32_000)
	}
	m := <-all
	if got := texts(object(t, []byte(m[len(m)-2]))); !reflect.DeepEqual(got, finals) {
		t.Errorf("lines %q", got)
	}
	l.words(t, finals)
}
