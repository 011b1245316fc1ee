//go:build unix

package testenv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 90 * time.Second // a cold RabbitMQ on a busy machine
	stopTimeout  = 30 * time.Second
)

// daemon is a server that can be started again on the same port and files.
type daemon struct {
	name    string
	dir     string // of its own, removed by close
	port    int
	command func() *exec.Cmd
	ready   func() error // whether clients are served
	signal  syscall.Signal
	group   bool // the signal is for the whole process group

	mu   sync.Mutex
	proc *process // nil when it does not run
}

func (d *daemon) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(d.port)) }

func (d *daemon) logFile() string { return filepath.Join(d.dir, d.name+".log") }

// start returns when clients are served. On a running server it does nothing.
func (d *daemon) start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc != nil && d.proc.running() {
		return nil
	}
	if d.proc != nil {
		d.proc.kill() // it ended by itself: clear up behind it
	}
	p, err := start(d.command(), d.dir, d.logFile())
	if err != nil {
		d.proc = nil
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	d.proc = p
	last := errors.New("it was never asked")
	up := poll(startTimeout, func() bool {
		if !p.running() {
			return true
		}
		last = d.ready()
		return last == nil
	})
	if up && p.running() && last == nil {
		return nil
	}
	p.kill()
	d.proc = nil
	text, _ := os.ReadFile(d.logFile())
	return fmt.Errorf("%s did not come up: %w; the end of its log:\n%s", d.name, last, tail(text, 2000))
}

func (d *daemon) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc != nil {
		d.proc.stop(d.signal, d.group, stopTimeout)
		d.proc = nil
	}
}

func (d *daemon) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc != nil {
		d.proc.kill()
		d.proc = nil
	}
}

func (d *daemon) freeze() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc != nil {
		d.proc.freeze()
	}
}

func (d *daemon) thaw() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc != nil {
		d.proc.thaw()
	}
}

func (d *daemon) close() error {
	d.kill()
	return os.RemoveAll(d.dir)
}

// Server is a handle of one test on a server. Its methods may be called by any
// goroutine of the test; what fails is an error of the test.
type Server struct {
	tb     testing.TB
	daemon *daemon
}

// Addr is host:port. It stays the same over restarts.
func (s *Server) Addr() string { return s.daemon.addr() }

// Stop ends the server as its administrator would. Start brings it back.
func (s *Server) Stop() { s.daemon.stop() }

// Start starts the server and waits until it serves. It does nothing while the
// server runs.
func (s *Server) Start() {
	s.tb.Helper()
	if err := s.daemon.start(); err != nil {
		s.tb.Error(err)
	}
}

// Restart is Stop and Start.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	s.Start()
}

// Kill ends the server and all its processes with SIGKILL.
func (s *Server) Kill() { s.daemon.kill() }

// Freeze stops all processes of the server with SIGSTOP: connections stay open
// and new ones are made, but nothing answers.
func (s *Server) Freeze() { s.daemon.freeze() }

// Thaw ends Freeze.
func (s *Server) Thaw() { s.daemon.thaw() }

// Log returns what the server has printed so far.
func (s *Server) Log() string {
	b, _ := os.ReadFile(s.daemon.logFile())
	return string(b)
}

// newDir makes a folder that other users can enter. Its path is short, because
// the path of a socket may not be long.
func newDir() (string, error) {
	dir, err := os.MkdirTemp("", "bbenv")
	if err == nil {
		err = os.Chmod(dir, 0o755) //nolint:gosec // PostgreSQL runs as another user
	}
	return dir, err
}

// FreePort is a loopback port that nobody uses, for settings of a server that
// need one more.
func FreePort(tb testing.TB) string {
	tb.Helper()
	port, err := freePort()
	if err != nil {
		tb.Fatal(err)
	}
	return strconv.Itoa(port)
}

// freePort returns a loopback port that nobody uses. It is below those that the
// system gives to clients, so that nobody takes it while a server is down, and a
// client that tries to connect meanwhile cannot meet itself.
func freePort() (int, error) {
	for range 200 {
		port := 15_000 + rand.IntN(16_000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no free port on 127.0.0.1")
}

// attempt calls open a few times: the port may be taken between its choice and
// its use.
func attempt(open func() (*daemon, error)) (*daemon, error) {
	var errs error
	for range 3 {
		d, err := open()
		if err == nil {
			return d, nil
		}
		errs = errors.Join(errs, err)
	}
	return nil, errs
}

// boot gives d a folder and a port, lets prepare fill in the rest, and starts it.
func boot(name string, prepare func(d *daemon) error) (*daemon, error) {
	return attempt(func() (*daemon, error) {
		dir, err := newDir()
		if err != nil {
			return nil, err
		}
		d := &daemon{name: name, dir: dir, signal: syscall.SIGTERM}
		d.port, err = freePort()
		if err == nil {
			err = prepare(d)
		}
		if err == nil {
			err = d.start()
		}
		if err != nil {
			return nil, errors.Join(err, d.close())
		}
		return d, nil
	})
}
