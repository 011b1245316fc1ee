//go:build !unix

package vfs

import (
	"errors"
	"os"
)

func tryLock(*os.File) (bool, error) {
	return false, errors.New("file locks are not supported on this system: run on Linux, a BSD or macOS")
}
