package recognisertest_test

import (
	"testing"

	"github.com/33god/bloodbank/voice/recognisertest"
)

func TestWordErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		said, heard           string
		errors, strict, words int
	}{
		{"a b c", "a b c", 0, 0, 3},
		{"a b c", "a x c d", 2, 2, 3},
		{"a b", "", 2, 2, 2},
		{"", "a", 1, 1, 0},
		{"I am here", "i'm here", 0, 2, 3},
		{"now i am", "now i'm", 0, 2, 3},
		{"amidst it", "and it's it", 2, 2, 2},
		{"am i", "i'm", 2, 2, 2},
		{"it's he", "it's he", 0, 0, 2},
	} {
		n, words := recognisertest.WordErrors(c.said, c.heard)
		if strict, _ := recognisertest.StrictWordErrors(c.said, c.heard); n != c.errors || strict != c.strict || words != c.words {
			t.Errorf("said %q, heard %q: %d, strict %d of %d", c.said, c.heard, n, strict, words)
		}
	}
}
