package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/33god/bloodbank/cli"
)

// run runs bb in this process and returns what it printed and its exit code.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, words bytes.Buffer
	code = cli.Main(t.Context(), cli.Process{
		Args: args, Environ: []string{"HOME=" + t.TempDir()}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &words,
	})
	return out.String(), words.String(), code
}

func document(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile("../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every setting is in the documentation, and nothing else.
func TestConfigurationIsDocumented(t *testing.T) {
	t.Parallel()
	out, stderr, code := run(t, "config", "-o", "json")
	if code != 0 {
		t.Fatal(stderr)
	}
	var settings []struct{ Key string }
	if err := json.Unmarshal([]byte(out), &settings); err != nil {
		t.Fatal(err)
	}
	var table []string
	for line := range strings.Lines(document(t, "docs/configuration.md")) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " |"); ok && strings.HasPrefix(line, "| `") {
			for _, key := range strings.Split(name, ", ") {
				table = append(table, strings.Trim(key, "`"))
			}
		}
	}
	for _, s := range settings {
		if !slices.Contains(table, s.Key) {
			t.Errorf("docs/configuration.md lacks %s", s.Key)
		}
	}
	for _, key := range table {
		if !slices.ContainsFunc(settings, func(s struct{ Key string }) bool { return s.Key == key }) {
			t.Errorf("docs/configuration.md has %s, which is no setting", key)
		}
	}
}

// Every command that the documentation shows exists, with the flags it shows.
func TestDocumentedCommandsExist(t *testing.T) {
	t.Parallel()
	command := regexp.MustCompile(`(?m)(?:^    |` + "`" + `|\| )bb ((?:[a-z-]+ ?)*)([^\n` + "`" + `]*)`)
	flag := regexp.MustCompile(`(^|\s)(--[a-z-]+|-[a-z])\b`)
	seen := 0
	for _, path := range []string{"README.md", "docs/architecture.md", "docs/configuration.md"} {
		for _, m := range command.FindAllStringSubmatch(document(t, path), -1) {
			words := strings.Fields(m[1])
			if len(words) == 0 || words[0] == "is" { // what bb up prints
				continue
			}
			seen++
			verb := words[:1]
			if words[0] == "wal" || words[0] == "dlq" {
				verb = words[:2]
			}
			help, stderr, code := run(t, append(slices.Clone(verb), "--help")...)
			if code != 0 || !strings.Contains(help, "bb "+strings.Join(verb, " ")) {
				t.Errorf("%s shows bb %s: %s", path, strings.Join(verb, " "), stderr)
			}
			for _, f := range flag.FindAllStringSubmatch(m[2], -1) {
				if !strings.Contains(help, f[2]) {
					t.Errorf("%s shows bb %s %s, which it does not take", path, verb, f[2])
				}
			}
		}
	}
	if seen < 15 {
		t.Errorf("only %d commands were found; does the pattern still fit the documents?", seen)
	}
}

// Every verb says what it is for, and its help says nothing on stderr.
func TestHelp(t *testing.T) {
	t.Parallel()
	out, _, code := run(t, "help")
	if code != 0 {
		t.Fatal(code)
	}
	for _, verb := range []string{
		"up", "voice", "publish", "watch", "events", "event", "trace", "replay", "list-events", "list-commands", "show",
		"wal", "dlq", "route", "correlation", "verify", "top", "doctor", "torture", "bench", "config", "version", "completion", "help",
	} {
		if !regexp.MustCompile(`(?m)^  ` + verb + ` +\S`).MatchString(out) {
			t.Errorf("bb help does not show %s", verb)
		}
		if help, stderr, code := run(t, verb, "--help"); code != 0 || help == "" || stderr != "" {
			t.Errorf("bb %s --help: exit %d, %q on stderr", verb, code, stderr)
		}
	}
	if strings.Contains(out, "asr-worker") {
		t.Error("bb help shows the worker, which is not for people")
	}
}
