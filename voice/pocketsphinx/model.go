package pocketsphinx

import (
	"bufio"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/33god/bloodbank/voice"
)

// model names the files of a model folder.
type model struct{ acoustic, language, dictionary string }

func modelIn(dir string) model {
	name := filepath.Base(dir)
	return model{
		acoustic:   filepath.Join(dir, name),
		language:   filepath.Join(dir, name+".lm.bin"),
		dictionary: filepath.Join(dir, "cmudict-"+name+".dict"),
	}
}

// files lists every file with the least size that makes sense.
func (m model) files() map[string]int64 {
	least := map[string]int64{m.language: 1000, m.dictionary: 100}
	for name, size := range map[string]int64{
		"feat.params": 10, "mdef": 1000, "means": 1000, "variances": 1000,
		"sendump": 1000, "transition_matrices": 100, "noisedict": 10,
	} {
		least[filepath.Join(m.acoustic, name)] = size
	}
	return least
}

// modelCheck looks at the model before the library does, which would end its process on
// damaged files, or load them and talk nonsense.
type modelCheck struct {
	dir  string
	sums string // dpkg's list of MD5 sums; a missing list is no fault

	mu   sync.Mutex
	good string // fingerprint of what was found right
}

// check is quick as long as no file changes. Its error wraps [voice.ErrUnavailable].
func (c *modelCheck) check() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := modelIn(c.dir)
	var print strings.Builder
	var faults []error
	for path, least := range m.files() {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			faults = append(faults, fmt.Errorf("%s is missing", path))
		case err != nil:
			faults = append(faults, err)
		case !info.Mode().IsRegular() || info.Size() < least:
			faults = append(faults, fmt.Errorf("%s is damaged: %d bytes", path, info.Size()))
		}
	}
	if len(faults) > 0 {
		return modelError(faults)
	}
	for _, path := range []string{m.language, m.dictionary, m.acoustic + "/mdef", m.acoustic + "/means", m.acoustic + "/sendump"} {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprintln(&print, path, info.Size(), info.ModTime().UnixNano())
		}
	}
	if c.good == print.String() {
		return nil
	}
	if faults = compareSums(c.sums, m); len(faults) > 0 {
		return modelError(faults)
	}
	c.good = print.String()
	return nil
}

func modelError(faults []error) error {
	return fmt.Errorf("%w: the PocketSphinx model cannot be used; run: %s\n%w",
		voice.ErrUnavailable, Install, errors.Join(faults...))
}

// compareSums checks the model's files that dpkg knows.
func compareSums(list string, m model) (faults []error) {
	f, err := os.Open(list)
	if err != nil {
		return nil
	}
	defer f.Close()
	wanted := m.files()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		sum, path, found := strings.Cut(lines.Text(), "  ")
		path = "/" + path
		if _, ours := wanted[path]; !found || !ours {
			continue
		}
		got, err := md5File(path)
		if err != nil {
			faults = append(faults, err)
		} else if got != sum {
			faults = append(faults, fmt.Errorf("%s is not the file that Debian's package brought", path))
		}
	}
	return faults
}

func md5File(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := md5.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
