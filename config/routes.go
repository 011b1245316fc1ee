package config

import (
	"errors"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// url is the address that the original's variables describe.
func (r Redis) url() string {
	u := url.URL{Scheme: "redis", Host: net.JoinHostPort(r.Host, strconv.Itoa(r.Port)), Path: "/" + strconv.Itoa(r.DB)}
	if r.Password != "" {
		u.User = url.UserPassword("", r.Password)
	}
	return u.String()
}

var routeName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// routes is a list of routes in their text form.
func routes(p *[]Route) field {
	return field{func(s string) error {
		*p = nil
		for _, text := range splitRoutes(s) {
			r, err := parseRoute(text)
			if err != nil {
				return err
			}
			*p = append(*p, r)
		}
		return nil
	}, func() string {
		var list []string
		for _, r := range *p {
			list = append(list, strings.TrimSpace(r.Name+"="+r.URL+" "+r.Filter))
		}
		return strings.Join(list, "; ")
	}}
}

// splitRoutes cuts at ; and line breaks outside of double quotes.
func splitRoutes(s string) []string {
	var list []string
	begin, quoted := 0, false
	for i := 0; i <= len(s); i++ {
		switch {
		case i == len(s) || !quoted && (s[i] == ';' || s[i] == '\n'):
			if text := strings.TrimSpace(s[begin:i]); text != "" {
				list = append(list, text)
			}
			begin = i + 1
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		}
	}
	return list
}

// parseRoute reads NAME=URL FILTER. Its errors do not repeat the URL, which may
// hold a password.
func parseRoute(text string) (Route, error) {
	target, filter, _ := strings.Cut(text, " ")
	name, address, ok := strings.Cut(target, "=")
	if !ok || !routeName.MatchString(name) || address == "" {
		return Route{}, errors.New("holds no route such as alarms=amqp://host:5672/ type:agent.*; a name has 1 to 32 small letters, digits and dashes")
	}
	return Route{Name: name, URL: address, Filter: strings.TrimSpace(filter)}, nil
}
