package config

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// mask stands for what is kept secret.
const mask = "*****"

// Setting is one key with its value as it may be shown.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	// Source is where the value comes from, see [Provenance].
	Source string `json:"source"`
}

// Settings is a whole configuration without its secrets.
type Settings []Setting

// Redacted returns every setting in a fixed order, with passwords and tokens
// hidden; p may be nil.
func (c Config) Redacted(p Provenance) Settings {
	var list Settings
	for _, k := range c.keys() {
		list = append(list, Setting{k.name, k.shown(k.field.get()), p.Of(k.name)})
	}
	return list
}

// String returns one line for each setting, in the form of the configuration
// file, with its source as a comment.
func (s Settings) String() string {
	b := new(strings.Builder)
	for _, line := range s {
		value := line.Value
		if value == "" || strings.Contains(value, " #") {
			value = `"` + value + `"`
		}
		fmt.Fprintf(b, "%-40s # %s\n", line.Key+" = "+value, line.Source)
	}
	return b.String()
}

// shown returns the value without what is secret in it.
func (k key) shown(value string) string {
	switch {
	case k.secret == hidden && value != "":
		return mask
	case k.secret == password:
		return hidePassword(value)
	case k.secret == passwords:
		return address.ReplaceAllStringFunc(value, hidePassword)
	}
	return value
}

// display quotes the value for a message.
func (k key) display(value string) string {
	const limit = 80
	shown := k.shown(value)
	if len(shown) > limit {
		shown = strings.ToValidUTF8(shown[:limit], "") + "…"
	}
	return fmt.Sprintf("%s = %q", k.name, shown)
}

// secretQuery names query parameters that hold a password or a key.
var secretQuery = regexp.MustCompile(`(?i)pass|secret|token|key`)

// address is a URL among other words.
var address = regexp.MustCompile(`[a-z]+://[^\s;]*`)

// hidePassword masks the credentials of a URL. A user without a password is
// masked too: NATS takes a token there. Where an @ shows that there may be
// credentials which do not parse as such, all before the last one goes.
func hidePassword(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return hideBefore(s)
	}
	user := ""
	if u.User != nil {
		if _, has := u.User.Password(); has {
			user = u.User.Username() + ":"
		}
		user += mask + "@"
	}
	query, secret := u.Query(), false
	for name := range query {
		if secretQuery.MatchString(name) {
			query.Set(name, mask)
			secret = true
		}
	}
	if secret {
		u.RawQuery = strings.ReplaceAll(query.Encode(), "%2A", "*")
	}
	if u.User = nil; strings.Contains(u.String(), "@") {
		return hideBefore(s)
	}
	if user == "" && !secret {
		return s
	}
	return strings.Replace(u.String(), "//", "//"+user, 1)
}

// hideBefore masks everything between the scheme and the last @.
func hideBefore(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return s
	}
	scheme := ""
	if i := strings.Index(s[:at], "://"); i >= 0 {
		scheme = s[:i+len("://")]
	}
	return scheme + mask + s[at:]
}
