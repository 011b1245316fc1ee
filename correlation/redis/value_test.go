package redis

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/33god/bloodbank"
)

// TestParseID compares with the root package's way, for text that nearly is an
// id.
func TestParseID(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := []byte("0198a3f0-1c2d-7e3f-8A4B-5C6D7E8F9a0b")
		for range rapid.IntRange(0, 2).Draw(t, "changes") {
			text[rapid.IntRange(0, 35).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		s := string(text[rapid.IntRange(0, 1).Draw(t, "from"):rapid.IntRange(35, 36).Draw(t, "to")])
		want, err := bloodbank.ParseEventID(s)
		if got, ok := parseID(s); ok != (err == nil) || ok && got != want {
			t.Fatalf("%q: %s, %t, want %s, %v", s, got, ok, want, err)
		}
	})
}
