package rabbitmq

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"encoding/pem"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/internal/testenv"
)

// impatient options make faults show soon.
func impatient(url string) Options {
	return Options{
		URL: url, Groups: []string{"reader"}, ConfirmTimeout: 300 * time.Millisecond, DialTimeout: time.Second,
		Heartbeat: time.Second, ReconnectMax: 100 * time.Millisecond, Window: 64,
	}
}

// TestFaultsOnTheWay breaks the way to the broker in each manner. What fails is
// sent again with the same id, as dispatch does, until it is confirmed; then
// every id must be in the queue, however often it failed after it happened.
func TestFaultsOnTheWay(t *testing.T) {
	rows := []struct {
		name    string
		begin   func(*testenv.Proxy)
		harmful bool // some messages must have failed
		twice   bool // failed but happened: some must have come twice
	}{
		{"latency", func(p *testenv.Proxy) { p.Latency(20 * time.Millisecond) }, false, false},
		{"refused", (*testenv.Proxy).Cut, true, false},
		{"reset", (*testenv.Proxy).ResetAll, true, false},
		{"reset in the middle of a frame", func(p *testenv.Proxy) { p.ResetAfter(testenv.ToServer, 2001) }, true, false},
		{"reset in the middle of a confirm", func(p *testenv.Proxy) { p.ResetAfter(testenv.ToClient, 5) }, true, true},
		{"half open", (*testenv.Proxy).HalfOpen, true, false},
		{"black hole", (*testenv.Proxy).BlackHole, true, false},
		{"confirms dropped", func(p *testenv.Proxy) { p.Drop(testenv.ToClient) }, true, true},
		{"requests dropped", func(p *testenv.Proxy) { p.Drop(testenv.ToServer) }, true, false},
		{"nothing gets through", func(p *testenv.Proxy) { p.Stall(testenv.ToServer) }, true, false},
	}
	r := testenv.RabbitMQ(t)
	for i, row := range rows {
		t.Run(strings.ReplaceAll(row.name, " ", "_"), func(t *testing.T) {
			way := testenv.NewProxy(t, r.Addr())
			o := impatient(r.URLAt(way.Addr()))
			o.Exchange = "row-" + string(rune('a'+i)) // with a queue of its own
			b := open(t, o)
			const count = 300
			p := &persistent{t: t, b: b, failed: make(chan bus.Message, count), confirmed: map[bloodbank.EventID]bool{}}
			sent := make([]bus.Message, count)
			for i := range sent {
				sent[i] = newMessage(t)
			}
			p.sendAll(sent[:100])
			row.begin(way)
			heal := time.AfterFunc(700*time.Millisecond, way.Heal)
			defer heal.Stop()
			p.sendAll(sent[100:])
			if row.harmful != (p.failures > 0) {
				t.Errorf("%d failures", p.failures)
			}
			seen := map[bloodbank.EventID]int{}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			total := 0
			err := b.Consume(ctx, bus.Consumer{Group: "reader"}, func(_ context.Context, batch []bus.Delivery) error {
				for _, d := range batch {
					seen[d.ID]++
					total++
				}
				if len(seen) == count {
					cancel()
				}
				return nil
			})
			if err != nil || len(seen) != count {
				t.Fatalf("%d of %d ids arrived, %v", len(seen), count, err)
			}
			if row.twice && total == count {
				t.Error("nothing came twice, so nothing failed after it happened")
			}
			t.Logf("%d failures, %d deliveries of %d", p.failures, total, count)
		})
	}
}

// persistent sends again what failed.
type persistent struct {
	t         *testing.T
	b         *Bus
	failed    chan bus.Message
	mu        sync.Mutex
	confirmed map[bloodbank.EventID]bool
	failures  int
}

func (p *persistent) sendAll(all []bus.Message) {
	p.t.Helper()
	for _, m := range all {
		p.failed <- m
	}
	goal := len(p.confirmed) + len(all)
	settled := make(chan struct{}, cap(p.failed))
	deadline := time.After(patience)
	for done := 0; ; {
		select {
		case m := <-p.failed:
			p.send(m, settled)
			continue
		case <-settled:
			done++
		case <-deadline:
			p.t.Fatal("not all were confirmed in time")
		}
		p.mu.Lock()
		n := len(p.confirmed)
		p.mu.Unlock()
		if n == goal {
			return
		}
	}
}

