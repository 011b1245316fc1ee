package vosk

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
	DefaultTimeout      = 20 * time.Second
	DefaultPatience     = 20 * time.Second
	DefaultAttempts     = 3
	DefaultMaxUtterance = 20 * time.Second
)

// Config says where the server is. Only URL is required.
type Config struct {
	// URL of the server, such as "ws://127.0.0.1:2700".
	URL string
	// Token is sent as a bearer token, for a proxy before the server; "" sends none.
	Token string
	// Language is that of the server's model, in the form "en-US"; others are refused. ""
	// is unknown: the wishes of clients are taken, and change nothing.
	Language string
	// Model is named in the transcriptions; it may be empty.
	Model string
	// Phrases, if any, are all that the server listens for. Not every model can do that.
	Phrases []string
	// Reset says that the server knows the message reset, as new ones do. Without it an
	// utterance that we end costs a new connection.
	Reset bool
	// Timeout bounds the opening of a connection, a write, and the wait for an answer; 0
	// is [DefaultTimeout].
	Timeout time.Duration
	// Patience is how long a server is looked for before audio that waits for it fails; 0
	// is [DefaultPatience]. Then the search goes on for the audio that follows.
	Patience time.Duration
	// Attempts is how many connections may break on the same audio before it fails; 0 is
	// [DefaultAttempts].
	Attempts int
	// MaxUtterance ends an utterance that the server does not end, and so bounds the audio
	// that is kept; 0 is [DefaultMaxUtterance].
	MaxUtterance time.Duration
}

func (c Config) complete() (Config, error) {
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	c.Patience = cmp.Or(c.Patience, DefaultPatience)
	c.Attempts = cmp.Or(c.Attempts, DefaultAttempts)
	c.MaxUtterance = cmp.Or(c.MaxUtterance, DefaultMaxUtterance)
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("vosk "+format, args...))
		}
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		// The error of url.Parse quotes what may hold a password.
		faults = append(faults, errors.New("vosk URL is no URL; give one like ws://127.0.0.1:2700"))
	} else {
		check((u.Scheme == "ws" || u.Scheme == "wss") && u.Host != "", "URL %q: give one like ws://127.0.0.1:2700", u.Redacted())
	}
	check(c.Timeout > 0 && c.Patience > 0, "Timeout %s and Patience %s must not be negative", c.Timeout, c.Patience)
	check(c.Attempts > 0 && c.Attempts <= 100, "Attempts %d: give 1 to 100", c.Attempts)
	check(c.MaxUtterance >= 2*time.Second && c.MaxUtterance < voice.MaxWaiting, "MaxUtterance %s: give 2s to 29s", c.MaxUtterance)
	check(!strings.ContainsAny(c.Token, "\r\n"), "Token has a line break in it; store it without")
	if _, err := (voice.Features{AnyLanguage: true}).Language(c.Language); err != nil {
		faults = append(faults, fmt.Errorf("vosk Language: %w", err))
	}
	return c, errors.Join(faults...)
}
