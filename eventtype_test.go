package bloodbank_test

import (
	"strings"
	"testing"

	"github.com/33god/bloodbank"
)

func TestParseEventType(t *testing.T) {
	t.Parallel()
	long := "a." + strings.Repeat("b", bloodbank.MaxTypeLength-2)
	for s, ok := range map[string]bool{
		"transcription.voice.completed": true, "a.b": true, "A-1.b_2.C": true, "theboard.meeting.participant.turn.completed": true, "1.2": true, "-._": true, long: true,
		"": false, "a": false, ".": false, "a.": false, ".a": false, "a..b": false, "a.b.": false, "a b.c": false, "a.b\n": false, "a.*": false, "a.>": false,
		"a.#": false, "a.{action}": false, "ä.b": false, "a.b\x00": false, "a/b": false, "a.b:c": false, long + "b": false,
	} {
		got, err := bloodbank.ParseEventType(s)
		if ok && (err != nil || string(got) != s) {
			t.Errorf("%q: %q, %v", s, got, err)
		}
		if !ok && (bloodbank.CodeOf(err) != bloodbank.CodeInvalid || got != "" || len(err.Error()) > 300) {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
}

func TestDomain(t *testing.T) {
	t.Parallel()
	for name, want := range map[bloodbank.EventType]string{"agent.thread.prompt": "agent", "a.b": "a", "": "", "a": "a"} {
		if got := name.Domain(); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, glob string
		want       bool
	}{
		{"a.b.c", "a.b.c", true}, {"a.b.c", "a.b", false}, {"a.b.c", "a.b.cd", false}, {"a.b.c", "A.b.c", false},
		{"a.b.c", "*", true}, {"", "*", true}, {"", "", true}, {"a.b", "", false}, {"a.b", "**", true}, {"", "**", true},
		{"a.b.c", "a.*", true}, {"a.b.c", "b.*", false}, {"ab.c", "a*", true}, {"a.b.c", "a.*.c", true}, {"a.b.b.c", "a.*.c", true}, {"a.c", "a.*.c", false},
		{"fireflies.transcript.failed", "*.failed", true}, {"failed", "*.failed", false}, {"a.failed.b", "*.failed", false},
		{"a.failed.b.failed", "*.failed", true}, {"a.b.c", "*b*", true}, {"a.x.c", "*b*", false},
		{"aba", "ab*ba", false}, {"abba", "ab*ba", true}, {"abxba", "ab*ba", true}, {"aaa", "a*a*a", true}, {"aa", "a*a*a", false},
		{"abcbc", "a*bc", true}, {"a.b.c.d", "a*c*d", true}, {"a.b.c.d", "a*d*c", false}, {"a.b.c", "a.b.c*", true}, {"a.b.c", "*a.b.c", true},
		{"a.b.c", "a.?.c", false}, {"a.b.c", "a.[b].c", false}, {"mississippi.x", "m*iss*ip*.x", true}, {"mississippi.x", "m*iss*iss*iss*", false},
	} {
		if got := bloodbank.EventType(row.name).Match(row.glob); got != row.want {
			t.Errorf("%q matches %q: %v, want %v", row.name, row.glob, got, row.want)
		}
	}
}

// A glob of many stars must not take exponential time.
func TestMatchIsFast(t *testing.T) {
	t.Parallel()
	name := bloodbank.EventType(strings.Repeat("a", 200))
	if name.Match(strings.Repeat("a*", 100) + "b") {
		t.Error("matched")
	}
}

func TestEventIDs(t *testing.T) {
	t.Parallel()
	const text = "dcbf406d-aaae-5a9a-8b36-38bb4f5ac1e7"
	id, err := bloodbank.ParseEventID(strings.ToUpper(text))
	if err != nil || id.String() != text {
		t.Errorf("%s, %v", id, err)
	}
	marshalled, err := id.MarshalText()
	var again bloodbank.EventID
	if err != nil || string(marshalled) != text || again.UnmarshalText(marshalled) != nil || again != id {
		t.Errorf("%s, %s, %v", marshalled, again, err)
	}
	for _, s := range []string{"", "x", text[1:], text + "0", "{" + text + "}", "urn:uuid:" + text, strings.ReplaceAll(text, "-", ""), strings.ReplaceAll(text, "-", "_"),
		"-" + text[1:], text[:35] + "-", text[:35] + "g", text[:9] + "-" + text[10:], " " + text[1:], strings.Repeat("-", 36), strings.Repeat("é", 18), text[:34] + "é", text[:23] + "0" + text[24:], text[:8] + "0" + text[9:]} {
		if id, err := bloodbank.ParseEventID(s); bloodbank.CodeOf(err) != bloodbank.CodeInvalid || !id.IsZero() {
			t.Errorf("%q: %s, %v", s, id, err)
		}
		if again.UnmarshalText([]byte(s)) == nil || again != id {
			t.Errorf("%q was unmarshalled or changed the value", s)
		}
	}
}

func TestNewEventIDsSortByAge(t *testing.T) {
	t.Parallel()
	last := ""
	for range 1000 {
		id, err := bloodbank.NewEventID()
		if err != nil {
			t.Fatal(err)
		}
		s := id.String()
		if s <= last || s[14] != '7' || !strings.ContainsRune("89ab", rune(s[19])) {
			t.Fatalf("%s after %s", s, last)
		}
		last = s
	}
}

func TestParseSource(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bloodbank.Source{
		"http/127.0.0.1": {Host: "127.0.0.1", App: "http"}, "x": {Host: "unknown", App: "x"}, "a/b/c": {Host: "b/c", App: "a"}, "": {Host: "unknown"},
	} {
		want.Type = bloodbank.SourceManual
		if got := bloodbank.ParseSource(text); got.Host != want.Host || got.App != want.App || got.Type != want.Type {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestParseAckLevel(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bloodbank.AckLevel{"": bloodbank.AckWAL, "wal": bloodbank.AckWAL, "bus": bloodbank.AckBus, "stored": bloodbank.AckStored} {
		if got, err := bloodbank.ParseAckLevel(text); got != want || err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"WAL", "disk", " wal"} {
		if got, err := bloodbank.ParseAckLevel(text); got != "" || bloodbank.CodeOf(err) != bloodbank.CodeInvalid || !strings.Contains(err.Error(), "wal, bus or stored") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}
