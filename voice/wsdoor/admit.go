package wsdoor

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/33god/bloodbank"
)

// Guard decides who may come in.
type Guard struct {
	// Origins are the origins of web pages that may connect besides those of the same
	// host, of localhost and of browser extensions, such as "https://example.org"; "*"
	// is all.
	Origins []string
	// Token, if not empty, must be given: as ?token=, as Authorization with the scheme
	// Bearer or Token, or as a browser can, in Sec-WebSocket-Protocol behind "token" or
	// "bearer".
	Token string
}

// Check answers nil, or why the request is refused: CodeForbidden for the origin,
// CodeUnauthorized for the token.
func (g Guard) Check(r *http.Request) error {
	if !g.trusts(r) {
		return bloodbank.Errorf(bloodbank.CodeForbidden, "pages of this origin may not connect; add it to the allowed origins")
	}
	if g.Token != "" && subtle.ConstantTimeCompare([]byte(givenToken(r)), []byte(g.Token)) != 1 {
		return bloodbank.Errorf(bloodbank.CodeUnauthorized, "the token is missing or wrong; give it as ?token= or as Authorization: Bearer")
	}
	return nil
}

// CheckSocket is Check for a WebSocket: anything else is CodeInvalid.
func (g Guard) CheckSocket(r *http.Request) error {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "this is a WebSocket; connect with ws:// and send audio in binary frames")
	}
	return g.Check(r)
}

func givenToken(r *http.Request) string {
	if given := r.URL.Query().Get("token"); given != "" {
		return given
	}
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "Token") {
		return strings.TrimSpace(value)
	}
	// A page cannot set headers of a WebSocket, so SDKs for browsers put it here.
	scheme, value, _ = strings.Cut(strings.Join(r.Header.Values("Sec-WebSocket-Protocol"), ","), ",")
	if slices.Contains(Subprotocols(), strings.TrimSpace(scheme)) {
		return strings.TrimSpace(value)
	}
	return ""
}

// Subprotocols are to be agreed to at the upgrade: the words before a browser's token.
func Subprotocols() []string { return []string{"token", "bearer"} }

// trusts decides on the page that opens the socket, since browsers let any page do so.
// No Origin means that it is no page.
func (g Guard) trusts(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(g.Origins, "*") || slices.Contains(g.Origins, origin) {
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

// refusal has the shape of all errors over HTTP; Detail is for the original's clients.
type refusal struct {
	Error  *bloodbank.Error `json:"error"`
	Detail string           `json:"detail"`
}

// Refuse answers before the upgrade. With 503 it says when to try again.
func Refuse(w http.ResponseWriter, err error) {
	var e *bloodbank.Error
	if !errors.As(err, &e) {
		e = bloodbank.Errorf(bloodbank.CodeInternal, "%w", err)
	}
	status := e.Code.HTTPStatus()
	switch status {
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(refusal{Error: e, Detail: e.Message})
}
