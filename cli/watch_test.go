package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/33god/bloodbank/internal/testenv"
)

// A server is killed while somebody watches; what was published before the
// watcher is back is not missed, and comes once.
func TestWatchOutlivesTheServer(t *testing.T) {
	t.Parallel()
	dir, address := t.TempDir(), "127.0.0.1:"+testenv.FreePort(t)
	s := up(t, dir, "--listen", address)
	ctx, cancel := context.WithTimeout(t.Context(), 2*readyLimit)
	defer cancel()
	bb := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, os.Args[0], args...)
		cmd.Env = append(os.Environ(), asBBEnv+"=1", "BB_URL=http://"+address, "BB_DATA_DIR="+dir)
		return cmd
	}
	publish := func(id string) {
		t.Helper()
		if out, err := bb("publish", "llm.prompt", "--mock", "--event-id", id, "--wait", "stored").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	const first, second, third = "0198f3a0-0000-7000-8000-000000000001", "0198f3a0-0000-7000-8000-000000000002", "0198f3a0-0000-7000-8000-000000000003"
	publish(first)

	watcher := bb("watch", "type:llm.*", "--since-sequence", "0", "--count", "3", "--json")
	var words bytes.Buffer
	watcher.Stderr = &words
	out, err := watcher.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watcher.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var got []string
	next := func() {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("the watcher ended after %q: %v, %s", got, lines.Err(), words.String())
		}
		got = append(got, lines.Text())
	}
	next()
	s.kill()
	up(t, dir, "--listen", address)
	publish(second)
	publish(third)
	next()
	next()
	if err := watcher.Wait(); err != nil {
		t.Fatalf("%v: %s", err, words.String())
	}
	for i, id := range []string{first, second, third} {
		if !strings.HasPrefix(got[i], `{"event_id":"`+id+`"`) {
			t.Errorf("line %d is %s, want event %s", i, got[i], id)
		}
	}
	if !strings.Contains(words.String(), "the connection is lost") || !strings.Contains(words.String(), "connected again") {
		t.Errorf("the watcher said %q", words.String())
	}
}
