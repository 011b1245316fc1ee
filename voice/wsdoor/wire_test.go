package wsdoor_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coder/websocket"

	"github.com/33god/bloodbank/voice/wsdoor"
)

// A connection that breaks within a frame, or right behind its header, hands on
// neither noise nor the empty frame that would end a session.
func TestBreakWithinAFrame(t *testing.T) {
	t.Parallel()
	for name, torn := range map[string][]byte{
		"behind the header": {0x82, 0x84, 1, 2, 3, 4},
		"within the frame":  {0x82, 0x84, 1, 2, 3, 4, 'n', 'o'},
		"within the header": {0x82},
	} {
		frames := make(chan []wsdoor.Frame, 1)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			wire := new(wsdoor.Wire)
			ws, err := websocket.Accept(wire.Under(w), r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			c := wsdoor.NewConn(context.WithoutCancel(r.Context()), ws, wire, wsdoor.Limits{})
			var got []wsdoor.Frame
			for f := range c.Frames() {
				got = append(got, f)
			}
			c.Drop()
			c.Wait()
			frames <- got
		}))
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n%s%s", "\x82\x82\x01\x02\x03\x04ij", torn)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := <-frames; len(got) != 1 || string(got[0].Data) != "hh" {
			t.Errorf("%s: %+v", name, got)
		}
		_ = conn.Close()
		server.Close()
	}
}
