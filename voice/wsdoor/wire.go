package wsdoor

import (
	"bufio"
	"net"
	"net/http"
	"sync/atomic"
)

// Wire is the connection below a WebSocket. It knows when that broke: the library
// reports a break between the header of a frame and its content as the frame's end,
// which would be taken for the empty frame with which clients end their sessions, and
// hands on bytes of a torn frame that are still masked. The zero value is ready.
type Wire struct{ broke atomic.Bool }

// Under puts the wire under the WebSocket that is made of a response.
func (w *Wire) Under(response http.ResponseWriter) http.ResponseWriter { return tap{response, w} }

// Broke reports whether the connection has broken or ended: what was read last may be a
// piece of a frame that never came whole.
func (w *Wire) Broke() bool { return w.broke.Load() }

type tap struct {
	http.ResponseWriter
	wire *Wire
}

// Hijack implements [http.Hijacker].
func (t tap) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(t.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return tapped{conn, t.wire}, buffered, nil
}

type tapped struct {
	net.Conn
	wire *Wire
}

// Read notes the first error.
func (t tapped) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	if err != nil {
		t.wire.broke.Store(true)
	}
	return n, err
}
