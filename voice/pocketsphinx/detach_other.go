//go:build !unix

package pocketsphinx

import "os/exec"

func detach(*exec.Cmd) {}
