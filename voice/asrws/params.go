package asrws

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/google/uuid"
)

// params is what a client says of its session in the query. Unknown parameters are
// ignored, and so is target_language, as by a server that does not translate.
type params struct {
	language string
	mode     string
	source   voice.Source
	target   string
	id       uuid.UUID
	token    string // of the session that the client comes back to
	after    int    // the last utterance of which that client knows the outcome
	endpoint audio.EndpointSettings
}

// resumes is the session that the client comes back to; the zero value is none.
func (p params) resumes() uuid.UUID {
	if p.token == "" {
		return uuid.Nil
	}
	return p.id
}

const maxTarget = 200

func parseParams(q url.Values, f voice.Features) (p params, err error) {
	p = params{
		language: q.Get("language"), mode: "full",
		source: voice.Source(q.Get("source")), target: q.Get("target"), token: q.Get("resume_token"),
	}
	// Any other mode behaves as full and is named as it came; diff is not offered, and a
	// client that was told "diff" would wait for it.
	if m := q.Get("mode"); m != "" && m != "diff" && len(m) <= 32 {
		p.mode = m
	}
	if p.id, err = uuid.NewV7(); err != nil {
		return p, bloodbank.Errorf(bloodbank.CodeInternal, "cannot make a session id: %w", err)
	}
	if s := q.Get("session_id"); s != "" {
		if p.id, err = uuid.Parse(s); err != nil || len(s) != 36 || p.id == uuid.Nil {
			return p, bloodbank.Errorf(bloodbank.CodeInvalid, "session_id must be a UUID such as %s", uuid.NameSpaceURL)
		}
	}
	if p.token != "" && q.Get("session_id") == "" {
		return p, bloodbank.Errorf(bloodbank.CodeInvalid, "resume_token needs the session_id that it belongs to")
	}
	if p.source != "" && !p.source.Valid() {
		return p, bloodbank.Errorf(bloodbank.CodeInvalid, "source must be whisperlivekit, mobile-client, desktop-client or chrome-extension")
	}
	if len(p.target) > maxTarget {
		return p, bloodbank.Errorf(bloodbank.CodeInvalid, "target has %d bytes; the limit is %d", len(p.target), maxTarget)
	}
	_, err = f.Language(p.language)
	return p, err
}

// authorised compares the token of the query or the header, in a time that does not
// depend on where they differ.
func authorised(r *http.Request, token string) bool {
	if token == "" {
		return true
	}
	given := r.URL.Query().Get("token")
	if given == "" {
		scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "Token") {
			given = strings.TrimSpace(value)
		}
	}
	return subtle.ConstantTimeCompare([]byte(given), []byte(token)) == 1
}

// trusted decides on the page that opens the socket, since browsers let any page do so.
// No Origin means that it is no page. allowed holds more origins, or "*".
func trusted(r *http.Request, allowed []string) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(allowed, "*") || slices.Contains(allowed, origin) {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	switch u.Scheme {
	case "chrome-extension":
		return true
	case "http", "https":
	default:
		return false
	}
	switch u.Hostname() {
	case "localhost", "127.0.0.1", "::1":
		return true
	}
	return strings.EqualFold(u.Host, r.Host)
}
