package torture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// child is the program under torture. Its owner ends it by kill or stop, both of
// which wait for it.
type child struct {
	cmd    *exec.Cmd
	ready  chan string   // gets the address once
	exited chan struct{} // closed when it is gone; err says how
	err    error
	began  time.Time

	mu   sync.Mutex
	last []string // lines it printed
}

// keptLines is how much of what the program printed is shown in an error.
const keptLines = 30

var readyLine = regexp.MustCompile(`ready at (http://\S+)`)

// startChild starts the program and returns at once.
func startChild(o Options, env []string) (*child, error) {
	data := filepath.Join(o.Dir, "data")
	args := append(o.Command[1:len(o.Command):len(o.Command)], "up", "--listen", "127.0.0.1:0", "--data", data)
	c := &child{cmd: exec.Command(o.Command[0], args...), ready: make(chan string, 1), exited: make(chan struct{}), began: time.Now()}
	c.cmd.Env = env
	c.cmd.Dir = o.Dir // so that no .env of the user's is read
	c.cmd.SysProcAttr = ownGroup()
	out, err := c.cmd.StderrPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("torture: cannot start %s: %w", o.Command[0], err)
	}
	go c.follow(out)
	return c, nil
}

// follow ends with the program.
func (c *child) follow(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m := readyLine.FindStringSubmatch(lines.Text()); m != nil {
			select {
			case c.ready <- m[1]:
			default:
			}
		}
		c.mu.Lock()
		if c.last = append(c.last, lines.Text()); len(c.last) > keptLines {
			c.last = c.last[1:]
		}
		c.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, out) // a line over the limit must not block it
	c.err = c.cmd.Wait()
	close(c.exited)
}

func (c *child) output() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.last, "\n")
}

var (
	errEnded = errors.New("it ended by itself")
	errSlow  = errors.New("it was not ready in time")
)

// await returns the address once the program serves.
func (c *child) await(ctx context.Context, patience time.Duration) (url string, err error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case url := <-c.ready:
		return url, nil
	case <-c.exited:
		return "", fmt.Errorf("%w: %w\n%s", errEnded, errors.Join(c.err), c.output())
	case <-late.C:
		return "", fmt.Errorf("%w, which is %s\n%s", errSlow, patience, c.output())
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (c *child) gone() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

// kill ends it without warning.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // fails only where it is gone
	<-c.exited
}

func (c *child) signal(s syscall.Signal) { _ = c.cmd.Process.Signal(s) }

// stop asks it to end. An end that is late or not clean is an error.
func (c *child) stop(patience time.Duration) error {
	c.signal(syscall.SIGTERM)
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-c.exited:
		if c.err != nil {
			return fmt.Errorf("it did not end cleanly: %w\n%s", c.err, c.output())
		}
		return nil
	case <-late.C:
		c.kill()
		return fmt.Errorf("it did not end within %s\n%s", patience, c.output())
	}
}

// usage is the memory in bytes and the open descriptors, zero where the system
// does not say.
func (c *child) usage() (rss int64, files int) {
	proc := filepath.Join("/proc", strconv.Itoa(c.cmd.Process.Pid))
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			rss = kib << 10
		}
	}
	open, _ := os.ReadDir(filepath.Join(proc, "fd"))
	return rss, len(open)
}
