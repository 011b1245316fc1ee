package faultproxy

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// echo is a server that sends back what it gets, and counts it.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

type wire struct {
	*testing.T
	net.Conn
}

func connect(t *testing.T, p *Proxy) wire {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return wire{t, c}
}

func (w wire) send(s string) {
	w.Helper()
	if _, err := io.WriteString(w.Conn, s); err != nil {
		w.Fatal(err)
	}
}

func (w wire) receive(want string) {
	w.Helper()
	_ = w.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, len(want))
	if n, err := io.ReadFull(w.Conn, b); err != nil || string(b) != want {
		w.Fatalf("got %q, %v; want %q", b[:n], err, want)
	}
}

// silent fails if anything comes, an end included.
func (w wire) silent() {
	w.Helper()
	_ = w.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	n, err := w.Read(make([]byte, 10))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		w.Fatalf("got %d bytes, %v; want silence", n, err)
	}
}

func (w wire) isReset() {
	w.Helper()
	_ = w.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := w.Read(make([]byte, 10))
	if !errors.Is(err, syscall.ECONNRESET) {
		w.Fatalf("got %d bytes, %v; want a reset", n, err)
	}
}

// refused fails unless a new connection is reset, during or after its making.
func refused(t *testing.T, p *Proxy) {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if errors.Is(err, syscall.ECONNRESET) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wire{t, c}.isReset()
}

func TestProxyPasses(t *testing.T) {
	t.Parallel()
	p := newProxy(t, echo(t))
	w := connect(t, p)
	w.send("hello")
	w.receive("hello")
	if err := w.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("an end must pass, too: %v", err)
	}
	eventually(t, "no connection is left", func() bool { return p.Stats().Open == 0 })
	if s := p.Stats(); s.Accepted != 1 || s.Passed != [2]int64{5, 5} || s.Dropped != [2]int64{} {
		t.Fatalf("%+v", s)
	}
}

func TestProxyLatency(t *testing.T) {
	t.Parallel()
	p := newProxy(t, echo(t))
	w := connect(t, p)
	p.Latency(50 * time.Millisecond)
	began := time.Now()
	w.send("a")
	w.receive("a")
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Fatalf("there and back took %s, want at least twice 50 ms", took)
	}
	p.Heal()
	w.send("b")
	w.receive("b")
}

func TestProxyCut(t *testing.T) {
	t.Parallel()
	p := newProxy(t, echo(t))
	w := connect(t, p)
	w.send("a")
	w.receive("a")
	p.Cut()
	w.isReset()
	refused(t, p)
	p.Heal()
	w = connect(t, p)
	w.send("b")
	w.receive("b")
}

func TestProxyHalfOpen(t *testing.T) {
	t.Parallel()
	p := newProxy(t, echo(t))
	w := connect(t, p)
	w.send("a")
	w.receive("a")
	p.HalfOpen()
	w.send("b")
	w.silent()
	w.send("c")
	eventually(t, "both are swallowed", func() bool { return p.Stats().Dropped[ToServer] == 2 })
	fresh := connect(t, p)
	fresh.send("d")
	fresh.receive("d")
	p.Heal()
	w.isReset()
	fresh.send("e")
	fresh.receive("e")
}

func TestProxyBlackHole(t *testing.T) {
	t.Parallel()
	p := newProxy(t, echo(t))
	w, idle := connect(t, p), connect(t, p)
	idle.send("i")
	idle.receive("i")
	p.BlackHole()
	w.send("a")
	w.silent()
	late := connect(t, p)
	late.send("b")
	late.silent()
	p.Heal()
	w.isReset()
	late.isReset()
	idle.send("j")
	idle.receive("j")
}

func TestProxyDropsReplies(t *testing.T) {
	t.Parallel()
	p := newProxy(t, echo(t))
	w := connect(t, p)
	p.Drop(ToClient)
	w.send("abc")
	eventually(t, "the answer is lost", func() bool { return p.Stats().Dropped[ToClient] == 3 })
	if s := p.Stats(); s.Passed[ToServer] != 3 || s.Dropped[ToServer] != 0 {
		t.Fatalf("the request must arrive: %+v", s)
	}
	w.silent()
	p.Heal()
	w.isReset()
}

func TestProxyStall(t *testing.T) {
	t.Parallel()
	for _, way := range []Way{ToServer, ToClient} {
		p := newProxy(t, echo(t))
		w := connect(t, p)
		p.Stall(way)
		w.send("abc")
		w.silent()
		p.Heal()
		w.receive("abc")
		w.send("d")
		w.receive("d")
	}
}

func TestProxyStallBlocksTheSender(t *testing.T) {
	t.Parallel()
	p := newProxy(t, echo(t))
	w := connect(t, p)
	p.Stall(ToServer)
	_ = w.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	piece := make([]byte, 1<<20)
	var err error
	for range 64 {
		if _, err = w.Write(piece); err != nil {
			break
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("64 MiB went into a bandwidth of 0: %v", err)
	}
}

func TestProxyResetsInTheMiddle(t *testing.T) {
	t.Parallel()
	p := newProxy(t, echo(t))
	w := connect(t, p)
	p.ResetAfter(ToClient, 3)
	w.send("abcdef")
	eventually(t, "the connection is gone", func() bool { return p.Stats().Accepted == 1 && p.Stats().Open == 0 })
	if s := p.Stats(); s.Passed != [2]int64{6, 3} {
		t.Fatalf("%+v", s)
	}
	w = connect(t, p) // it happens once
	w.send("abcdef")
	w.receive("abcdef")
}

func TestProxyWithoutServer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := l.Addr().String()
	_ = l.Close()
	refused(t, newProxy(t, target))
}

func newProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	p, err := New(target)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}
