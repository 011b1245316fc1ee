package asrws

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

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
