package asrws

import (
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/google/uuid"
)

// params is what a client says of its session in the query. Unknown parameters are
// ignored. A session that is resumed keeps what it was opened with.
type params struct {
	language string
	// translate is target_language, which goes to an upstream that can translate; a word
	// that is no language is ignored, as by a server that does not.
	translate string
	mode      string
	legacy    bool // the client is of version 0.2.8
	source    voice.Source
	target    string
	id        uuid.UUID
	token     string // of the session that the client comes back to
	after     int    // the last utterance of which that client knows the outcome
	endpoint  audio.EndpointSettings
	// ours says that the client knows sessions.
	ours bool
}

// resumes is the session that the client comes back to; the zero value is none.
func (p params) resumes() uuid.UUID {
	if p.token == "" {
		return uuid.Nil
	}
	return p.id
}

const (
	modeFull   = "full"
	modeDiff   = "diff"
	oldVersion = "0.2.8"

	maxTarget = 200
	maxMode   = 32

	minSilence, maxSilence = 200 * time.Millisecond, 5 * time.Second
	minLength, maxLength   = 2 * time.Second, voice.MaxWaiting - time.Second
)

func parseParams(q url.Values, f voice.Features) (p params, err error) {
	p = params{
		language: q.Get("language"), mode: modeFull, source: voice.Source(q.Get("source")),
		target: q.Get("target"), token: q.Get("resume_token"), legacy: q.Get("compat") == oldVersion,
	}
	p.ours = q.Has("session_id")
	if t := q.Get("target_language"); translation.MatchString(t) {
		p.translate = t
	}
	if err := p.identify(q); err != nil {
		return p, err
	}
	// Any mode but diff behaves as full, and is named in config as it came.
	if m := q.Get("mode"); m != "" {
		p.mode = m
	}
	if p.endpoint.End, err = milliseconds(q, "endpoint_ms", minSilence, maxSilence); err != nil {
		return p, err
	}
	if p.endpoint.Max, err = milliseconds(q, "max_utterance_ms", minLength, maxLength); err != nil {
		return p, err
	}
	switch old := q.Get("compat"); {
	case old != "" && !p.legacy:
		return p, bloodbank.Errorf(bloodbank.CodeInvalid, "compat must be %s or be left out", oldVersion)
	case p.legacy && p.mode == modeDiff:
		return p, bloodbank.Errorf(bloodbank.CodeInvalid, "there is no mode diff with compat=%s; leave one of them out", oldVersion)
	case len(p.mode) > maxMode:
		return p, bloodbank.Errorf(bloodbank.CodeInvalid, "mode has %d bytes; give full or diff", len(p.mode))
	case p.source != "" && !p.source.Valid():
		return p, bloodbank.Errorf(bloodbank.CodeInvalid, "source must be whisperlivekit, mobile-client, desktop-client or chrome-extension")
	case len(p.target) > maxTarget:
		return p, bloodbank.Errorf(bloodbank.CodeInvalid, "target has %d bytes; the limit is %d", len(p.target), maxTarget)
	}
	_, err = f.Language(p.language)
	return p, err
}

// translation is how translators name languages: fr, fra_Latn, zh-Hant.
var translation = regexp.MustCompile(`^[A-Za-z]{2,8}([-_][A-Za-z]{2,8})?$`)

// identify finds out which session is meant.
func (p *params) identify(q url.Values) (err error) {
	if p.id, err = uuid.NewV7(); err != nil {
		return bloodbank.Errorf(bloodbank.CodeInternal, "cannot make a session id: %w", err)
	}
	if s := q.Get("session_id"); s != "" {
		id, err := uuid.Parse(s)
		if err != nil || len(s) != 36 || id == uuid.Nil {
			return bloodbank.Errorf(bloodbank.CodeInvalid, "session_id must be a UUID such as %s", uuid.NameSpaceURL)
		}
		p.id = id
	}
	if p.token != "" && q.Get("session_id") == "" {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "resume_token needs the session_id that it belongs to")
	}
	if s := q.Get("after"); s != "" {
		if p.after, err = strconv.Atoi(s); err != nil || p.after < 0 {
			return bloodbank.Errorf(bloodbank.CodeInvalid, "after must be the number of an utterance, as last_utterance said it; 0 is none")
		}
		if p.after > 0 && p.token == "" {
			return bloodbank.Errorf(bloodbank.CodeInvalid, "after needs the resume_token of a session that has such an utterance")
		}
	}
	return nil
}

// milliseconds reads a time; 0 is none given.
func milliseconds(q url.Values, name string, least, most time.Duration) (time.Duration, error) {
	s := q.Get(name)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if d := time.Duration(n) * time.Millisecond; err == nil && n <= int(most.Milliseconds()) && d >= least {
		return d, nil
	}
	return 0, bloodbank.Errorf(bloodbank.CodeInvalid, "%s must be a whole number from %d to %d", name, least.Milliseconds(), most.Milliseconds())
}
