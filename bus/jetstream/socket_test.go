package jetstream

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLastWordsAreRead: a server that refuses and hangs up is heard, even when
// what we wrote came too late for it.
func TestLastWordsAreRead(t *testing.T) {
	t.Parallel()
	const reason = "-ERR 'Authorization Violation'\r\n"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	refused := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, err = io.WriteString(conn, reason)
			err = errors.Join(err, conn.Close())
		}
		refused <- err
	}()
	conn, err := dialSocket(t.Context(), time.Minute, "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := receive(t, refused); err != nil {
		t.Fatal(err)
	}
	untilItBreaks(t, conn.(*socket).Conn)
	if n, err := conn.Write([]byte("CONNECT {}\r\n")); err != nil || n != 12 {
		t.Fatalf("a write after the end: %d, %v", n, err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(conn)
	if !strings.HasPrefix(string(said), reason) {
		t.Errorf("read %q, %v", said, err)
	}
	if errors.Is(err, net.ErrClosed) {
		t.Error("the connection was closed on our side")
	}
}

// untilItBreaks writes until the peer's end of the connection is known here.
func untilItBreaks(t *testing.T, conn net.Conn) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		switch _, err := conn.Write([]byte("x")); {
		case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
			return
		case err != nil:
			t.Fatal(err)
		}
	}
	t.Fatal("writes to a connection that is closed there go on and on")
}