func (p *persistent) send(m bus.Message, settled chan<- struct{}) {
	again := func() {
		p.mu.Lock()
		p.failures++
		p.mu.Unlock()
		time.AfterFunc(20*time.Millisecond, func() { p.failed <- m })
	}
	err := p.b.Publish(p.t.Context(), m, func(err error) {
		if err != nil {
			again()
			return
		}
		p.mu.Lock()
		p.confirmed[m.ID] = true
		p.mu.Unlock()
		settled <- struct{}{}
	})
	if err != nil {
		again()
	}
}

// The broker is down at the start, for longer than the five attempts after which
// the client library gives up.
func TestTrapReconnectsForEver(t *testing.T) {
	r := testenv.RabbitMQ(t)
	way := testenv.NewProxy(t, r.Addr())
	way.Cut()
	o := impatient(r.URLAt(way.Addr()))
	o.ReconnectMax = 10 * time.Millisecond
	b := open(t, o)
	if err := b.Check(t.Context()); err == nil || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), way.Addr()) || strings.Contains(err.Error(), "secret") {
		t.Errorf("Check: %v; want an error that names the address and no password", err)
	}
	if err := b.Publish(t.Context(), newMessage(t), nil); err == nil || errors.Is(err, bus.ErrRejected) {
		t.Errorf("Publish: %v", err)
	}
	got := make(chan bus.Delivery, 1)
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		_ = b.Consume(ctx, bus.Consumer{Group: "reader"}, func(_ context.Context, batch []bus.Delivery) error {
			got <- batch[0]
			return nil
		})
	})
	until(t, "many attempts", func() bool { return way.Stats().Accepted > 20 })
	way.Heal()
	until(t, "the connection", func() bool { return b.Check(t.Context()) == nil })
	m := confirm(t, b, 1)[0]
	if d := receive(t, got); d.ID != m.ID {
		t.Errorf("delivered %s, want %s", d.ID, m.ID)
	}
}

