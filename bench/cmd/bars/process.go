package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"
)

// processRuns is how often each process is measured; medians are compared.
const processRuns = 31

func processBars(ctx context.Context, s settings) (_ []row, err error) {
	dir, err := os.MkdirTemp("", "bars-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bb := filepath.Join(s.root, "bin", "bb")
	settle()
	starts := make([]time.Duration, 5)
	for i := range starts {
		server, ready, err := startServer(ctx, bb, filepath.Join(dir, fmt.Sprint("start", i)))
		if err != nil {
			return nil, err
		}
		starts[i] = ready
		if err := server.stop(); err != nil {
			return nil, err
		}
	}
	server, _, err := startServer(ctx, bb, filepath.Join(dir, "data"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	above, err := publishAboveTrue(ctx, bb, server.url)
	if err != nil {
		return nil, err
	}
	return []row{
		{what: "bb up to ready (median of 5)", got: median(starts).Seconds() * 1000, unit: "ms", most: 1000},
		{what: "bb publish to a running server, above /bin/true", got: above.Seconds() * 1000, unit: "ms", most: 10},
	}, nil
}

// publishAboveTrue runs the two in turn and returns the difference of their
// medians.
func publishAboveTrue(ctx context.Context, bb, url string) (time.Duration, error) {
	var publish, nothing []time.Duration
	for range processRuns {
		took, err := timed(exec.CommandContext(ctx, bb, "publish", "llm.prompt", "--url", url, "--json", `{"provider":"p","prompt":"q"}`))
		if err != nil {
			return 0, err
		}
		publish = append(publish, took)
		if took, err = timed(exec.CommandContext(ctx, "/bin/true")); err != nil {
			return 0, err
		}
		nothing = append(nothing, took)
	}
	return median(publish) - median(nothing), nil
}

func timed(cmd *exec.Cmd) (time.Duration, error) {
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return time.Since(began), nil
}

func median(d []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)/2]
}

// server is bb up in a process of its own.
type server struct {
	cmd *exec.Cmd
	url string
}

var readyLine = regexp.MustCompile(`ready at (http://\S+)`)

func startServer(ctx context.Context, bb, data string, env ...string) (*server, time.Duration, error) {
	cmd := exec.CommandContext(ctx, bb, "up", "--listen", "127.0.0.1:0", "--data", data)
	cmd.Env = append(os.Environ(), env...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, 0, fmt.Errorf("%w (make build makes it)", err)
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if m := readyLine.FindStringSubmatch(lines.Text()); m != nil {
			took := time.Since(began)
			go func() { // so that it never waits for us to read
				for lines.Scan() {
				}
			}()
			return &server{cmd: cmd, url: m[1]}, took, nil
		}
	}
	return nil, 0, errors.Join(errors.New("bb up ended before it was ready"), cmd.Wait())
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.cmd.Wait()
}
