//go:build unix

package testenv

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// process is a running program with everything that it started.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the program has ended

	guard      *exec.Cmd
	guardInput io.Closer
}

// start runs cmd in a process group of its own, with its output in log. A guard
// kills that group and removes dir when the test process ends without stop.
func start(cmd *exec.Cmd, dir, log string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // how it ended does not matter: most are killed
	}()
	if err := p.watch(dir); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

func (p *process) watch(dir string) error {
	const script = `read -r _; kill -KILL "-$1"; rm -rf -- "$2"`
	p.guard = exec.Command("sh", "-c", script, "testenv-guard", strconv.Itoa(p.pid()), dir)
	p.guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	input, err := p.guard.StdinPipe()
	if err != nil {
		return err
	}
	p.guardInput = input
	return p.guard.Start()
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ended waits for the end of the program.
func (p *process) ended(within time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(within):
		return false
	}
}

// stop asks the program to end, and kills what is left after grace.
func (p *process) stop(sig syscall.Signal, group bool, grace time.Duration) {
	p.thaw()
	pid := p.pid()
	if group {
		pid = -pid
	}
	_ = syscall.Kill(pid, sig)
	p.ended(grace)
	p.kill()
}

// kill ends the program and its descendants at once, without a chance to react,
// and returns when they are gone.
func (p *process) kill() {
	pids := p.freeze()
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = syscall.Kill(-p.pid(), syscall.SIGKILL)
	<-p.done
	for _, pid := range pids {
		gone(pid, 10*time.Second)
	}
	if p.guard != nil && p.guard.Process != nil {
		_ = p.guard.Process.Kill()
		_ = p.guard.Wait()
		_ = p.guardInput.Close()
	}
}

// freeze stops the program and all its descendants, also those that appear
// while it is at work, and returns them.
func (p *process) freeze() []int {
	seen := map[int]bool{}
	var all []int
	for {
		before := len(all)
		for _, pid := range tree(p.pid()) {
			if !seen[pid] {
				seen[pid] = true
				all = append(all, pid)
				_ = syscall.Kill(pid, syscall.SIGSTOP)
			}
		}
		if len(all) == before {
			return all
		}
	}
}

func (p *process) thaw() {
	for _, pid := range tree(p.pid()) {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
}

// tree returns pid and its living descendants. Where there is no /proc, it knows
// only pid itself.
func tree(pid int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	alive := len(stats) == 0
	for _, path := range stats {
		child, parent, state := readStat(path)
		if state == 'Z' || state == 0 {
			continue
		}
		children[parent] = append(children[parent], child)
		alive = alive || child == pid
	}
	if !alive {
		return nil
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// readStat returns state 0 for a process that has just gone.
func readStat(path string) (pid, parent int, state byte) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, 0
	}
	pid, _ = strconv.Atoi(filepath.Base(filepath.Dir(path)))
	// The name in brackets may hold anything; what follows the last bracket is clean.
	_, err = fmt.Sscanf(string(b[bytes.LastIndexByte(b, ')')+1:]), " %c %d", &state, &parent)
	if err != nil {
		return 0, 0, 0
	}
	return pid, parent, state
}

// gone waits until pid does not run any more; nobody may have reaped it yet.
func gone(pid int, within time.Duration) bool {
	return poll(within, func() bool {
		if syscall.Kill(pid, 0) != nil {
			return true
		}
		_, _, state := readStat(fmt.Sprintf("/proc/%d/stat", pid))
		return state == 'Z'
	})
}

// poll asks again and again until yes or the time is over.
func poll(within time.Duration, yes func() bool) bool {
	deadline := time.After(within)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if yes() {
			return true
		}
		select {
		case <-tick.C:
		case <-deadline:
			return yes()
		}
	}
}
