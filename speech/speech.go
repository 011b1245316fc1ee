// Package speech turns text into spoken words. It holds the contract; each synthesiser
// has a folder of its own below this one.
//
// The package knows no event, no session and no network.
package speech

import (
	"context"
	"errors"
	"io"
)

// Errors that tell callers what to do.
var (
	// ErrUnavailable: the synthesiser cannot work. The message says what to install.
	ErrUnavailable = errors.New("synthesiser not available")
	// ErrVoice: there is no voice of that name. The message lists those that are there.
	ErrVoice = errors.New("unknown voice")
	// ErrText: the text cannot be spoken: empty, not UTF-8, or too long.
	ErrText = errors.New("text cannot be spoken")
)

// Synthesiser speaks text. Any number of goroutines may use it.
type Synthesiser interface {
	// Name is the word that chooses it in the configuration.
	Name() string
	// Check reports whether it could speak now. Its error wraps [ErrUnavailable].
	Check(ctx context.Context) error
	// Speak returns a WAV stream of text in the named voice, "" being the default.
	// The caller closes it. ctx ends the speaking; Read returns the
	// error of a synthesiser that fails on the way.
	Speak(ctx context.Context, text, voice string) (io.ReadCloser, error)
}
