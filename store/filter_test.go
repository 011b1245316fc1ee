package store_test

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// vectors mirrors testdata/filter_vectors.json, which says what it means.
type vectors struct {
	Now   time.Time
	Words []struct {
		Text  string
		Words []string
	}
	Parse []struct {
		Text      string
		Canonical string
		At        *int
		Error     string
	}
	Events map[string]bloodbank.Envelope
	Match  []struct {
		Filter string
		Events []string
	}
}

func loadVectors(t testing.TB) vectors {
	t.Helper()
	data, err := os.ReadFile("testdata/filter_vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Parse)+len(v.Match) < 120 {
		t.Fatalf("only %d vectors were read", len(v.Parse)+len(v.Match))
	}
	return v
}

func TestWordsVectors(t *testing.T) {
	t.Parallel()
	for _, c := range loadVectors(t).Words {
		if got := store.Words(c.Text); !slices.Equal(got, c.Words) {
			t.Errorf("Words(%q) = %q, want %q", c.Text, got, c.Words)
		}
	}
}

func TestParseFilterVectors(t *testing.T) {
	t.Parallel()
	v := loadVectors(t)
	for _, c := range v.Parse {
		f, err := store.ParseFilter(c.Text, v.Now)
		switch {
		case c.At != nil:
			at := fmt.Sprintf("at byte %d ", *c.At)
			if bloodbank.CodeOf(err) != bloodbank.CodeInvalid || !strings.Contains(err.Error(), at) || !strings.Contains(err.Error(), c.Error) {
				t.Errorf("%q: got %q, %v; want an error %swith %q", c.Text, f, err, at, c.Error)
			}
		case err != nil:
			t.Errorf("%q: %v", c.Text, err)
		case f.String() != c.Canonical:
			t.Errorf("%q: got %q, want %q", c.Text, f, c.Canonical)
		}
	}
}

func TestFilterMatchVectors(t *testing.T) {
	t.Parallel()
	v := loadVectors(t)
	for _, c := range v.Match {
		f, err := store.ParseFilter(c.Filter, v.Now)
		if err != nil {
			t.Errorf("%q: %v", c.Filter, err)
			continue
		}
		for name, e := range v.Events {
			if got, want := f.Match(&e), slices.Contains(c.Events, name); got != want {
				t.Errorf("%q on %s: got %v, want %v", c.Filter, name, got, want)
			}
		}
	}
}

func TestParseFilterAbstractForm(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 27, 10, 0, 0, 0, time.UTC)
	got, err := store.ParseFilter(`-type:a.*,b.c payload.k."v w":>0.8,"x" since:1m has:payload.q "hi"`, now)
	if err != nil {
		t.Fatal(err)
	}
	minuteAgo := now.Add(-time.Minute)
	want := store.Filter{Terms: []store.Term{
		{Field: store.FieldType, Not: true, Values: []store.Value{{Text: "a.*"}, {Text: "b.c"}}},
		{Field: store.FieldPayload, Path: []string{"k", "v w"}, Values: []store.Value{{Op: store.OpGT, Text: "0.8", Number: 0.8}, {Text: "x", Phrase: true}}},
		{Field: store.FieldSince, Values: []store.Value{{Text: "2026-01-27T09:59:00Z", Time: minuteAgo}}},
		{Field: store.FieldHas, Values: []store.Value{{Text: "payload.q", Path: []string{"q"}}}},
		{Field: store.FieldText, Values: []store.Value{{Text: "hi", Phrase: true}}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestParseFilterLimits(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"bytes":  strings.Repeat("a", store.MaxFilterBytes+1),
		"terms":  strings.Repeat("a ", store.MaxFilterTerms+1),
		"values": "app:a" + strings.Repeat(",a", store.MaxFilterValues),
		"path":   "payload" + strings.Repeat(".a", store.MaxFilterPath+1) + ":x",
		"utf-8":  "a\xff",
	} {
		if _, err := store.ParseFilter(text, time.Now()); bloodbank.CodeOf(err) != bloodbank.CodeInvalid || len(err.Error()) > 300 {
			t.Errorf("%s: got %v, want a short error with CodeInvalid", name, err)
		}
	}
	for name, text := range map[string]string{
		"bytes":  strings.Repeat("a", store.MaxFilterBytes),
		"terms":  strings.Repeat("a ", store.MaxFilterTerms),
		"values": "app:a" + strings.Repeat(",a", store.MaxFilterValues-1),
		"path":   "payload" + strings.Repeat(".a", store.MaxFilterPath) + ":x",
	} {
		if _, err := store.ParseFilter(text, time.Now()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSearchTextKeepsValuesApart(t *testing.T) {
	t.Parallel()
	e := bloodbank.Envelope{EventType: "a.b_c", Payload: []byte(`{"k":"One, two","n":5,"l":["¶","three",{"m":"four"}]}`)}
	if got, want := store.SearchText(&e), "a b c ¶ one two ¶ three ¶ four"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A damaged payload never reaches a store, but a live stream must survive one.
func TestMatchSurvivesBrokenPayload(t *testing.T) {
	t.Parallel()
	f, err := store.ParseFilter("word payload.a.b:x has:payload.a", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, payload := range []string{"", "{", `{"a":`, `{"a":{"b":[1,`, "[1", "nul"} {
		e := bloodbank.Envelope{EventType: "a.b", Payload: []byte(payload)}
		if f.Match(&e) {
			t.Errorf("payload %q matched", payload)
		}
	}
}

func FuzzParseFilter(f *testing.F) {
	v := loadVectors(f)
	for _, c := range v.Parse {
		f.Add(c.Text)
	}
	for _, c := range v.Match {
		f.Add(c.Filter)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, err := store.ParseFilter(text, v.Now)
		if err != nil {
			if bloodbank.CodeOf(err) != bloodbank.CodeInvalid {
				t.Fatalf("%q: %v has the wrong code", text, err)
			}
			return
		}
		for _, e := range v.Events {
			first.Match(&e)
		}
		canonical := first.String()
		second, err := store.ParseFilter(canonical, v.Now.Add(time.Hour))
		if len(canonical) > store.MaxFilterBytes {
			return // escapes and absolute times can make it longer than what was typed
		}
		if err != nil || !reflect.DeepEqual(first, second) {
			t.Fatalf("%q became %q, which reads as %+v, %v", text, canonical, second, err)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	v := loadVectors(b)
	e := v.Events["voice"]
	for _, text := range []string{"type:agent.*", "lights", "payload.audio_metadata.confidence:>0.8"} {
		f, err := store.ParseFilter(text, v.Now)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f.Match(&e)
			}
		})
	}
}
