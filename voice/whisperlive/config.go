package whisperlive

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/33god/bloodbank/voice"
)

// Format is how samples are sent upstream.
type Format string

// The formats.
const (
	// FormatAuto asks the server: raw samples where it says that it takes them, or is the
	// fork, and Matroska where it says nothing or does not.
	FormatAuto Format = ""
	// FormatPCM sends raw samples. Servers from 0.2.9 take them with --pcm-input.
	FormatPCM Format = "pcm"
	// FormatMatroska wraps samples so that the server's ffmpeg can read them at once.
	FormatMatroska Format = "matroska"
)

// Config tunes a [Recogniser]. URL is required; other zero fields take the default.
type Config struct {
	// URL is the server, as ws://, wss://, http:// or https://; the path is /asr if there
	// is none. Its query is kept, so that target_language and the like can be given.
	URL string
	// Token is sent as a bearer token, never in the URL.
	Token string
	// Language is what is listened for unless a client names another, as "en"; "" leaves
	// it to the server, and "en" is what we tell about such sessions.
	Language string
	Format   Format
	// Streams is the most that may be open at once; more are refused with
	// [voice.ErrBusy]. Default 100, at most 10000.
	Streams int
	// Longest is when an utterance is cut though the speaker goes on; default 20 s, 5 to 25 s.
	Longest time.Duration
	// Updates is how many times in a row upstream must tell the end of a sentence before
	// it is final, since punctuation changes late; default 3, at most 100.
	Updates int
	// Pause without a new word ends an utterance; default 2 s, at least 500 ms.
	Pause time.Duration
	// DialWithin bounds a connection attempt; default 10 s.
	DialWithin time.Duration
	// HelloWithin is how long a server may take to say what it is; one that says nothing
	// is taken for an old one. Default 2 s.
	HelloWithin time.Duration
	// FinalizeWithin is how long [voice.Stream.Finalize] waits for upstream to catch up
	// before it takes what is there; default 700 ms.
	FinalizeWithin time.Duration
	// EndWithin is how long upstream may take for the end after the last audio, besides
	// its own lag; default 30 s.
	EndWithin time.Duration
	// GiveUp is how long a lost upstream is waited for before what was said meanwhile is
	// failed; default 1 min. The stream goes on and tries on.
	GiveUp time.Duration
	// PingEvery is the time between two signs of life that are asked of upstream, each
	// due within the same time; default 20 s.
	PingEvery time.Duration
	// MaxMessage bounds a message of upstream, in bytes; default 4 MiB. A larger one
	// costs the connection, and the next begins with an empty transcript.
	MaxMessage int64
	// HTTPClient dials; nil is one without a timeout of its own.
	HTTPClient *http.Client
}

func (c Config) complete() (Config, *url.URL, error) {
	u, err := c.endpoint()
	if err != nil {
		return c, nil, err
	}
	c.Streams = cmp.Or(c.Streams, 100)
	c.Updates = cmp.Or(c.Updates, 3)
	c.MaxMessage = cmp.Or(c.MaxMessage, 4<<20)
	orElse(&c.Longest, 20*time.Second)
	orElse(&c.Pause, 2*time.Second)
	orElse(&c.DialWithin, 10*time.Second)
	orElse(&c.HelloWithin, 2*time.Second)
	orElse(&c.FinalizeWithin, 700*time.Millisecond)
	orElse(&c.EndWithin, 30*time.Second)
	orElse(&c.GiveUp, time.Minute)
	orElse(&c.PingEvery, 20*time.Second)
	return c, u, c.validate()
}

func orElse(d *time.Duration, value time.Duration) { *d = cmp.Or(*d, value) }

func (c *Config) validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("whisperlive "+format, args...))
		}
	}
	check(c.Format == FormatAuto || c.Format == FormatPCM || c.Format == FormatMatroska, "Format %q: give pcm, matroska or nothing", string(c.Format))
	check(c.Streams > 0 && c.Streams <= 10000, "Streams %d: give 1 to 10000", c.Streams)
	check(c.Updates > 0 && c.Updates <= 100, "Updates %d: give 1 to 100", c.Updates)
	check(c.Longest >= 5*time.Second && c.Longest <= 25*time.Second, "Longest %s: give 5s to 25s", c.Longest)
	check(c.Pause >= 500*time.Millisecond && c.Pause <= time.Minute, "Pause %s: give 500ms to 1m", c.Pause)
	check(c.MaxMessage >= 1<<10, "MaxMessage %d: give at least 1024 bytes", c.MaxMessage)
	check(min(c.DialWithin, c.HelloWithin, c.FinalizeWithin, c.EndWithin, c.GiveUp, c.PingEvery) > 0, "times must not be negative")
	if c.Language != "" {
		_, err := (voice.Features{Languages: languages("")}).Language(c.Language)
		check(err == nil && c.Language != "auto", "Language %q: give a two-letter code that Whisper knows, or nothing", c.Language)
	}
	return errors.Join(faults...)
}

// endpoint is the address to dial, without the language of a stream.
func (c *Config) endpoint() (*url.URL, error) {
	if c.URL == "" {
		return nil, errors.New("whisperlive URL: give the address of a WhisperLiveKit server, such as ws://localhost:8000/asr")
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" {
		return nil, errors.New("whisperlive URL: give one such as ws://localhost:8000/asr")
	}
	switch strings.ToLower(u.Scheme) {
	case "ws", "wss":
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	default:
		return nil, fmt.Errorf("whisperlive URL: scheme %q: give ws, wss, http or https", u.Scheme)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/asr"
	}
	q := u.Query()
	q.Set("mode", "full") // the other mode is broken upstream
	u.RawQuery = q.Encode()
	return u, nil
}

// languages are those of Whisper that have a two-letter code, the first one first.
func languages(first string) []string {
	all := strings.Fields("en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no " +
		"th ur hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn " +
		"yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt ln ha ba su")
	if first == "" || first == all[0] {
		return all
	}
	ordered := []string{first}
	for _, l := range all {
		if l != first {
			ordered = append(ordered, l)
		}
	}
	return ordered
}
