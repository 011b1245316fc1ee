package asrws

import (
	"bufio"
	"net"
	"net/http"
	"sync/atomic"
)

// wire is the connection below the WebSocket. It knows when that broke: the library
// reports a break between the header of a frame and its content as the frame's end, and
// that would be taken for the empty frame with which clients end their sessions.
type wire struct {
	net.Conn
	broke *atomic.Bool
}

// Read notes the first error.
func (w wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.broke.Store(true)
	}
	return n, err
}

// tap puts a wire under the WebSocket that is made of a response.
type tap struct {
	http.ResponseWriter
	broke *atomic.Bool
}

// Hijack implements [http.Hijacker].
func (t tap) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(t.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return wire{conn, t.broke}, buffered, nil
}
