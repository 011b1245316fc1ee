package cli

import (
	"strings"
	"testing"
)

func TestReplayIsAgreedTo(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"140\n": true, " 140 \n": true, "14\n": false, "yes\n": false, "\n": false, "": false} {
		if typed(strings.NewReader(text), 140) != want {
			t.Errorf("%q counts as %v", text, !want)
		}
	}
}
