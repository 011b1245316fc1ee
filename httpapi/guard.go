package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/33god/bloodbank"
)

// guard decides whether a request may be looked at, before anything is read.
func (s *Server) guard(r *http.Request) error {
	if err := s.authorise(r); err != nil && !isPublic(r.URL.Path) && !s.isPageFile(r) {
		return err
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	return checkOrigin(r)
}

func (s *Server) authorise(r *http.Request) error {
	switch {
	case len(s.tokens) > 0 && isVoicePath(r.URL.Path):
		return s.checkVoiceToken(r)
	case len(s.tokens) > 0:
		return s.checkToken(r.Header.Get("Authorization"))
	case s.o.Insecure:
		return nil
	case !isLoopbackAddr(r.RemoteAddr):
		return bloodbank.Errorf(bloodbank.CodeUnauthorized, "only callers on the server's own machine are served without a token; start the server with a token and send it as Authorization: Bearer TOKEN")
	case !isLoopbackHost(r.Host) && !slices.Contains(s.o.Hosts, hostOnly(r.Host)):
		return bloodbank.Errorf(bloodbank.CodeForbidden, "host %q is not a name of this machine that is served without a token; use localhost, or start the server with a token", short(r.Host))
	}
	return nil
}

func (s *Server) checkToken(header string) error {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return bloodbank.Errorf(bloodbank.CodeUnauthorized, "a token is needed: send it as Authorization: Bearer TOKEN")
	}
	digest, found := sha256.Sum256([]byte(strings.TrimSpace(token))), 0
	for _, known := range s.tokens { // all of them: the time tells nothing
		found |= subtle.ConstantTimeCompare(digest[:], known[:])
	}
	if found == 0 {
		return bloodbank.Errorf(bloodbank.CodeUnauthorized, "the token is not known here")
	}
	return nil
}

// isVoicePath reports whether a voice door or another WebSocket is there: browsers
// and speech clients speak to it, which have ways of their own to show a token.
func isVoicePath(path string) bool {
	switch path {
	case pathStream, pathASR, pathVoice, pathListen, pathTranscriptions:
		return true
	}
	return false
}

// checkVoiceToken follows WhisperLiveKit and Deepgram: the token may stand in the
// address or among the WebSocket's subprotocols, because a browser cannot set a
// header on one, the header's scheme may be Token, and a wrong one is answered with
// 403.
func (s *Server) checkVoiceToken(r *http.Request) error {
	header := r.Header.Get("Authorization")
	if scheme, token, _ := strings.Cut(header, " "); strings.EqualFold(scheme, "Token") {
		header = "Bearer " + token
	}
	kind, token, _ := strings.Cut(r.Header.Get("Sec-WebSocket-Protocol"), ",")
	if kind = strings.TrimSpace(kind); strings.EqualFold(kind, "token") || strings.EqualFold(kind, "bearer") {
		header = "Bearer " + strings.TrimSpace(token)
	}
	if token := r.URL.Query().Get("token"); token != "" {
		header = "Bearer " + token
	}
	if err := s.checkToken(header); err != nil {
		return bloodbank.Errorf(bloodbank.CodeForbidden, "%w; for voice it may also be given as ?token=TOKEN", err)
	}
	return nil
}

// digests makes tokens of any length comparable in constant time.
func digests(tokens []string) [][32]byte {
	list := make([][32]byte, 0, len(tokens))
	for _, t := range tokens {
		if t = strings.TrimSpace(t); t != "" {
			list = append(list, sha256.Sum256([]byte(t)))
		}
	}
	return list
}

// checkSocketOrigin is checkOrigin for WebSockets, which pages of any site may open
// and read. Origins that are configured may, beside this server's and this machine's.
func (s *Server) checkSocketOrigin(r *http.Request) error {
	if slices.Contains(s.o.Origins, "*") || slices.Contains(s.o.Origins, r.Header.Get("Origin")) {
		return nil
	}
	return checkOrigin(r)
}

// checkOrigin keeps pages of other sites from changing anything through their
// visitor's browser. Programs send no Origin.
func checkOrigin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	u, err := url.Parse(origin)
	if err == nil && u.Host != "" && (strings.EqualFold(u.Host, r.Host) || isLoopbackHost(u.Host)) {
		return nil
	}
	return bloodbank.Errorf(bloodbank.CodeForbidden, "a page of %q may not do this here; only pages of this server or of this machine may", short(origin))
}

func isLoopbackAddr(hostport string) bool {
	addr, err := netip.ParseAddrPort(hostport)
	return err == nil && addr.Addr().Unmap().IsLoopback()
}

func isLoopbackHost(hostport string) bool {
	host := hostOnly(hostport)
	if strings.EqualFold(host, "localhost") || len(host) > 10 && strings.EqualFold(host[len(host)-10:], ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func hostOnly(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}
