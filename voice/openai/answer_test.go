package openai

import (
	"strings"
	"testing"
	"time"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body, text, language string
		confidence           float64 // -1: unknown
		words                int
	}{
		"json":     {`{"text":"Hello there."}`, "Hello there.", "", -1, 0},
		"silence":  {`{"text":" [BLANK_AUDIO]\n"}`, "", "", -1, 0},
		"a sound":  {`{"text":"(wind blowing)"}`, "", "", -1, 0},
		"a remark": {`{"text":"Yes (he said) [laughs] no."}`, "Yes (he said) no.", "", -1, 0},
		"hosted": {`{"text":"Hello there.","language":"english","segments":[{"start":0,"end":1,"text":" Hello there.","avg_logprob":0}],
			"words":[{"word":"Hello","start":0,"end":0.5},{"word":"there","start":0.5,"end":1}]}`, "Hello there.", "en", 1, 2},
		"whisper.cpp": {`{"language":"german","text":" ja\n nein\n","segments":[
			{"start":0,"end":1,"avg_logprob":-0.6931472,"words":[{"word":" ja","start":0,"end":1,"probability":0.5}]},
			{"start":1,"end":2,"avg_logprob":0,"words":[{"word":" nein","start":1,"end":2,"probability":1.5}]}]}`, "ja nein", "de", 0.75, 2},
		"words alone":    {`{"text":"a b","language":"xy","words":[{"word":"a","probability":0.5},{"word":"b","probability":1}]}`, "a b", "xy", 0.75, 2},
		"words unknown":  {`{"text":"a b","words":[{"word":"a","start":0,"end":1}]}`, "a b", "", -1, 0},
		"absurd times":   {`{"text":"a","words":[{"word":"a","start":-5,"end":1e300,"probability":1}]}`, "a", "", 1, 0},
		"null all over":  {`{"text":"a","language":null,"segments":null,"words":null}`, "a", "", -1, 0},
		"strange tongue": {`{"text":"a","language":"klingon"}`, "a", "", -1, 0},
	} {
		got, err := parse([]byte(c.body))
		if err != nil || got.Text != c.text || got.Language != c.language || len(got.Words) != c.words {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if p := got.Confidence; c.confidence < 0 && p != nil || c.confidence >= 0 && (p == nil || *p != c.confidence) {
			t.Errorf("%s: confidence %v, want %g", name, p, c.confidence)
		}
	}
}

// Whatever a server says of times, words lie within the utterance and go forward.
func TestTimesFit(t *testing.T) {
	t.Parallel()
	got, err := parse([]byte(`{"text":"a b c","words":[{"word":"a","start":1,"end":0.5,"probability":1},
		{"word":"b","start":0.2,"end":3000,"probability":1},{"word":"c","start":3000,"end":3001,"probability":1}]}`))
	if err != nil || len(got.Words) != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	fit(&got, 2*time.Second)
	at := time.Duration(0)
	for _, w := range got.Words {
		if w.Start < at || w.End <= w.Start || w.End > 2*time.Second {
			t.Errorf("%+v after %s", w, at)
		}
		at = w.Start
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"text":"a","segments":[{"avg_logprob":-1,"words":[{"word":"a"}]}],"words":[{"word":"b","start":1,"end":2}]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parse(b)
		if err != nil {
			return
		}
		if strings.TrimSpace(got.Text) != got.Text {
			t.Errorf("text %q", got.Text)
		}
		if p := got.Confidence; p != nil && !(*p >= 0 && *p <= 1) {
			t.Errorf("confidence %g", *p)
		}
	})
}
