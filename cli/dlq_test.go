//go:build unix

package cli_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/33god/bloodbank/internal/testenv"
	"github.com/33god/bloodbank/wal"
)

// deadLetters writes dead letters into a data folder, as an older server did:
// without a target.
func deadLetters(t *testing.T, dir string) {
	t.Helper()
	log, err := wal.Open(t.Context(), wal.Options{Dir: filepath.Join(dir, "deadletters"), SegmentSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for i, eventType := range []string{"llm.prompt", "llm.prompt", "agent.thread.prompt", "llm.response"} {
		id := fmt.Sprintf("0198f3a0-0000-7000-8000-00000000000%d", i)
		event := `{"event_id":"` + id + `","event_type":"` + eventType + `","timestamp":"2026-01-27T10:00:00Z","version":"2.0.0",` +
			`"source":{"host":"h","type":"manual","app":null,"meta":null},"correlation_ids":[],"agent_context":null,"payload":{}}`
		record := `{"dead":{"number":0,"event_id":"` + id + `","event_type":"` + eventType + `","sequence":` + fmt.Sprint(10-i) +
			`,"reason":"it was Refused","attempts":8,"at":"2026-01-27T10:00:00Z"},"event":` + event + `}`
		if _, err := log.Append(t.Context(), []byte(record)); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDeadLetterVerbs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	deadLetters(t, dir)
	s := up(t, dir)
	for _, c := range []struct {
		args, stdout, stderr string
		code                 int
	}{
		{"list --type llm.* --reason refused -o json", `{"number":1,*{"number":2,*{"number":4,*`, "", 0},
		{"list --limit 1", "1  *  bus  llm.prompt  *", "", 0},
		{"list --target other", "", "No dead letters.", 0},
		{"show 3 -o json", `{"number":3,*"target":"bus",*"event":{"event_id":*`, "", 0},
		{"redrive --type llm.* --dry-run", "4  bus  llm.response  would be sent\n2  *\n1  *", "", 0},
		{"discard 3 9 --because test -o json", `{"number":3,*"discarded":true}` + "\n" + `{"number":9,"discarded":false,"error":*`, "", 1},
		{"redrive --type llm.prompt", "2  delivered\n1  delivered\n", "", 0},
		{"redrive 1", "", "bb: dead letter 1: *nothing to do*", 1},
		{"redrive --all -o json", `{"number":4,*"delivered":true}` + "\n", "", 0},
		{"list --limit 1", "1  *  delivered at *; it is closed *", "", 0},
	} {
		stdout, stderr, code := run(t, append([]string{"dlq", "--url", s.url}, strings.Fields(c.args)...)...)
		if code != c.code || !like(stdout, c.stdout) || !like(stderr, c.stderr) {
			t.Errorf("bb dlq %s: exit %d\n%s%s", c.args, code, stdout, stderr)
		}
	}
	// They are closed when the bus can no longer lose them.
	testenv.Eventually(t, "the dead letters are closed", func() bool {
		_, stderr, code := run(t, "dlq", "list", "--url", s.url)
		return code == 0 && like(stderr, "No dead letters.")
	})
	// Delivered is on the bus; the store has it a moment later.
	testenv.Eventually(t, "the three events are stored", func() bool {
		stdout, _, code := run(t, "events", "--url", s.url, "-o", "json", "type:llm.*")
		return code == 0 && strings.Count(stdout, "\n") == 3
	})
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// like compares a text with a pattern, in which * is any text.
func like(text, pattern string) bool {
	parts := strings.Split(pattern, "*")
	if text == "" || !strings.HasPrefix(text, parts[0]) {
		return text == "" && pattern == ""
	}
	text = text[len(parts[0]):]
	for _, part := range parts[1:] {
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return true
}
