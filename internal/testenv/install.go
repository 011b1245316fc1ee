//go:build unix

package testenv

import (
	"errors"
	"fmt"
	"io/fs"
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

// The environment variables that people set.
const (
	// Engines says whether tests start real servers: "0" is never, unset is unless
	// go test has -short, anything else is always.
	Engines = "BB_TEST_ENGINES"
	// NoInstall forbids to install packages.
	NoInstall = "BB_TEST_NO_INSTALL"
)

// program is something of a Debian package that a test needs.
type program struct {
	name  string
	pkg   string
	globs []string // where else than in PATH it may be
}

func (p program) find() (string, bool) {
	if path, err := exec.LookPath(p.name); err == nil && len(p.globs) == 0 {
		return path, true
	}
	for _, g := range p.globs {
		// The highest version sorts last.
		if found, _ := filepath.Glob(g); len(found) > 0 {
			return found[len(found)-1], true
		}
	}
	path, err := exec.LookPath(p.name)
	return path, err == nil
}

// installer remembers which packages could not be had, so that each costs its
// time only once.
type installer struct {
	mu     sync.Mutex
	failed map[string]error
}

// off says why no servers are started; "" is that they are.
func off(engines string, short bool) string {
	switch {
	case engines == "0":
		return Engines + "=0"
	case engines == "" && short:
		return "go test -short leaves real servers out; " + Engines + "=1 has them all the same"
	}
	return ""
}

// need returns the path of the program, or skips the test.
func (i *installer) need(tb testing.TB, p program) string {
	tb.Helper()
	if why := off(os.Getenv(Engines), testing.Short()); why != "" {
		tb.Skipf("SKIPPED: %s is not started: %s", p.name, why)
	}
	if path, ok := p.find(); ok {
		return path
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.failed == nil {
		i.failed = map[string]error{}
	}
	if i.failed[p.pkg] == nil {
		i.failed[p.pkg] = install(tb, p)
	}
	path, ok := p.find()
	if !ok {
		tb.Skipf("SKIPPED: %s is not installed, and the package %s cannot be: %v; see scripts/setup test", p.name, p.pkg, i.failed[p.pkg])
	}
	return path
}

func install(tb testing.TB, p program) error {
	switch {
	case os.Getenv(NoInstall) != "":
		return errors.New(NoInstall + " is set")
	case os.Geteuid() != 0:
		return errors.New("only root may install packages")
	}
	apt, err := exec.LookPath("apt-get")
	if err != nil {
		return errors.New("there is no apt-get")
	}
	unlock, err := lockFile(filepath.Join(os.TempDir(), "bb-testenv-install.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if _, there := p.find(); there {
		return nil // by the one who had the lock before
	}
	tb.Logf("installing %s", p.pkg)
	allow, err := forbidServices("/usr/sbin/policy-rc.d")
	if err != nil {
		return err
	}
	defer allow()
	defer endNewEpmd(portTaken(epmdPort))
	get := []string{"-y", "-q", "-o", "DPkg::Lock::Timeout=120", "--no-install-recommends", "install", p.pkg}
	if runApt(apt, get...) == nil {
		return nil
	}
	if err := runApt(apt, "-q", "update"); err != nil {
		return err
	}
	return runApt(apt, get...)
}

func runApt(apt string, args ...string) error {
	cmd := exec.Command(apt, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	cmd.WaitDelay = time.Second
	timer := time.AfterFunc(5*time.Minute, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("apt-get: %w: %s", err, tail(out, 400))
	}
	return nil
}

// forbidServices keeps packages from starting their daemons while they are
// installed, by the file that Debian asks; one that is there already is left as
// it is.
func forbidServices(path string) (allow func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString("#!/bin/sh\n# Written by a test while it installs packages.\nexit 101\n")
	allow = func() { _ = os.Remove(path) }
	if err = errors.Join(err, f.Close()); err != nil {
		allow()
		return nil, err
	}
	return allow, nil
}

// lockFile waits for a lock that processes share.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

const epmdPort = 4369

func portTaken(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err == nil {
		_ = l.Close()
	}
	return err != nil
}

// endNewEpmd ends the port mapper of Erlang that RabbitMQ's installation leaves
// behind. It refuses to end while anybody uses it.
func endNewEpmd(wasThere bool) {
	if path, err := exec.LookPath("epmd"); err == nil && !wasThere && portTaken(epmdPort) {
		_ = exec.Command(path, "-kill").Run()
	}
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }
