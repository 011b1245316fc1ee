package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/cli"
	"github.com/33god/bloodbank/internal/faultproxy"
)

// clipLength is that of demo.wav with a little quiet behind it.
const clipLength = 4 * 32_000

// clips is demo.wav n times, as raw samples with quiet between.
func clips(t *testing.T, n int) []byte {
	t.Helper()
	wave, err := os.ReadFile("demo.wav")
	if err != nil {
		t.Fatal(err)
	}
	one := wave[44:min(len(wave), 44+clipLength)]
	one = append(bytes.Clone(one), make([]byte, clipLength-len(one)+32_000)...)
	return bytes.Repeat(one, n)
}

const clipSays = "the meeting starts at ten in the morning"

// TestVoiceScripts runs the scripts that need a recogniser; $CLIP is a recording.
func TestVoiceScripts(t *testing.T) {
	t.Parallel()
	hearing(t, up(t, t.TempDir()).url)
	clip, err := filepath.Abs("demo.wav")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/voice",
		Setup: func(env *testscript.Env) error {
			env.Setenv("BB_DATA_DIR", filepath.Join(env.WorkDir, "data"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("CLIP", clip)
			env.Values[serverKey{}] = new(scriptServer)
			return nil
		},
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"up": scriptUp, "down": scriptDown, "lines": scriptLines},
		RequireExplicitExec: true,
	})
}

// hearing skips the test where the server cannot recognise speech.
func hearing(t *testing.T, url string) {
	t.Helper()
	_, words, code := runIn(t, nil, "voice", "--url", url, "demo.wav")
	if code != 0 && strings.Contains(words, "cannot be recognised") {
		t.Skip("speech cannot be recognised here: ", words)
	}
}

// runIn runs bb in this process with an input.
func runIn(t *testing.T, stdin []byte, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, words bytes.Buffer
	code = cli.Main(t.Context(), cli.Process{
		Args: args, Environ: []string{"HOME=" + t.TempDir()}, Stdin: bytes.NewReader(stdin), Stdout: &out, Stderr: &words,
	})
	return out.String(), words.String(), code
}

// saidOnce checks the words and the clock of n clips, in what was printed.
func saidOnce(t *testing.T, out string, n int) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != n {
		t.Fatalf("%d utterances, want %d:\n%s", len(lines), n, out)
	}
	for i, line := range lines {
		var u struct {
			Text  string  `json:"text"`
			Start float64 `json:"start_seconds"`
		}
		if err := json.Unmarshal([]byte(line), &u); err != nil {
			t.Fatal(err)
		}
		if at := 5 * float64(i); u.Text != clipSays || u.Start < at-0.5 || u.Start > at+1 {
			t.Errorf("utterance %d at %.2f s: %q", i+1, u.Start, u.Text)
		}
	}
}

// The connection is cut in the middle of a sentence, three times: every word is there
// once, in what bb prints and in the store.
func TestVoiceConnectionCut(t *testing.T) {
	t.Parallel()
	s := up(t, t.TempDir())
	hearing(t, s.url)
	proxy, err := faultproxy.New(strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	const n = 3
	file := filepath.Join(t.TempDir(), "said.raw")
	if err := os.WriteFile(file, clips(t, n), 0o600); err != nil {
		t.Fatal(err)
	}
	type result struct {
		out, words string
		code       int
	}
	done := make(chan result, 1)
	session := "0198f3a0-0000-7000-8000-00000000c0de"
	proxy.ResetAfter(faultproxy.ToServer, 40_000)
	go func() {
		out, words, code := runIn(t, nil, "voice", "--url", "http://"+proxy.Addr(), "--session-id", session, "--format", "json", file)
		done <- result{out, words, code}
	}()
	for cut := range 3 {
		await(t, "the connection is broken", func() bool { return proxy.Stats().Passed[faultproxy.ToServer] >= int64(40_000+cut*110_000) })
		proxy.Heal()
		if cut < 2 {
			proxy.ResetAfter(faultproxy.ToServer, 110_000)
		}
	}
	r := <-done
	if r.code != 0 || !strings.Contains(r.words, "the session goes on") {
		t.Errorf("exit %d: %s", r.code, r.words)
	}
	saidOnce(t, r.out, n)
	checkStored(t, s.url, session, n)
}

// checkStored checks that the store has n utterances of a session.
func checkStored(t *testing.T, url, session string, n int) {
	t.Helper()
	await(t, "the session's end is stored", func() bool {
		out, _, _ := runIn(t, nil, "events", "--url", url, "session:"+session+" type:"+string(bloodbank.TypeSessionClosed), "-o", "json")
		return out != ""
	})
	out, words, code := runIn(t, nil, "events", "--url", url, "session:"+session+" type:transcription.voice.completed", "-o", "json")
	if got := strings.Count(out, clipSays); code != 0 || got != n || strings.Count(out, "\n") != n {
		t.Errorf("%d utterances are stored, want %d: %s", strings.Count(out, "\n"), n, words)
	}
}

func await(t *testing.T, what string, yes func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(readyLimit); !yes(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not in %s: %s", readyLimit, what)
		}
	}
}

// The server is killed in the middle of a sentence and another is started on the same
// folder: the session goes on and every word is there once.
func TestVoiceServerKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := up(t, dir)
	hearing(t, s.url)
	address := strings.TrimPrefix(s.url, "http://")
	const n = 3
	session := "0198f3a0-0000-7000-8000-00000000dead"
	source, microphone, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var out, words bytes.Buffer
	done := make(chan int, 1)
	go func() {
		defer source.Close()
		done <- cli.Main(t.Context(), cli.Process{
			Args:    []string{"voice", "--url", s.url, "--session-id", session, "--format", "json", "-"},
			Environ: []string{"HOME=" + dir}, Stdin: source, Stdout: &out, Stderr: &words,
		})
	}()
	audio := clips(t, n)
	cut := len(audio)/n + 32_000 // a second into the second sentence
	if _, err := microphone.Write(audio[:cut]); err != nil {
		t.Fatal(err)
	}
	await(t, "the first sentence is stored", func() bool {
		out, _, _ := runIn(t, nil, "events", "--url", s.url, "session:"+session+" type:transcription.voice.completed", "-o", "json")
		return out != ""
	})
	s.kill()
	up(t, dir, "--listen", address)
	if _, err := microphone.Write(audio[cut:]); err != nil {
		t.Fatal(err)
	}
	microphone.Close()
	if code := <-done; code != 0 || !strings.Contains(words.String(), "the session goes on") {
		t.Errorf("exit %d: %s", code, words.String())
	}
	saidOnce(t, out.String(), n)
	checkStored(t, s.url, session, n)
}
