//go:build !linux && !darwin && !freebsd

package pocketsphinx

import (
	"errors"
	"runtime"
)

func openLibrary(string) (*library, error) {
	return nil, errors.New("PocketSphinx is not supported on " + runtime.GOOS + "; choose another recogniser")
}
