//go:build !linux

package audio

import (
	"os"
	"os/exec"
)

// tie does nothing: without it ffmpeg still ends when its input does.
func tie(*exec.Cmd) {}

func slay(p *os.Process) { _ = p.Kill() }
