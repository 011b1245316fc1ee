package voice

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/33god/bloodbank/voice/audio"
)

// Errors that tell callers what to do.
var (
	// ErrUnavailable: the recogniser cannot work now. The message says what to install
	// or repair; trying again without that is of no use.
	ErrUnavailable = errors.New("recogniser not available")
	// ErrBusy: as much is going on as the recogniser may take. Try again later.
	ErrBusy = errors.New("recogniser busy")
	// ErrLanguage: the recogniser does not know the language.
	ErrLanguage = errors.New("language not supported")
	// ErrClosed: the session, stream or recogniser was closed before.
	ErrClosed = errors.New("closed")
)

// Recogniser turns speech into text. There is one for a process; any number of
// goroutines may use it.
type Recogniser interface {
	// Name is the word that chooses it in the configuration.
	Name() string
	// Features says what it can do. The answer never changes.
	Features() Features
	// Check reports whether it could work now. It is quick when the recogniser is in
	// use, and may load a model the first time. Its error wraps [ErrUnavailable].
	Check(ctx context.Context) error
	// Open starts a stream. ctx is the stream's life: when it ends, the stream is
	// aborted. Errors wrap [ErrUnavailable], [ErrBusy], [ErrLanguage] or [ErrClosed].
	Open(ctx context.Context, o StreamOptions) (Stream, error)
	// Close aborts all streams and waits until nothing of the recogniser runs. Closing
	// again does nothing.
	Close() error
}

// Features describes a recogniser as data, so that callers need not know its name.
type Features struct {
	Languages []string // that it understands, in the form "en-US"; the first is the default
	// AnyLanguage says that what it understands is not known here: every wish is passed
	// on, and Languages holds at most the default. Without one the recogniser finds the
	// language out for itself.
	AnyLanguage bool
	Interim     bool // sends text while somebody still speaks
	Words       bool // finals carry words with a posterior each
	ExactTimes  bool // word times are true on the audio clock; else they may be up to a second off
	Process     bool // works in a process of its own that may die without harm
	Basic       bool // expect many wrong words; say so where people read it
}

// Language finds what the recogniser has for the wish of a client: "" and "auto" give
// the default, "en" the first English. With AnyLanguage the answer is "" where there is no
// default, and a wish only has to look like a language. Otherwise the error wraps
// [ErrLanguage].
func (f Features) Language(wish string) (string, error) {
	if wish == "" || wish == "auto" {
		if len(f.Languages) == 0 {
			return "", nil
		}
		return f.Languages[0], nil
	}
	if f.AnyLanguage {
		if !languageTag.MatchString(wish) {
			return "", fmt.Errorf("%w: %q is no language; write it like en or en-US", ErrLanguage, wish)
		}
		return wish, nil
	}
	at := slices.IndexFunc(f.Languages, func(l string) bool {
		short, _, _ := strings.Cut(l, "-")
		return strings.EqualFold(l, wish) || strings.EqualFold(short, wish)
	})
	if at < 0 {
		return "", fmt.Errorf("%w: %q; this recogniser knows %s", ErrLanguage, wish, strings.Join(f.Languages, ", "))
	}
	return f.Languages[at], nil
}

// languageTag is enough of BCP 47 to keep nonsense from going to a recogniser.
var languageTag = regexp.MustCompile(`^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$`)

// StreamOptions is what a session wants of its stream.
type StreamOptions struct {
	Language string // as the client named it; "" or "auto" for the default
	// Endpoint tunes the end of utterances, for recognisers that leave it to us.
	Endpoint audio.EndpointSettings
	// Translate is the language to translate into, where an upstream can; "" is none.
	Translate string
	// Mirror, if set, is given each state of an upstream that speaks WhisperLiveKit's
	// protocol itself (0.2.10 and newer), byte for byte; and nil once its states do not
	// tell all of the stream any more. It must not block. Others never call it.
	Mirror func(state []byte)
}

// Stream is one conversation with a recogniser. Write, Finalize and CloseWrite are called
// by one goroutine, Results is read by another.
type Stream interface {
	// Write takes 16 kHz mono samples. It waits while more than the allowed audio is
	// not transcribed yet; audio is never dropped.
	Write(ctx context.Context, pcm []int16) error
	// Finalize ends an utterance that is open, as if the speaker had paused. The stream
	// goes on.
	Finalize() error
	// CloseWrite says that no more audio comes. What was spoken is still transcribed,
	// then Results is closed.
	CloseWrite() error
	// Results must be read until it is closed. Each utterance has exactly one [Final]
	// or [Failed], in the order of speaking; no [Interim] follows it.
	Results() <-chan Result
	// Close aborts what is not finished and waits for the stream's goroutines.
	Close() error
}

// Result is a [Started], [Interim], [Ended], [Final], [Failed], [Away] or [Back].
type Result interface{ result() }

// Started says that somebody began to speak.
type Started struct {
	Utterance int // from 1, without gaps
	At        time.Duration
}

// Interim is what an open utterance sounds like so far. It replaces the one before.
type Interim struct {
	Utterance int
	Text      string
}

// Ended says that an utterance has ended and its outcome is being worked out. A
// recogniser may leave it out.
type Ended struct {
	Utterance int
	At        time.Duration
}

// Final is a finished utterance. Its text is empty when there were no words in it.
type Final struct{ Transcription }

// Failed is an utterance that is lost. The stream goes on.
type Failed struct {
	Utterance  int
	Start, End time.Duration
	Err        error
}

// Away says that what does the work was lost for now. Audio is kept for it.
type Away struct{ Err error }

// Back says that it is there again.
type Back struct{}

func (Started) result() {}
func (Away) result()    {}
func (Back) result()    {}
func (Interim) result() {}
func (Ended) result()   {}
func (Final) result()   {}
func (Failed) result()  {}

// Transcription is one finished utterance as text.
type Transcription struct {
	Utterance  int           // from 1, in the order of speaking
	Text       string        // without markers for noise or silence; may be empty
	Start, End time.Duration // on the audio clock, which starts with the stream
	Reason     audio.EndReason
	Words      []Word   // only where Features.Words
	Confidence *float64 // 0 to 1; nil if unknown
	Language   string   // in the form "en" or "en-US"; "" if unknown
	Speaker    string   // "" if unknown
	Model      string   // "" if it has no name that others know
}

// Duration is how long the utterance lasted.
func (t *Transcription) Duration() time.Duration { return t.End - t.Start }

// Word is one word of a Transcription.
type Word struct {
	Text       string
	Start, End time.Duration // on the audio clock; see Features.ExactTimes
	Confidence float64       // posterior, 0 to 1
}
