package openai

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/33god/bloodbank/voice"
)

// The defaults of [Config].
const (
	DefaultPath       = "audio/transcriptions"
	DefaultModel      = "whisper-1"
	DefaultConcurrent = 4
	DefaultAttempts   = 4
	DefaultTimeout    = 30 * time.Second
	DefaultPatience   = 90 * time.Second
	DefaultMaxAnswer  = 1 << 20
	// LeastInterim is how often interim text may be asked for at most.
	LeastInterim = 2 * time.Second
)

// Config says where the server is and how hard to try. Only BaseURL is required.
type Config struct {
	// BaseURL is the server with its prefix, such as "http://127.0.0.1:8000/v1" or, for
	// whisper.cpp, "http://127.0.0.1:8080".
	BaseURL string
	// Path is below BaseURL; "" is [DefaultPath]. whisper.cpp has "inference".
	Path string
	// CheckPath is what Check gets; "" is "models". A server without it counts as there.
	CheckPath string
	// Token is sent as a bearer token; "" sends none.
	Token string
	// Model is the form's model; "" is [DefaultModel].
	Model string
	// Language is what is spoken when a client does not say; "" lets the server find out.
	Language string
	// Languages, if any, are all that the server understands; others are refused.
	Languages []string
	// Prompt holds words that the server should expect; it may be empty.
	Prompt string
	// Words asks for the times of words as well. Not every server has them.
	Words bool
	// Interim is how often an open utterance is posted for interim text; 0 is never, less
	// than [LeastInterim] is refused. Each time costs a transcription.
	Interim time.Duration
	// Concurrent is the most requests at once over all streams; 0 is [DefaultConcurrent].
	Concurrent int
	// Attempts is how often one utterance is posted at most; 0 is [DefaultAttempts].
	Attempts int
	// Timeout bounds one request; 0 is [DefaultTimeout].
	Timeout time.Duration
	// Patience bounds an utterance with all its attempts and the waits between them, but
	// not the wait for its turn; 0 is [DefaultPatience].
	Patience time.Duration
	// MaxAnswer is the most bytes of an answer; 0 is [DefaultMaxAnswer].
	MaxAnswer int64
	// MaxUtterance is the longest utterance that is posted: longer speech is cut. 0 is
	// the default of the endpoint settings, and nothing is longer than [voice.MaxWaiting]
	// less a second.
	MaxUtterance time.Duration
}

func (c Config) complete() (Config, error) {
	c.Path = strings.Trim(cmp.Or(c.Path, DefaultPath), "/")
	c.CheckPath = strings.Trim(cmp.Or(c.CheckPath, "models"), "/")
	c.Model = cmp.Or(c.Model, DefaultModel)
	c.Concurrent = cmp.Or(c.Concurrent, DefaultConcurrent)
	c.Attempts = cmp.Or(c.Attempts, DefaultAttempts)
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	c.Patience = cmp.Or(c.Patience, DefaultPatience)
	c.MaxAnswer = cmp.Or(c.MaxAnswer, DefaultMaxAnswer)
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("openai "+format, args...))
		}
	}
	base, err := url.Parse(c.BaseURL)
	if err != nil {
		// The error of url.Parse quotes what may hold a password.
		faults = append(faults, errors.New("openai BaseURL is no URL; give one like http://127.0.0.1:8000/v1"))
	} else {
		check((base.Scheme == "http" || base.Scheme == "https") && base.Host != "",
			"BaseURL %q: give one like http://127.0.0.1:8000/v1", base.Redacted())
	}
	check(c.Concurrent > 0 && c.Concurrent <= 1024, "Concurrent %d: give 1 to 1024", c.Concurrent)
	check(c.Attempts > 0 && c.Attempts <= 100, "Attempts %d: give 1 to 100", c.Attempts)
	check(c.Timeout > 0 && c.Patience > 0, "Timeout %s and Patience %s must not be negative", c.Timeout, c.Patience)
	check(c.MaxAnswer > 0, "MaxAnswer %d must not be negative", c.MaxAnswer)
	check(c.Interim == 0 || c.Interim >= LeastInterim, "Interim %s: give at least %s, or 0 for none", c.Interim, LeastInterim)
	check(c.MaxUtterance == 0 || c.MaxUtterance >= 2*time.Second && c.MaxUtterance < voice.MaxWaiting,
		"MaxUtterance %s: give 2s to 29s", c.MaxUtterance)
	check(!strings.ContainsAny(c.Token, "\r\n"), "Token has a line break in it; store it without")
	if _, err := (voice.Features{AnyLanguage: true}).Language(c.Language); err != nil {
		faults = append(faults, fmt.Errorf("openai Language: %w", err))
	}
	return c, errors.Join(faults...)
}
