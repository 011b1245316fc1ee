package jetstream

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"
)

// Dial makes the socket for the client library, which heeds no context.
func (r *remote) Dial(network, addr string) (net.Conn, error) {
	r.mu.Lock()
	ctx := r.dialling
	r.mu.Unlock()
	return dialSocket(ctx, r.opts.DialTimeout, network, addr)
}

func dialSocket(ctx context.Context, timeout time.Duration, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: timeout, KeepAlive: 15 * time.Second}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &socket{Conn: conn}, nil
}

// socket lets the last words of a server be read. A server that refuses says why
// and hangs up, maybe before we have written all: then the write fails, the
// library gives up, and the reason stays unread. So a write to a peer that hung
// up succeeds here, and the read that follows finds the reason, or the same end
// of the connection. Nothing is lost by it: no write is ever a confirm.
type socket struct{ net.Conn }

func (s *socket) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return len(p), nil
	}
	return n, err
}
