package faultproxy

import (
	"net"
	"sync"
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

// New starts a proxy to target, host:port, on a free loopback port.
func New(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{target: target, listener: l, changed: make(chan struct{}), links: map[*link]bool{}}
	p.wg.Go(p.accept)
	return p, nil
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

// Close resets all connections and waits for them. It is idempotent.
func (p *Proxy) Close() {
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
