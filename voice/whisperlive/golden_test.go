package whisperlive

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
)

// TestGoldens plays exchanges in the literal form of each generation: a line of the input
// is a message, or "tick <ms>", "finalize", "lost <s>".
func TestGoldens(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.in")
	if err != nil || len(files) == 0 {
		t.Fatalf("no exchanges: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".in"), func(t *testing.T) {
			t.Parallel()
			in, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(in))
			golden := strings.TrimSuffix(file, ".in") + ".golden"
			want, err := os.ReadFile(golden)
			if os.Getenv("BB_UPDATE") != "" {
				err = os.WriteFile(golden, []byte(got), 0o644)
				want = []byte(got)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func play(t *testing.T, in string) string {
	t.Helper()
	r := newReducer(usual())
	var b strings.Builder
	now := time.Unix(0, 0)
	for row := range strings.Lines(in) {
		row = strings.TrimSpace(row)
		now = now.Add(100 * time.Millisecond)
		var n int
		switch {
		case row == "" || row[0] == '#':
			continue
		case row == "finalize":
			transcribe(&b, r.flush(audio.EndRequest))
			continue
		}
		if k, _ := fmt.Sscanf(row, "tick %d", &n); k == 1 {
			now = now.Add(time.Duration(n) * time.Millisecond)
			transcribe(&b, r.tick(now))
			continue
		}
		if k, _ := fmt.Sscanf(row, "lost %d", &n); k == 1 {
			r.restart(time.Duration(n) * time.Second)
			continue
		}
		m, err := decode([]byte(row))
		if err != nil {
			t.Fatal(err)
		}
		switch m.Type {
		case kindStop:
			transcribe(&b, r.flush(audio.EndStream))
		case kindData:
			transcribe(&b, r.take(&m.snapshot, now))
		}
	}
	return b.String()
}

func transcribe(b *strings.Builder, results []voice.Result) {
	for _, r := range results {
		switch r := r.(type) {
		case voice.Started:
			fmt.Fprintf(b, "%d started %s\n", r.Utterance, r.At)
		case voice.Interim:
			fmt.Fprintf(b, "%d interim %q\n", r.Utterance, r.Text)
		case voice.Final:
			fmt.Fprintf(b, "%d final   %q %s-%s %s", r.Utterance, r.Text, r.Start, r.End, r.Reason)
			if r.Speaker != "" {
				fmt.Fprintf(b, " speaker %s", r.Speaker)
			}
			if r.Language != "" {
				fmt.Fprintf(b, " language %s", r.Language)
			}
			b.WriteByte('\n')
		}
	}
}

// FuzzReducer: whatever upstream sends, the contract of the stream holds.
func FuzzReducer(f *testing.F) {
	files, err := filepath.Glob("testdata/*.in")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		in, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := newReducer(usual())
		e := &ear{t: t}
		now := time.Unix(0, 0)
		for row := range strings.Lines(string(in)) {
			now = now.Add(100 * time.Millisecond)
			switch m, err := decode([]byte(row)); {
			case strings.HasPrefix(row, "finalize"):
				e.hear(r.flush(audio.EndRequest))
			case strings.HasPrefix(row, "tick"):
				now = now.Add(3 * time.Second)
				e.hear(r.tick(now))
			case strings.HasPrefix(row, "lost"):
				r.restart(r.lastEnd)
			case err == nil:
				e.hear(r.take(&m.snapshot, now))
			}
		}
		e.hear(r.flush(audio.EndStream))
		if e.opened != e.settled {
			t.Fatalf("%d opened, %d settled", e.opened, e.settled)
		}
	})
}

func TestClock(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]clock{
		`"0:00:02.96"`:      {Duration: 2960 * time.Millisecond, set: true},
		`"0:00:02"`:         {Duration: 2 * time.Second, set: true, coarse: true},
		`"123:00:01.50"`:    {Duration: 123*time.Hour + 1500*time.Millisecond, set: true},
		`"1 day, 2:00:00"`:  {Duration: 26 * time.Hour, set: true, coarse: true},
		`"2 days, 0:00:01"`: {Duration: 48*time.Hour + time.Second, set: true, coarse: true},
		`2.5`:               {Duration: 2500 * time.Millisecond, set: true},
		`null`:              {}, `""`: {}, `"x"`: {}, `{"a":1}`: {}, `"-1:00:00"`: {}, `"1:2:3:4"`: {}, `"NaN"`: {}, `"9e99"`: {},
	} {
		var c clock
		if err := json.Unmarshal([]byte(text), &c); err != nil || c != want {
			t.Errorf("%s is %+v, %v; want %+v", text, c, err, want)
		}
	}
}

func TestSplitAndJoin(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		" Hello world, how are you?":              {"hello", "world", "how", "are", "you"},
		"it's - well - 3.5%!":                     {"its", "well", "35"},
		"\u4f60\u597d\uff0c\u4e16\u754c\u3002 OK": {"\u4f60", "\u597d", "\u4e16", "\u754c", "ok"},
		" ... ": nil, "": nil, "\"Ja\", sagte \u00c4nne.": {"ja", "sagte", "\u00e4nne"},
	} {
		words := split(nil, text)
		var keys []string
		for _, w := range words {
			keys = append(keys, w.key)
		}
		if !slices.Equal(keys, want) {
			t.Errorf("%q is split into %q, want %q", text, keys, want)
		}
		if got := join(words); len(words) > 0 && got != strings.TrimSpace(text) {
			t.Errorf("%q is joined as %q", text, got)
		}
		var a, b digest
		a.text(text, 1<<30)
		b.words(words)
		if a != b {
			t.Errorf("%q has two digests", text)
		}
	}
}
