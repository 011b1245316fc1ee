//go:build unix

package testenv

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
)

// shared owns what all tests of this process use together. It is a variable of
// the package because tests have no other way to meet; [Main] clears it.
var shared host

type host struct {
	installer installer
	rabbit    lazy[*rabbitNode]
	postgres  lazy[*cluster]

	mu      sync.Mutex
	running bool
}

// lazy starts a thing for the first who asks; all others get the same, or the
// same error.
type lazy[T interface{ close() error }] struct {
	mu      sync.Mutex
	started bool
	thing   T
	err     error
}

func (l *lazy[T]) get(open func() (T, error)) (T, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.started {
		l.started = true
		l.thing, l.err = open()
	}
	return l.thing, l.err
}

func (l *lazy[T]) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.started || l.err != nil {
		return nil
	}
	l.started = false
	return l.thing.close()
}

// Runner runs the tests of a package, and then stops the servers they shared.
type Runner struct{ m *testing.M }

// Main wraps m for goleak.VerifyTestMain, which finds nothing of ours left over.
func Main(m *testing.M) *Runner { return &Runner{m} }

// Run implements what goleak.VerifyTestMain wants.
func (r *Runner) Run() int {
	shared.setRunning(true)
	code := r.m.Run()
	shared.setRunning(false)
	if err := errors.Join(shared.rabbit.close(), shared.postgres.close()); err != nil {
		fmt.Fprintln(os.Stderr, "testenv: a shared server did not stop:", err)
		return max(code, 1)
	}
	return code
}

func (h *host) setRunning(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running = on
}

// check fails the test if nobody would stop what it shares.
func (h *host) check(tb testing.TB) {
	tb.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.running {
		tb.Fatal("a shared server needs an owner; write: func TestMain(m *testing.M) { goleak.VerifyTestMain(testenv.Main(m)) }")
	}
}

// borrow gives a test a handle on a shared server, and leaves it running for the
// next test whatever this one does to it.
func borrow(tb testing.TB, d *daemon) Server {
	s := Server{tb: tb, daemon: d}
	tb.Cleanup(func() {
		s.Thaw()
		s.Start()
	})
	return s
}
