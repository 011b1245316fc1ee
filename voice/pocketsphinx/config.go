package pocketsphinx

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
)

// Where Debian's packages put things.
const (
	// DefaultModelDir is the folder of package pocketsphinx-en-us.
	DefaultModelDir = "/usr/share/pocketsphinx/model/en-us"
	// Install is the command that brings the library and the model.
	Install = "apt-get install libpocketsphinx3 pocketsphinx-en-us"
	// WorkerCommand is the argument that makes our binary a worker.
	WorkerCommand = "asr-worker"

	debianSums = "/var/lib/dpkg/info/pocketsphinx-en-us.md5sums"
)

// Config tunes a [Recogniser]. The zero value is right for Debian.
type Config struct {
	// Library is the path or name of the shared library; "" tries the usual names.
	Library string
	// ModelDir holds the model; "" is [DefaultModelDir]. For a folder .../xx-yy it
	// contains xx-yy/ (the acoustic model), xx-yy.lm.bin and cmudict-xx-yy.dict.
	ModelDir string
	// Workers is the most processes that run at once, each about 250 MB; 0 is the
	// number of CPUs, at most 2. More than 64 is refused.
	Workers int
	// Command starts a worker; empty is our own binary with [WorkerCommand].
	Command []string
	// Env is added to the environment of the workers, as "NAME=value".
	Env []string
	// StartTimeout bounds the loading of the model; 0 is 60 s.
	StartTimeout time.Duration
	// HangTimeout and ten times the length of the audio is how long a worker may take for
	// an answer, then it is killed. It takes a third of the audio's length; 0 is 30 s.
	HangTimeout time.Duration
}

func (c Config) complete() (Config, error) {
	if c.ModelDir == "" {
		c.ModelDir = DefaultModelDir
	}
	if c.Workers == 0 {
		c.Workers = min(2, runtime.NumCPU())
	}
	if c.Workers < 1 || c.Workers > 64 {
		return c, fmt.Errorf("pocketsphinx Workers %d: give 1 to 64", c.Workers)
	}
	if c.StartTimeout < 0 || c.HangTimeout < 0 {
		return c, errors.New("pocketsphinx StartTimeout and HangTimeout must not be negative")
	}
	c.StartTimeout = cmp.Or(c.StartTimeout, time.Minute)
	c.HangTimeout = cmp.Or(c.HangTimeout, 30*time.Second)
	if len(c.Command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return c, fmt.Errorf("find our own binary to start a worker: %w", err)
		}
		c.Command = []string{self, WorkerCommand}
	}
	return c, nil
}
