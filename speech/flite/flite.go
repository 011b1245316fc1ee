// Package flite speaks through the flite program: English only, small, and well
// understood by our own recogniser.
//
// The text goes in by standard input, never as an argument, so no text can become an
// option. The package knows nothing of who speaks or why.
package flite

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/33god/bloodbank/speech"
)

const (
	// Install is the command that brings flite.
	Install = "apt-get install flite"
	// DefaultVoice is the one that our recogniser understands best.
	DefaultVoice = "rms"
	// MaxText is the longest text in bytes: about ten minutes of speech.
	MaxText = 10_000
)

// Voices lists the voices of Debian's flite.
func Voices() []string { return []string{"rms", "kal16", "kal", "awb", "slt"} }

// Synthesiser is a [speech.Synthesiser].
type Synthesiser struct{ program string }

var _ speech.Synthesiser = (*Synthesiser)(nil)

// New makes a synthesiser; program is the path or name of flite, "" being "flite".
func New(program string) *Synthesiser {
	if program == "" {
		program = "flite"
	}
	return &Synthesiser{program: program}
}

// Name is "flite".
func (s *Synthesiser) Name() string { return "flite" }

// Check looks for the program.
func (s *Synthesiser) Check(context.Context) error {
	_, err := s.path()
	return err
}

func (s *Synthesiser) path() (string, error) {
	path, err := exec.LookPath(s.program)
	if err != nil {
		return "", fmt.Errorf("%w: flite is missing; run: %s\n%w", speech.ErrUnavailable, Install, err)
	}
	return path, nil
}

// Speak runs flite, which is killed when ctx ends, and returns what it said. flite makes
// all of its speech before the first byte can be read.
func (s *Synthesiser) Speak(ctx context.Context, text, voice string) (io.ReadCloser, error) {
	if voice == "" {
		voice = DefaultVoice
	}
	if !slices.Contains(Voices(), voice) {
		return nil, fmt.Errorf("%w %q: use %s", speech.ErrVoice, voice, strings.Join(Voices(), ", "))
	}
	line, err := oneLine(text)
	if err != nil {
		return nil, err
	}
	path, err := s.path()
	if err != nil {
		return nil, err
	}
	return speak(ctx, path, voice, line)
}

// speak has flite write a file: it goes back to the header at the end, which a pipe
// cannot, and blocks there for ever.
func speak(ctx context.Context, path, voice, line string) (io.ReadCloser, error) {
	f, err := os.CreateTemp("", "bb-speech-*.wav")
	if err != nil {
		return nil, fmt.Errorf("make a file for speech: %w", err)
	}
	// The open file lives on without its name, and nothing is left behind.
	defer os.Remove(f.Name())
	cmd := exec.CommandContext(ctx, path, "-voice", voice, "-o", f.Name())
	cmd.Stdin = strings.NewReader(line)
	cmd.WaitDelay = 2 * time.Second
	complaint, err := cmd.CombinedOutput()
	if err == nil {
		return f, nil
	}
	f.Close()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, fmt.Errorf("flite: %w: %s", err, bytes.TrimSpace(complaint))
}

// oneLine makes one line of the text: flite would speak each line as a file of its own.
func oneLine(text string) (string, error) {
	switch {
	case len(text) > MaxText:
		return "", fmt.Errorf("%w: %d bytes; the limit is %d", speech.ErrText, len(text), MaxText)
	case !utf8.ValidString(text):
		return "", fmt.Errorf("%w: it is not UTF-8", speech.ErrText)
	}
	line := strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
	if line == "" {
		return "", fmt.Errorf("%w: it is empty", speech.ErrText)
	}
	return line + "\n", nil
}
