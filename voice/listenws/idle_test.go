package listenws_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// pipes is a listener without a network, so that time is the test's.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// dialPipe connects to a door behind pipes.
func dialPipe(t *testing.T, o setup) (*client, *ledger) {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	o.Listen = func(h http.Handler) *httptest.Server {
		s := &httptest.Server{Listener: p, Config: &http.Server{Handler: h}}
		s.Start()
		return s
	}
	_, _, l := serve(t, o)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		here, there := net.Pipe()
		select {
		case p.conns <- there:
			return here, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	conn, _, err := websocket.Dial(t.Context(), "ws://pipe/v1/listen", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow(); transport.CloseIdleConnections() })
	return &client{t: t, ctx: t.Context(), conn: conn}, l
}

func TestIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, l := dialPipe(t, setup{})
		began := time.Now()
		c.expect("Metadata")
		c.send(unfinished())
		read := make(chan []map[string]any, 1)
		go func() { // who does not read answers no pings
			var all []map[string]any
			for {
				m, err := c.next()
				if err != nil {
					t.Error(err)
					break
				}
				if all = append(all, m); m["type"] == "Error" {
					break
				}
			}
			read <- all
		}()
		for range 5 { // signs of life
			<-time.After(29 * time.Second)
			c.control(`{"type":"KeepAlive"}`)
		}
		all := <-read
		if quiet := time.Since(began); quiet != (5*29+30)*time.Second {
			t.Errorf("cut off after %s", quiet)
		}
		if len(all) != 2 || transcript(all[0]) != "one" || all[0]["speech_final"] != true {
			t.Errorf("%v", all)
		}
		if status := c.status(); status != websocket.StatusInternalError {
			t.Errorf("closed with %d", status)
		}
		if end := l.end(t); end["reason"] != "disconnected" {
			t.Errorf("closing payload %v", end)
		}
	})
}
