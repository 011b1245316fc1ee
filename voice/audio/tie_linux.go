package audio

import (
	"os"
	"os/exec"
	"syscall"
)

// tie has the process die with us, and puts it into a group of its own, away from the
// terminal's Ctrl-C.
func tie(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// slay kills the process and its group. It must not have been waited for.
func slay(p *os.Process) {
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
	_ = p.Kill()
}
