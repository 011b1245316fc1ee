package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/33god/bloodbank"
)

// None, as a path in [Sources], reads no such file.
const None = "-"

// Sources is where settings come from.
type Sources struct {
	// Environ is the environment, KEY=VALUE each, as from os.Environ. Variables
	// that are empty count as not set.
	Environ []string
	// DotEnvPath is a file of variables, weaker than the environment; "" is .env
	// in the working folder. It need not exist.
	DotEnvPath string
	// FilePath is the configuration file. "" is what BB_CONFIG says, or else
	// $XDG_CONFIG_HOME/bloodbank/bb.conf or ~/.config/bloodbank/bb.conf if that
	// exists. A file that was named must exist.
	FilePath string
	// Flags are the values given on the command line by key, such as
	// "wal.segment_size".
	Flags map[string]string
}

// Provenance says for each key that is not at its default where the value comes
// from: "flag", "environment BB_LISTEN", ".env:3 BB_LISTEN" or "bb.conf:12".
type Provenance map[string]string

// Of returns where the value of key comes from.
func (p Provenance) Of(key string) string {
	if from, ok := p[key]; ok {
		return from
	}
	return "default"
}

// Load reads all sources and checks the result. All faults, of reading and of
// checking, come back in one [bloodbank.Error] with CodeInvalid, a detail for
// each with the key, the value (unless secret), where it comes from and what is
// allowed. The Config then holds what could be read, so that it can be shown.
func Load(s Sources) (Config, Provenance, error) {
	l := loader{config: defaults(), from: make(Provenance), env: environment(s.Environ)}
	l.config.DataDir = l.stateDir()
	l.readFile(s.FilePath)
	l.readDotEnv(s.DotEnvPath)
	l.readEnvironment()
	l.readFlags(s.Flags)
	l.config.DataDir = l.expandHome(l.config.DataDir)
	l.config.Schema.Dir = l.expandHome(l.config.Schema.Dir)
	l.config.Voice.ModelDir = l.expandHome(l.config.Voice.ModelDir)
	if path, ok := strings.CutPrefix(l.config.Store.URL, "sqlite:"); ok {
		l.config.Store.URL = "sqlite:" + l.expandHome(path)
	}
	for _, path := range []*string{&l.config.Bus.Credentials, &l.config.Bus.CA, &l.config.Bus.Cert, &l.config.Bus.Key} {
		*path = l.expandHome(*path)
	}
	l.followOriginal()
	l.faults = append(l.faults, l.config.faults(l.from)...)
	return l.config, l.from, report(l.faults)
}

// followOriginal lets the original's variables choose RabbitMQ and Redis, where
// our own do not say what to use.
func (l *loader) followOriginal() {
	if from, set := l.from["rabbit.url"]; set && l.from["bus.url"] == "" && isBroker(l.config.Rabbit.URL) {
		l.config.Bus.URL, l.from["bus.url"] = l.config.Rabbit.URL, from
	}
	if from, set := l.from["redis.host"]; set && l.from["correlation.url"] == "" {
		l.config.Correlation.URL, l.from["correlation.url"] = l.config.Redis.url(), from
	}
}

type loader struct {
	config Config
	from   Provenance
	env    map[string]string
	faults []bloodbank.Detail
}

func environment(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, pair := range environ {
		if name, value, ok := strings.Cut(pair, "="); ok && value != "" {
			env[name] = value
		}
	}
	return env
}

// report makes one error of all faults, nil of none.
func report(faults []bloodbank.Detail) error {
	if len(faults) == 0 {
		return nil
	}
	count := "has a fault"
	if len(faults) > 1 {
		count = fmt.Sprintf("has %d faults", len(faults))
	}
	err := bloodbank.Errorf(bloodbank.CodeInvalid, "the configuration %s; correct it and start again", count)
	err.Details = faults
	return err
}

// pointer turns a key into the JSON pointer that a detail carries.
func pointer(key string) string { return "/" + strings.ReplaceAll(key, ".", "/") }

func (l *loader) fault(at, format string, args ...any) {
	l.faults = append(l.faults, bloodbank.Detail{Pointer: at, Message: fmt.Sprintf(format, args...)})
}

// set gives a key the value found at from.
func (l *loader) set(k key, value, from string) { l.apply(k, k.field.set, value, from) }

