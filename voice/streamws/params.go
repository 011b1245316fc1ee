package streamws

import (
	"net/url"
	"strconv"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/google/uuid"
)

// params is what a client says of its session in the query. Unknown ones are ignored.
type params struct {
	language string
	source   voice.Source
	target   string
	id       uuid.UUID
	token    string // of the session that the client comes back to
	after    int    // the last utterance of which that client knows the outcome
	endpoint audio.EndpointSettings
	interim  bool
}

// resumes is the session that the client comes back to; the zero value is none.
func (p params) resumes() uuid.UUID {
	if p.token == "" {
		return uuid.Nil
	}
	return p.id
}

const (
	maxTarget = 200
	// longestUtterance is what a [voice.Segmenter] takes.
	longestUtterance = voice.MaxWaiting - time.Second
)

func parseParams(q url.Values, f voice.Features) (p params, err error) {
	p = params{
		language: q.Get("language"), source: voice.Source(q.Get("source")),
		target: q.Get("target"), token: q.Get("resume_token"), interim: true,
	}
	if p.source == "" {
		p.source = voice.SourceDesktopClient
	}
	for _, check := range []func(url.Values) error{p.readSession, p.readEndpoint, p.readSwitches} {
		if err := check(q); err != nil {
			return p, err
		}
	}
	if _, err := f.Language(p.language); err != nil {
		return p, bloodbank.Errorf(bloodbank.CodeInvalid, "language: %w", err)
	}
	return p, nil
}

func (p *params) readSession(q url.Values) (err error) {
	text := q.Get("session_id")
	switch {
	case text != "":
		if p.id, err = uuid.Parse(text); err != nil || len(text) != 36 || p.id == uuid.Nil {
			return bloodbank.Errorf(bloodbank.CodeInvalid, "session_id must be a UUID such as %s", uuid.NameSpaceURL)
		}
	case p.token != "":
		return bloodbank.Errorf(bloodbank.CodeInvalid, "resume_token needs the session_id that it belongs to")
	default:
		if p.id, err = uuid.NewV7(); err != nil {
			return bloodbank.Errorf(bloodbank.CodeInternal, "cannot make a session id: %w", err)
		}
	}
	after := q.Get("after")
	if after == "" {
		return nil
	}
	if p.token == "" {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "after is for a client that comes back; it needs session_id and resume_token")
	}
	if p.after, err = strconv.Atoi(after); err != nil || p.after < 0 {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "after must be the number of an utterance, from 0")
	}
	return nil
}

func (p *params) readEndpoint(q url.Values) error {
	for _, limit := range []struct {
		name      string
		low, high time.Duration
		to        *time.Duration
	}{
		{"endpoint_ms", 200 * time.Millisecond, 5 * time.Second, &p.endpoint.End},
		{"max_utterance_ms", 2 * time.Second, longestUtterance, &p.endpoint.Max},
	} {
		text := q.Get(limit.name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if *limit.to = time.Duration(n) * time.Millisecond; err != nil || n < 0 || n > 1e6 || *limit.to < limit.low || *limit.to > limit.high {
			return bloodbank.Errorf(bloodbank.CodeInvalid, "%s must be %d to %d", limit.name, limit.low.Milliseconds(), limit.high.Milliseconds())
		}
	}
	return nil
}

func (p *params) readSwitches(q url.Values) (err error) {
	if !p.source.Valid() {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "source must be whisperlivekit, mobile-client, desktop-client or chrome-extension")
	}
	if len(p.target) > maxTarget {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "target has %d bytes; the limit is %d", len(p.target), maxTarget)
	}
	if text := q.Get("interim"); text != "" {
		if p.interim, err = strconv.ParseBool(text); err != nil {
			return bloodbank.Errorf(bloodbank.CodeInvalid, "interim must be true or false")
		}
	}
	return nil
}
