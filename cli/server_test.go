package cli_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// readyLimit is how long a server under the race detector may take to start on a
// busy machine.
const readyLimit = 60 * time.Second

// server is bb up in a process of its own.
type server struct {
	cmd    *exec.Cmd
	url    string
	exited chan struct{} // closed once the process is gone; err holds why
	err    error

	mu    sync.Mutex
	lines []string
}

var readyLine = regexp.MustCompile(`ready at (http://\S+)`)

// startServer starts bb up on a free port and returns at once; call awaitReady.
func startServer(dir string, args ...string) (*server, <-chan string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	s := &server{exited: make(chan struct{})}
	s.cmd = exec.Command(self, append([]string{"up", "--listen", "127.0.0.1:0", "--data", dir}, args...)...)
	s.cmd.Env = append(os.Environ(), asBBEnv+"=1")
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, nil, err
	}
	ready := make(chan string, 1)
	go s.follow(stderr, ready)
	return s, ready, nil
}

func (s *server) follow(stderr io.Reader, ready chan<- string) {
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if m := readyLine.FindStringSubmatch(lines.Text()); m != nil {
			ready <- m[1]
		}
		s.mu.Lock()
		s.lines = append(s.lines, lines.Text())
		s.mu.Unlock()
	}
	s.err = s.cmd.Wait()
	close(s.exited)
}

func (s *server) output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

func (s *server) awaitReady(ctx context.Context, ready <-chan string) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	select {
	case s.url = <-ready:
		return nil
	case <-s.exited:
		return fmt.Errorf("bb up ended before it was ready: %v\n%s", s.err, s.output())
	case <-ctx.Done():
		return fmt.Errorf("bb up was not ready in %s\n%s", readyLimit, s.output())
	}
}

// kill ends the process without warning.
func (s *server) kill() {
	_ = s.cmd.Process.Kill() // fails only when it is gone already
	<-s.exited
}

// stop asks the process to end and waits for it.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.exited:
		return s.err
	case <-time.After(readyLimit):
		s.kill()
		return fmt.Errorf("bb up did not stop in %s\n%s", readyLimit, s.output())
	}
}

// up starts a server for a test and ends it with the test.
func up(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	s, ready, err := startServer(dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	if err := s.awaitReady(t.Context(), ready); err != nil {
		t.Fatal(err)
	}
	return s
}
