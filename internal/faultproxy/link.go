package faultproxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// link is one connection: the client's and the server's side.
type link struct {
	proxy  *Proxy
	client *net.TCPConn
	gone   chan struct{} // closed by reset

	mu     sync.Mutex
	server *net.TCPConn // nil before connect
	ended  bool
	torn   bool // bytes were lost
	half   bool // the server's side is gone, on purpose
}

// connect opens the server's side. To a server that is frozen it works, too.
func (l *link) connect(target string) bool {
	c, err := net.DialTimeout("tcp", target, 10*time.Second)
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		_ = c.Close()
		return false
	}
	l.server = c.(*net.TCPConn)
	return true
}

func (l *link) run() {
	var pumps sync.WaitGroup
	pumps.Go(func() { l.pump(l.client, l.server, ToServer) })
	pumps.Go(func() { l.pump(l.server, l.client, ToClient) })
	pumps.Wait()
	l.end(false)
}

func (l *link) reset() { l.end(true) }

func (l *link) end(reset bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	close(l.gone)
	for _, c := range []*net.TCPConn{l.client, l.server} {
		if c == nil {
			continue
		}
		if reset {
			_ = c.SetLinger(0)
		}
		_ = c.Close()
	}
}

func (l *link) halve() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || l.server == nil {
		return
	}
	l.half = true
	_ = l.server.SetLinger(0)
	_ = l.server.Close()
}

func (l *link) isHalf() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.half
}

func (l *link) isTorn() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.torn
}

func (l *link) tear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.torn = true
}

// pump carries bytes one way until that way ends.
func (l *link) pump(from, to *net.TCPConn, w Way) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !l.carry(to, buf[:n], w) {
			return
		}
		switch {
		case err == nil:
		case w == ToClient && l.isHalf():
			return // the client is not told
		case errors.Is(err, io.EOF):
			_ = to.CloseWrite()
			return
		default:
			l.reset()
			return
		}
	}
}

// carry brings b to its goal, or does to it what the fault of the hour wants. It
// returns false when the link has ended.
func (l *link) carry(to *net.TCPConn, b []byte, w Way) bool {
	f, ok := l.await(w)
	if !ok {
		return false
	}
	if f.drop[w] || l.isHalf() {
		l.tear()
		l.proxy.count(w, 0, len(b))
		return true
	}
	pass, last := l.proxy.spend(w, len(b))
	n, err := to.Write(b[:pass])
	l.proxy.count(w, n, 0)
	switch {
	case err != nil && w == ToServer && l.isHalf():
		return true
	case err != nil || last:
		l.reset()
		return false
	}
	return true
}

// await waits out latency and stalls.
func (l *link) await(w Way) (fault, bool) {
	l.proxy.mu.Lock()
	delay := l.proxy.fault.latency
	l.proxy.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-l.gone:
			return fault{}, false
		}
	}
	for {
		l.proxy.mu.Lock()
		f, changed := l.proxy.fault, l.proxy.changed
		l.proxy.mu.Unlock()
		if !f.stall[w] {
			return f, true
		}
		select {
		case <-changed:
		case <-l.gone:
			return fault{}, false
		}
	}
}
