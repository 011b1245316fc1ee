package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
)

func stateOf(t *testing.T, text string) serverState {
	t.Helper()
	s, err := readState([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTopReading(t *testing.T) {
	t.Parallel()
	before := stateOf(t, `{"wal":{"last":100},"dispatch":{"position":90},"recorder":{"stored":80}}`)
	now := stateOf(t, `{"wal":{"last":300,"bytes":4096,"fsync_us":1500},"dispatch":{"position":190,"lag":110,"dead":2},
		"recorder":{"stored":130,"lag":-1,"fault":"the disk is full"},"routes":[{"name":"audit","lag":200,"dead":3,"fault":"away"}],
		"voice":{"desk":{"sessions":4,"lag_seconds":1.5}},"live":{"watchers":5},"retention":{"events":130,"bytes":999}}`)
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	raw, err := json.Marshal(now.since(&before, at, 2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"at":"2026-01-01T12:00:00Z","up":true,"accepted":300,"accepted_per_s":100,"delivered_per_s":50,"stored_per_s":25,"bus_lag":200,` +
		`"store_lag":-1,"log_bytes":4096,"fsync_ms":1.5,"dead":5,"sessions":4,"voice_lag_s":1.5,"watchers":5,"store_events":130,"store_bytes":999,` +
		`"faults":["store: the disk is full","route audit: away"]}`
	if string(raw) != want {
		t.Fatalf("%s\nwant\n%s", raw, want)
	}
	// A server that was started anew counts from the beginning.
	if r := before.since(&now, at, time.Second); r.AcceptRate != 0 || r.StoreRate != 0 {
		t.Fatalf("%+v", r)
	}
	if _, err := readState([]byte("<html>")); err == nil {
		t.Fatal("a page passes for a status")
	}
}

func TestTopScreen(t *testing.T) {
	t.Parallel()
	s := &topScreen{url: "http://here", interval: time.Second}
	s.draw(reading{Up: true, AcceptRate: 10})
	got := s.draw(reading{Up: true, AcceptRate: 5, BacklogBytes: 5 << 20, Dead: 3, Faults: []string{"bus: \x1b[2Jaway"}})
	for _, want := range []string{screenHome, "5.0 /s  █▄", "log 5.0 MiB", "3  see bb dlq list", "FAIL  bus: \uFFFD[2Jaway", "q quits"} {
		if !strings.Contains(got, want) {
			t.Errorf("the screen lacks %q:\n%q", want, got)
		}
	}
	if strings.Contains(got, "\x1b[31m") {
		t.Error("colours, though none are wanted")
	}
	s.coloured = true
	if got := s.draw(reading{Error: "refused"}); !strings.Contains(got, "\x1b[31mthe server does not answer: refused") || strings.Contains(got, "accepted") {
		t.Errorf("%q", got)
	}
	for range 2 * topHistory {
		s.draw(reading{Up: true})
	}
	if len(s.accepted) != topHistory {
		t.Errorf("%d rates are remembered", len(s.accepted))
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 3 << 40: "3.0 TiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func TestTopKeys(t *testing.T) {
	t.Parallel()
	keys := make(chan byte, 1)
	readKeys(strings.NewReader("xyz"), keys)
	if k := <-keys; k != 'x' || isQuit(k) || !isQuit('q') || !isQuit(3) {
		t.Fatalf("%q", k)
	}
}

func TestHues(t *testing.T) {
	t.Parallel()
	if hue("llm.prompt") != hue("llm.response") || hue("llm.error") != "31" || hue("agent.tool.failed") != "31" {
		t.Error("a domain has one hue, and errors are red")
	}
	seen := map[string]bool{}
	for _, t := range []bloodbank.EventType{"llm.a", "agent.a", "voice.a", "tts.a", "mll.a", "artifact.a", "transcription.a", "tonny.a"} {
		seen[hue(t)] = true
	}
	if len(seen) < 5 {
		t.Errorf("eight domains have %d hues", len(seen))
	}
	if mark("a.b.failed") != "✗" || mark("a.b") != " " {
		t.Error("an error has a mark")
	}
}
