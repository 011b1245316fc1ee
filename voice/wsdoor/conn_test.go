package wsdoor_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank/voice/wsdoor"
	"github.com/coder/websocket"
)

// single is a listener for one connection without a network, so that time is the test's.
type single struct {
	conn   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (s *single) Accept() (net.Conn, error) {
	select {
	case c := <-s.conn:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *single) Close() error   { s.once.Do(func() { close(s.closed) }); return nil }
func (s *single) Addr() net.Addr { return &net.TCPAddr{} }

// connect runs the test with both ends of a connection, inside a bubble.
func connect(t *testing.T, l wsdoor.Limits, test func(t *testing.T, c *wsdoor.Conn, client *websocket.Conn)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conns := make(chan *wsdoor.Conn, 1)
		over := make(chan struct{})
		server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			wire := new(wsdoor.Wire)
			ws, err := websocket.Accept(wire.Under(w), r, nil)
			if err != nil {
				t.Error(err)
				close(conns)
				return
			}
			c := wsdoor.NewConn(context.WithoutCancel(r.Context()), ws, wire, l)
			conns <- c
			<-over
			c.Drop()
			c.Wait()
		})}
		listener := &single{conn: make(chan net.Conn), closed: make(chan struct{})}
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(listener) })
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			listener.conn <- there
			return here, nil
		}}
		client, _, err := websocket.Dial(t.Context(), "ws://pipe/", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
		if err != nil {
			t.Fatal(err)
		}
		c := <-conns
		if c != nil {
			test(t, c, client)
		}
		close(over)
		_ = client.CloseNow()
		c.Wait()
		_ = server.Close()
		serving.Wait()
		transport.CloseIdleConnections()
	})
}

func send(t *testing.T, client *websocket.Conn, kind websocket.MessageType, b []byte) {
	t.Helper()
	if err := client.Write(t.Context(), kind, b); err != nil {
		t.Error(err)
	}
}

func TestFrames(t *testing.T) {
	connect(t, wsdoor.Limits{}, func(t *testing.T, c *wsdoor.Conn, client *websocket.Conn) {
		large := bytes.Repeat([]byte("ab"), 50_000)
		var sending sync.WaitGroup
		sending.Go(func() {
			send(t, client, websocket.MessageBinary, large)
			send(t, client, websocket.MessageText, []byte("{}"))
			send(t, client, websocket.MessageBinary, nil)
			send(t, client, websocket.MessageText, []byte(strings.Repeat("x", 100_000)))
			send(t, client, websocket.MessageBinary, []byte("end"))
		})
		var got []byte
		for len(got) < len(large) {
			f := <-c.Frames()
			if f.Text || len(f.Data) == 0 || len(f.Data) > 32<<10 {
				t.Fatalf("a piece of %d bytes, text %t", len(f.Data), f.Text)
			}
			got = append(got, f.Data...)
		}
		if !bytes.Equal(got, large) {
			t.Error("the pieces are not the frame")
		}
		if f := <-c.Frames(); !f.Text || string(f.Data) != "{}" {
			t.Errorf("%+v", f)
		}
		if f := <-c.Frames(); f.Text || len(f.Data) != 0 {
			t.Errorf("%+v", f)
		}
		if f := <-c.Frames(); !f.Text || len(f.Data) != wsdoor.MaxControl+1 {
			t.Errorf("%d bytes of a text that is too large", len(f.Data))
		}
		if f := <-c.Frames(); string(f.Data) != "end" {
			t.Errorf("%+v", f)
		}
		sending.Wait()
		_ = client.CloseNow()
		if f, more := <-c.Frames(); more {
			t.Errorf("%+v after the end", f)
		}
	})
}

