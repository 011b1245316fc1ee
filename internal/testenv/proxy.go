//go:build unix

package testenv

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Way is a direction through a [Proxy].
type Way int

// The two ways.
const (
	ToServer Way = iota
	ToClient
)

// Proxy stands between clients and a server, and breaks the way on demand. The
// faults combine, and last until [Proxy.Heal]. They hold for connections that
// are open and for new ones, where a method does not say otherwise.
type Proxy struct {
	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	fault   fault
	changed chan struct{} // closed and renewed when the fault changes
	links   map[*link]bool
	stats   Stats
}

type fault struct {
	latency time.Duration
	refuse  bool
	drop    [2]bool // by way: bytes vanish
	stall   [2]bool // by way: bytes wait
	reset   [2]int  // by way: so many bytes are let through before the reset; 0 is off
}

// Stats counts since the start of the proxy.
type Stats struct {
	// Accepted counts connections of clients, refused ones too; Open is how many
	// are open now.
	Accepted, Open int
	// Passed and Dropped are bytes by [Way].
	Passed, Dropped [2]int64
}

// NewProxy starts a proxy to target (host:port) that ends with the test.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{target: target, listener: l, changed: make(chan struct{}), links: map[*link]bool{}}
	p.wg.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

// Addr is where clients connect, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Stats returns the counts.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Open = len(p.links)
	return s
}

// Latency delays every piece of data by d, each way.
func (p *Proxy) Latency(d time.Duration) { p.set(func(f *fault) { f.latency = d }) }

// Cut resets all connections and refuses new ones, as if the server were down.
func (p *Proxy) Cut() {
	p.set(func(f *fault) { f.refuse = true })
	p.ResetAll()
}

// ResetAll resets all connections once; new ones work.
func (p *Proxy) ResetAll() {
	for _, l := range p.open() {
		l.reset()
	}
}

// HalfOpen makes the open connections what a crash of the other machine makes of
// them: the server's side is gone, the client's stays open, takes all bytes and
// never answers. New connections work.
func (p *Proxy) HalfOpen() {
	for _, l := range p.open() {
		l.halve()
	}
}

// BlackHole lets connections stand and be made, but no byte arrives either way.
func (p *Proxy) BlackHole() { p.set(func(f *fault) { f.drop = [2]bool{true, true} }) }

// Drop makes the bytes of one way vanish. Without those to the client a request
// is carried out, but the answer never comes: failed, but happened.
func (p *Proxy) Drop(w Way) { p.set(func(f *fault) { f.drop[w] = true }) }

// Stall is a bandwidth of 0, one way: bytes wait, so that the sender's writes
// block in the end. [Proxy.Heal] delivers them.
func (p *Proxy) Stall(w Way) { p.set(func(f *fault) { f.stall[w] = true }) }

// ResetAfter lets n (at least 1) more bytes pass one way, counted over all
// connections, and then resets the connection that carried the last of them: in
// the middle of a frame, where n says so. It happens once.
func (p *Proxy) ResetAfter(w Way, n int) { p.set(func(f *fault) { f.reset[w] = max(n, 1) }) }

// Heal ends all faults. Connections that have lost bytes are reset: what they
// carry makes no sense any more.
func (p *Proxy) Heal() {
	p.set(func(f *fault) { *f = fault{} })
	for _, l := range p.open() {
		if l.isTorn() {
			l.reset()
		}
	}
}

func (p *Proxy) set(change func(*fault)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.fault)
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) open() []*link {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*link
	for l := range p.links {
		all = append(all, l)
	}
	return all
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.ResetAll()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(c.(*net.TCPConn)) })
	}
}

func (p *Proxy) serve(client *net.TCPConn) {
	l := &link{proxy: p, client: client, gone: make(chan struct{})}
	p.mu.Lock()
	p.stats.Accepted++
	refuse := p.closed || p.fault.refuse
	if !refuse {
		p.links[l] = true
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.links, l)
	}()
	if refuse || !l.connect(p.target) {
		l.reset()
		return
	}
	l.run()
}

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

// spend takes n bytes from what may pass before a reset.
func (p *Proxy) spend(w Way, n int) (pass int, last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := p.fault.reset[w]
	if left == 0 {
		return n, false
	}
	pass = min(n, left)
	p.fault.reset[w] = left - pass
	return pass, pass == left
}

func (p *Proxy) count(w Way, passed, dropped int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Passed[w] += int64(passed)
	p.stats.Dropped[w] += int64(dropped)
}