// A write into a socket that takes nothing cannot be interrupted by the library;
// Publish heeds its context all the same, and the deadline ends the connection.
func TestTrapStalledWrite(t *testing.T) {
	r := testenv.RabbitMQ(t)
	way := testenv.NewProxy(t, r.Addr())
	b := open(t, impatient(r.URLAt(way.Addr())))
	way.Stall(testenv.ToServer)
	large := newMessage(t)
	large.Data = make([]byte, 3<<20) // more than the buffers of two sockets
	first := send(t, b, large)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := b.Publish(ctx, large, func(error) {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Publish: %v, want its context's end", err)
	}
	if err := receive(t, first); err == nil {
		t.Error("confirmed")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("reported after %v", took)
	}
	way.Heal()
	until(t, "publishing to work again", func() bool { return b.Check(t.Context()) == nil })
	confirm(t, b, 1)
}

// A broker that is low on memory stops reading from those who publish. Those who
// consume and acknowledge go on, over a connection of their own.
func TestTrapBlockedPublishersStillConsume(t *testing.T) {
	r := testenv.RabbitMQ(t)
	b := open(t, Options{URL: r.URL(), Groups: []string{"reader"}})
	confirm(t, b, 50)
	r.Block()
	defer r.Unblock()
	under := send(t, b, newMessage(t)) // the broker says "blocked" only now
	until(t, "Check to say blocked", func() bool { return errors.Is(b.Check(t.Context()), ErrBlocked) })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := b.Publish(ctx, newMessage(t), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Publish while blocked: %v", err)
	}
	if got := drain(t, b, "reader", 50); len(got) != 50 {
		t.Errorf("%d messages", len(got))
	}
	if n, err := b.Lag(t.Context(), "reader"); err != nil || n != 0 {
		t.Errorf("lag %d, %v: the acknowledgements did not arrive", n, err)
	}
	r.Unblock()
	if err := receive(t, under); err != nil {
		t.Errorf("after the block: %v", err)
	}
	confirm(t, b, 1)
}

// The broker closes the connection with a proper goodbye, again and again. What
// was under way may be stored and is never called refused, and the login of the
// URL still works: a version of the client library forgot the password after the
// first connection.
func TestTrapLoginSurvivesReconnects(t *testing.T) {
	r := testenv.RabbitMQ(t)
	b := open(t, Options{URL: r.URL(), Groups: []string{"reader"}, ReconnectMax: 5 * time.Millisecond})
	for range 3 {
		var results []<-chan error
		for range 100 {
			results = append(results, send(t, b, newMessage(t)))
		}
		r.CloseConnections()
		for _, c := range results {
			if err := receive(t, c); errors.Is(err, errNacked) || errors.Is(err, bus.ErrRejected) || errors.Is(err, ErrRefused) {
				t.Errorf("under way: %v", err)
			}
		}
		until(t, "the connection", func() bool { return b.Check(t.Context()) == nil })
	}
	confirm(t, b, 1)
}

// A blocked broker does not answer a goodbye, but goes on with its signs of life.
func TestTrapCloseWhileBlocked(t *testing.T) {
	r := testenv.RabbitMQ(t)
	o := impatient(r.URL())
	b, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r.Block()
	defer r.Unblock()
	under := send(t, b, newMessage(t))
	until(t, "Check to say blocked", func() bool { return errors.Is(b.Check(t.Context()), ErrBlocked) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := b.Close(ctx); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 10*closeGrace {
		t.Errorf("closed after %v", took)
	}
	if err := receive(t, under); !errors.Is(err, bus.ErrClosed) && !errors.Is(err, ErrBlocked) {
		t.Errorf("what was under way: %v", err)
	}
}

// The server is killed and started again under one driver. What it confirmed must
// be there, although the queue is new: RabbitMQ forgets the log of a quorum queue
// that it made less than half a second before it died.
func TestTrapKilledWithANewQueue(t *testing.T) {
	r := testenv.RabbitMQ(t)
	o := impatient(r.URL())
	o.ConfirmTimeout = patience // a quorum queue first looks for its leader
	o.settle = time.Second
	b := open(t, o)
	sent := confirm(t, b, 100)
	r.Kill()
	until(t, "Check to say so", func() bool { return b.Check(t.Context()) != nil })
	r.Start()
	until(t, "the connection", func() bool { return b.Check(t.Context()) == nil })
	sent = append(sent, confirm(t, b, 10)...)
	for i, d := range drain(t, b, "reader", len(sent)) {
		if d.ID != sent[i].ID {
			t.Fatalf("message %d is another one", i)
		}
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	web := httptest.NewUnstartedServer(nil) // for its certificate, of 127.0.0.1
	web.StartTLS()
	defer web.Close()
	certificate := web.TLS.Certificates[0]
	s := (&stub{}).serve(t, func(l net.Listener) net.Listener {
		return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{certificate}})
	})
	url := "amqps" + strings.TrimPrefix(s.url(), "amqp")
	refusedWith(t, Options{URL: url}, "not trusted", "bus.ca")
	refusedWith(t, Options{URL: url + "?cacertfile=missing.pem"}, "TLS file")
	if b, err := Open(t.Context(), Options{URL: s.url(), DialTimeout: time.Second}); err != nil || b.Check(t.Context()) == nil {
		t.Errorf("plain AMQP to a TLS port: %v", err)
	} else {
		closeBus(t, b)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	confirm(t, open(t, Options{URL: url + "?cacertfile=" + ca}), 100)
	pool := x509.NewCertPool()
	pool.AddCert(web.Certificate())
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
	confirm(t, open(t, Options{URL: url, TLS: config}), 1)
	if config.ServerName != "" {
		t.Error("the caller's configuration was changed")
	}
}

// A broker that hangs up during the login ends, or refuses.
func TestHangsUpDuringLogin(t *testing.T) {
	t.Parallel()
	s := (&stub{hangUp: func(n int) bool { return n == 0 }}).serve(t, nil)
	confirm(t, open(t, Options{URL: s.url()}), 1)
	s = (&stub{hangUp: func(int) bool { return true }}).serve(t, nil)
	refusedWith(t, Options{URL: s.url()}, `"stub"`)
	// One that never answers is not a refusal.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := open(t, Options{URL: "amqp://" + l.Addr().String(), DialTimeout: 50 * time.Millisecond})
	if err := b.Check(t.Context()); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("Check: %v", err)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for n, ceiling := range map[int]time.Duration{1: 100, 2: 200, 3: 400, 7: 6400, 8: 10_000, 1000: 10_000} {
		seen := map[time.Duration]bool{}
		for range 200 {
			d := backoff(n, 100*time.Millisecond, 10*time.Second)
			if d <= 0 || d > ceiling*time.Millisecond {
				t.Errorf("attempt %d: %v, want at most %v", n, d, ceiling*time.Millisecond)
			}
			seen[d] = true
		}
		if len(seen) < 100 {
			t.Errorf("attempt %d: only %d different pauses", n, len(seen))
		}
	}
}
