package voice

import "testing"

func TestAgreementShowsOnlyWhatTwoLooksAgreeOn(t *testing.T) {
	t.Parallel()
	var a agreement
	for i, step := range []struct {
		look string
		more bool
		text string
	}{
		{"", false, ""},
		{"ask knot", false, ""},
		{"ask not what", true, "ask"},
		{"ask not what you", true, "ask not what"},
		{"ask not", false, "ask not what"},
		{"tusk not what your", false, "ask not what"},
		{"ask not what your country", false, "ask not what"},
		{"ask not what your country can", true, "ask not what your country"},
	} {
		if more := a.add(step.look); more != step.more || a.text() != step.text {
			t.Errorf("look %d, %q: more %t, text %q; want %t, %q", i, step.look, more, a.text(), step.more, step.text)
		}
	}
}
