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

func TestAppendStrings(t *testing.T) {
	t.Parallel()
	values, err := appendStrings(nil, []byte("*4\r\n$2\r\nab\r\n$-1\r\n$0\r\n\r\n$4\r\nc\r\nd\r\n"))
	if err != nil || len(values) != 4 || string(values[0]) != "ab" || values[1] != nil || values[2] == nil || string(values[3]) != "c\r\nd" {
		t.Errorf("%q, %v", values, err)
	}
	for _, bad := range []string{"", "*", "*x\r\n", "*1\r\n", "*1\r\n:5\r\n", "*1\r\n$5\r\nab\r\n", "*1\r\n$2\r\nab\r\n$1\r\nc\r\n", "*-1\r\n", "$2\r\nab\r\n", "*1\r\n$99999999999999999999\r\nab\r\n"} {
		if values, err := appendStrings(nil, []byte(bad)); err == nil {
			t.Errorf("%q was read as %q", bad, values)
		}
	}
}