// Frames that nobody takes hold the client up, not the memory; once they are not wanted
// they are thrown away.
func TestFramesThatWait(t *testing.T) {
	connect(t, wsdoor.Limits{}, func(t *testing.T, c *wsdoor.Conn, client *websocket.Conn) {
		sent := 0
		var sending sync.WaitGroup
		sending.Go(func() {
			for range 100 {
				send(t, client, websocket.MessageBinary, make([]byte, 32<<10))
				sent++
			}
		})
		synctest.Wait()
		if sent < 16 || sent > 20 {
			t.Errorf("%d frames are taken without anybody to take them", sent)
		}
		c.Deafen()
		c.Deafen()
		sending.Wait()
	})
}

func TestClientThatVanishes(t *testing.T) {
	connect(t, wsdoor.Limits{PingAfter: 20 * time.Second}, func(t *testing.T, c *wsdoor.Conn, client *websocket.Conn) {
		began := time.Now()
		// It neither closes nor reads, so it answers no ping.
		if f, more := <-c.Frames(); more {
			t.Errorf("%+v", f)
		}
		if took := time.Since(began); took < 20*time.Second || took > 61*time.Second {
			t.Errorf("found out after %s", took)
		}
	})
}

func TestQuietClientStays(t *testing.T) {
	connect(t, wsdoor.Limits{}, func(t *testing.T, c *wsdoor.Conn, client *websocket.Conn) {
		ctx := client.CloseRead(t.Context()) // reads, and so answers pings
		select {
		case f, more := <-c.Frames():
			t.Errorf("%+v %t", f, more)
		case <-ctx.Done():
			t.Error("cut off")
		case <-time.After(time.Hour):
		}
	})
}

// A client behind frames that wait cannot answer a ping, and is not cut off for it.
func TestBusySessionKeepsItsClient(t *testing.T) {
	connect(t, wsdoor.Limits{}, func(t *testing.T, c *wsdoor.Conn, client *websocket.Conn) {
		c.Busy(true)
		select {
		case f, more := <-c.Frames():
			t.Errorf("%+v %t", f, more)
		case <-time.After(time.Hour):
		}
		c.Busy(false)
		if _, more := <-c.Frames(); more {
			t.Error("it is never found out")
		}
	})
}

func TestWrites(t *testing.T) {
	connect(t, wsdoor.Limits{WriteWithin: 5 * time.Second}, func(t *testing.T, c *wsdoor.Conn, client *websocket.Conn) {
		var reading sync.WaitGroup
		reading.Go(func() {
			if _, b, err := client.Read(t.Context()); err != nil || string(b) != `{"a":"<&>"}` {
				t.Errorf("%s %v", b, err)
			}
		})
		if err := c.Write(t.Context(), map[string]string{"a": "<&>"}); err != nil {
			t.Error(err)
		}
		reading.Wait()
		if err := c.Write(t.Context(), make(chan int)); err == nil {
			t.Error("a channel was written")
		}
		began := time.Now()
		err := c.Write(t.Context(), strings.Repeat("x", 1<<20)) // nobody reads it
		if err == nil || !strings.Contains(err.Error(), "read nothing for 5s") || time.Since(began) != 5*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if _, more := <-c.Frames(); more {
			t.Error("the client is not cut off")
		}
	})
}

func TestLargestFrame(t *testing.T) {
	connect(t, wsdoor.Limits{MaxFrame: 10}, func(t *testing.T, c *wsdoor.Conn, client *websocket.Conn) {
		go func() { _ = client.Write(t.Context(), websocket.MessageBinary, make([]byte, 11)) }()
		_, _, err := client.Read(t.Context())
		if got := websocket.CloseStatus(err); got != websocket.StatusMessageTooBig {
			t.Errorf("closed with %d: %v", got, err)
		}
	})
}

func TestCloseTellsWhy(t *testing.T) {
	connect(t, wsdoor.Limits{}, func(t *testing.T, c *wsdoor.Conn, client *websocket.Conn) {
		var reading sync.WaitGroup
		reading.Go(func() {
			_, _, err := client.Read(t.Context())
			if websocket.CloseStatus(err) != 4400 || !strings.Contains(err.Error(), "bad") {
				t.Error(err)
			}
		})
		c.Close(4400, "bad")
		reading.Wait()
		c.Wait()
	})
}
