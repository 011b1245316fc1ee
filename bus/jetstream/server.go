package jetstream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

var (
	errInUse   = errors.New("the folder is in use by another process")
	errStopped = errors.New("the embedded server is not running")
)

// wireTap stands between client and server; nil means a plain pipe.
type wireTap func(net.Conn) net.Conn

// embedded owns the server inside this process. It is the dialler of the client
// as well, so that a server started anew is found by reconnecting.
type embedded struct {
	opts Options
	lock *os.File

	mu   sync.Mutex
	srv  *server.Server // nil while stopped
	done bool           // stopped for good
	runs sync.WaitGroup
}

func startEmbedded(ctx context.Context, o Options) (*embedded, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("jetstream: cannot make the folder: %w", err)
	}
	lock, err := lockDir(filepath.Join(o.Dir, "bb.lock"))
	if err != nil {
		return nil, fmt.Errorf("jetstream: cannot take the folder %s: %w", o.Dir, err)
	}
	e := &embedded{opts: o, lock: lock}
	if err := e.start(ctx); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return e, nil
}

func (e *embedded) serverOptions() (*server.Options, error) {
	o := e.opts
	so := &server.Options{
		ServerName: "bloodbank",
		DontListen: o.Listen == "",
		NoSigs:     true,
		JetStream:  true,
		StoreDir:   o.Dir,
		// The disk is the limit. By default the server takes three quarters of
		// what is free at its start, and an old, large stream would not fit.
		JetStreamMaxStore: math.MaxInt64,
		SyncInterval:      o.SyncInterval,
		SyncAlways:        o.SyncAlways,
		MaxPayload:        int32(o.MaxMessage + headroom),
		// Above this the server cuts a client off as too slow. One pull asks
		// for two of the largest messages at the most.
		MaxPending: max(server.MAX_PENDING_SIZE, 4*int64(o.MaxMessage+headroom)),
	}
	if o.Listen == "" {
		return so, nil
	}
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("jetstream: Listen must be host:port: %w", err)
	}
	so.Host = host
	if so.Port, err = strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("jetstream: Listen has no numeric port: %w", err)
	}
	if so.Port == 0 {
		so.Port = server.RANDOM_PORT
	}
	return so, nil
}

// start runs a server and waits until it takes connections.
func (e *embedded) start(ctx context.Context) error {
	so, err := e.serverOptions()
	if err != nil {
		return err
	}
	srv, err := server.NewServer(so)
	if err != nil {
		return fmt.Errorf("jetstream: cannot set up the server: %w", err)
	}
	log := newServerLog(e.opts.Logger)
	srv.SetLoggerV2(log, false, false, false)
	started := make(chan struct{})
	e.runs.Go(func() {
		defer close(started)
		srv.Start()
	})
	if failed := e.awaitReady(ctx, srv, log.fatal); failed != nil {
		<-started // shut down while it still reads its files, it leaves them open
		srv.Shutdown()
		srv.WaitForShutdown()
		return failed
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.srv = srv
	return nil
}

// awaitReady asks in short steps, because the server's own wait ends for nothing
// but its time.
func (e *embedded) awaitReady(ctx context.Context, srv *server.Server, fatal <-chan string) error {
	const step = 100 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, e.opts.StartTimeout)
	defer cancel()
	for {
		ready := srv.ReadyForConnections(step)
		select {
		case why := <-fatal:
			return fmt.Errorf("jetstream: the server on the folder %s does not start: %s", e.opts.Dir, why)
		case <-ctx.Done():
			return fmt.Errorf("jetstream: the server on %s was not ready in time: %w", e.opts.Dir, context.Cause(ctx))
		default:
		}
		if ready && srv.JetStreamEnabled() {
			return nil
		}
	}
}

// halt stops the running server, which writes and syncs everything.
func (e *embedded) halt() {
	e.mu.Lock()
	srv := e.srv
	e.srv = nil
	e.mu.Unlock()
	if srv != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

// restart is the cure for a server that has met a write error: it refuses
// every message from then on, even when the disk has room again.
func (e *embedded) restart(ctx context.Context) error {
	e.halt()
	return e.start(ctx)
}

// stop ends the server for good and frees the folder.
func (e *embedded) stop() error {
	e.halt()
	e.runs.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.done {
		return nil
	}
	e.done = true
	return e.lock.Close()
}

// InProcessConn is called by the client to connect and to reconnect.
func (e *embedded) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	srv := e.srv
	e.mu.Unlock()
	if srv == nil {
		return nil, errStopped
	}
	conn, err := srv.InProcessConn()
	if err == nil && e.opts.wire != nil {
		conn = e.opts.wire(conn)
	}
	return conn, err
}

// addr is where other clients connect, "" when no port is open.
func (e *embedded) addr() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.srv == nil || e.opts.Listen == "" {
		return ""
	}
	return e.srv.ClientURL()
}
