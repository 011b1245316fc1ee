//go:build unix

package pocketsphinx

import (
	"os/exec"
	"syscall"
)

// detach puts the worker into a process group of its own: a Ctrl-C at the terminal is
// for the parent, which still wants the last utterance from it.
func detach(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