func (l *loader) apply(k key, set func(string) error, value, from string) {
	if err := set(value); err != nil {
		l.fault(pointer(k.name), "%s (%s) %v", k.display(value), from, err)
		return
	}
	l.from[k.name] = from
}

// readVariables applies variables in the order of strength, so that ours beat
// the original's. BB_ names that mean nothing are faults.
func (l *loader) readVariables(env map[string]string, from func(variable string) string) {
	keys := l.config.keys()
	known := []string{"BB_CONFIG"}
	for _, variable := range []string{"HTTP_HOST", "HTTP_PORT"} {
		if value, ok := env[variable]; ok {
			l.apply(keys[0], l.config.listenPart(variable), value, from(variable))
		}
	}
	for _, k := range keys {
		for _, variable := range k.env {
			known = append(known, variable)
			if value, ok := env[variable]; ok {
				l.set(k, value, from(variable))
			}
		}
	}
	for _, variable := range slices.Sorted(maps.Keys(env)) {
		if strings.HasPrefix(variable, "BB_") && !slices.Contains(known, variable) && !foreign(variable) {
			l.fault("", "%s is not known%s", from(variable), didYouMean(variable, known))
		}
	}
}

func didYouMean(name string, known []string) string {
	if near := nearest(name, known); near != "" {
		return "; did you mean " + near + "?"
	}
	return "; \"bb config\" lists what there is"
}

func (l *loader) readEnvironment() {
	l.readVariables(l.env, func(variable string) string { return "environment " + variable })
}

func (l *loader) readDotEnv(path string) {
	if path == None {
		return
	}
	if path == "" {
		path = ".env"
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		l.fault("", "cannot read %s: %v", path, err)
		return
	}
	env, lines := parseDotEnv(string(data))
	l.readVariables(env, func(variable string) string { return fmt.Sprintf("%s:%d %s", path, lines[variable], variable) })
}

func (l *loader) readFile(path string) {
	named := true
	if path == "" {
		path = l.env["BB_CONFIG"]
	}
	if path == "" {
		path, named = l.configFile(), false
	}
	if path == "" || path == None {
		return
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return
	}
	if err != nil {
		l.fault("", "cannot read the configuration file: %v", err)
		return
	}
	l.applyFile(path, string(data))
}

func (l *loader) applyFile(path, data string) {
	settings, faults := parseFile(data)
	for _, f := range faults {
		l.fault("", "%s:%d %s", path, f.line, f.text)
	}
	keys := l.config.keys()
	seen := make(map[string]int)
	for _, s := range settings {
		at := fmt.Sprintf("%s:%d", path, s.line)
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == s.key })
		switch first, twice := seen[s.key]; {
		case i < 0:
			l.fault("", "%s: the key %s is not known%s", at, s.key, didYouMean(s.key, names(keys)))
		case twice:
			l.fault(pointer(s.key), "%s sets it again, after line %d; keep one of them", at, first)
		default:
			seen[s.key] = s.line
			l.set(keys[i], s.value, at)
		}
	}
}

func (l *loader) readFlags(flags map[string]string) {
	keys := l.config.keys()
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == name })
		if i < 0 {
			l.fault("", "the flag %s is not known%s", name, didYouMean(name, names(keys)))
			continue
		}
		l.set(keys[i], flags[name], "flag")
	}
}

func names(keys []key) []string {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = k.name
	}
	return list
}

// stateDir is the default of data_dir, "" where the environment names no home.
// Paths that are not absolute are ignored, as the XDG rules have it.
func (l *loader) stateDir() string {
	return l.xdg("XDG_STATE_HOME", ".local/state", "bloodbank")
}

func (l *loader) configFile() string {
	return l.xdg("XDG_CONFIG_HOME", ".config", "bloodbank/bb.conf")
}

func (l *loader) xdg(variable, fallback, name string) string {
	if dir := l.env[variable]; filepath.IsAbs(dir) {
		return filepath.Join(dir, name)
	}
	if home := l.env["HOME"]; filepath.IsAbs(home) {
		return filepath.Join(home, fallback, name)
	}
	return ""
}

// expandHome resolves a leading ~/, which no shell does in a file.
func (l *loader) expandHome(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok && l.env["HOME"] != "" {
		return filepath.Join(l.env["HOME"], rest)
	}
	return path
}
