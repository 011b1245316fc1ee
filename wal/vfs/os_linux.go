package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func datasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) { // interrupted before it began: the one error that may be tried again
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
