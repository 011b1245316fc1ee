package jetstream

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/bus/bustest"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	bustest.Run(t, bustest.Harness{Open: func(t *testing.T) bustest.Broker {
		gate := newGate()
		o := Options{Dir: t.TempDir(), wire: gate.tap}
		b := open(t, o)
		var _ bus.Recaller = b
		return bustest.Broker{
			Driver: b,
			Restart: func(t *testing.T) bustest.Driver {
				closeBus(t, b)
				return open(t, o)
			},
			Freeze: gate.freeze,
		}
	}})
}

// open opens a bus that says everything to t and is closed with it.
func open(t testing.TB, o Options) *Bus {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	b, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBus(t, b) })
	return b
}

func closeBus(t testing.TB, b *Bus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// gate lets a test hold back what the server says.
type gate struct {
	mu    sync.Mutex
	open  chan struct{} // closed while open
	conns []net.Conn
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) freeze(*testing.T) func() {
	g.mu.Lock()
	defer g.mu.Unlock()
	shut := make(chan struct{})
	g.open = shut
	return sync.OnceFunc(func() { close(shut) })
}

// cut breaks the connections.
func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		_ = c.Close() // it may be closed already
	}
	g.conns = nil
}

func (g *gate) tap(c net.Conn) net.Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	gated := &gatedConn{Conn: c, gate: g, closed: make(chan struct{})}
	g.conns = append(g.conns, gated)
	return gated
}

type gatedConn struct {
	net.Conn
	gate   *gate
	once   sync.Once
	closed chan struct{}
}

func (c *gatedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.gate.mu.Lock()
	open := c.gate.open
	c.gate.mu.Unlock()
	select {
	case <-open:
	case <-c.closed:
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *gatedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
