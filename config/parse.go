package config

import (
	"fmt"
	"slices"
	"strings"
)

// setting is a line of the configuration file.
type setting struct {
	key, value string
	line       int
}

// fileFault is a line that cannot be read.
type fileFault struct {
	line int
	text string
}

// parseFile reads lines "key = value". A # at the start of a line or behind a
// space begins a comment; a value in double quotes is taken as it stands.
func parseFile(data string) (settings []setting, faults []fileFault) {
	for i, line := range slices.Collect(strings.Lines(data)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, found := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		switch {
		case line[0] == '[':
			faults = append(faults, fileFault{i + 1, "there are no sections; write the whole key, such as wal.segment_size = 64MiB"})
			continue
		case !found || key == "":
			faults = append(faults, fileFault{i + 1, "is no setting; write key = value"})
			continue
		}
		value, err := unquote(value)
		if err != nil {
			faults = append(faults, fileFault{i + 1, fmt.Sprintf("%s %v", key, err)})
			continue
		}
		settings = append(settings, setting{key, value, i + 1})
	}
	return settings, faults
}

// unquote reads a value up to its comment.
func unquote(s string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" || s[0] == '#' {
		return "", nil
	}
	if quote := s[0]; quote == '"' || quote == '\'' {
		value, rest, found := strings.Cut(s[1:], string(quote))
		rest = strings.TrimSpace(rest)
		if !found {
			return "", fmt.Errorf("lacks the closing %c", quote)
		}
		if rest != "" && rest[0] != '#' {
			return "", fmt.Errorf("has more text behind the closing %c", quote)
		}
		return value, nil
	}
	for i := 1; i < len(s); i++ {
		if s[i] == '#' && (s[i-1] == ' ' || s[i-1] == '\t') {
			s = s[:i]
			break
		}
	}
	return strings.TrimSpace(s), nil
}

// parseDotEnv reads lines "NAME=value" or "export NAME=value". The file belongs
// to other programs as well, so a line that is none of that is passed over. Of
// a name that occurs twice the last one counts, an empty value counts as none.
func parseDotEnv(data string) (env map[string]string, lines map[string]int) {
	env, lines = make(map[string]string), make(map[string]int)
	for i, line := range slices.Collect(strings.Lines(data)) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
		name, value, found := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !found || name == "" || strings.ContainsAny(name, " #\"'") {
			continue
		}
		value, err := unquote(value)
		if err != nil {
			continue
		}
		delete(env, name)
		if value != "" {
			env[name], lines[name] = value, i+1
		}
	}
	return env, lines
}
