package listenws

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
)

const second = time.Second

// spoken is an utterance of one word that ends where it does.
func spoken(n int, start, end time.Duration, why audio.EndReason) voice.Update {
	return voice.Update{Kind: voice.KindFinal, Utterance: n, Start: start, End: end, Text: "Yes!", Final: &voice.Transcription{
		Text: "Yes!", Reason: why, Words: []voice.Word{{Text: "Yes!", Start: start, End: end, Confidence: 0.5}},
	}}
}

func begun(n int, at time.Duration) voice.Update {
	return voice.Update{Kind: voice.KindStarted, Utterance: n, Start: at}
}

func kinds(out []any) (names []string) {
	for _, m := range out {
		switch m := m.(type) {
		case results:
			name := "Results"
			if m.FromFinalize {
				name = "Finalized"
			}
			names = append(names, name)
		case utteranceEnd:
			names = append(names, m.Type)
		case speechStarted:
			names = append(names, m.Type)
		case failure:
			names = append(names, m.Type)
		}
	}
	return names
}

func TestUtteranceEnd(t *testing.T) {
	t.Parallel()
	r := newReporter(params{utteranceEnd: second, endpointing: true}, "id", "scripted")
	expect := func(what string, out []any, want ...string) {
		t.Helper()
		if got := kinds(out); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	expect("speech", r.update(begun(1, second)))
	expect("final", r.update(spoken(1, second, 2*second, audio.EndSilence)), "Results")
	r.hears(2900 * time.Millisecond)
	expect("look", r.look())
	expect("not quiet for long enough", r.look())
	r.hears(3 * second)
	expect("quiet, but news may be on its way", r.look())
	expect("quiet for a second", r.look(), "UtteranceEnd")
	expect("once", r.look())
	// Speech that begins in time takes it back, speech that is late does not.
	r.update(begun(2, 4*second))
	r.update(spoken(2, 4*second, 5*second, audio.EndSilence))
	expect("a short pause", r.update(begun(3, 5500*time.Millisecond)))
	r.hears(9 * second)
	r.look()
	expect("while somebody speaks", r.look())
	r.update(spoken(3, 5500*time.Millisecond, 6*second, audio.EndSilence))
	expect("a long pause", r.update(begun(4, 8*second)), "UtteranceEnd")
	expect("no words", r.update(voice.Update{Kind: voice.KindFinal, Utterance: 4, Final: &voice.Transcription{}}), "Results")
	r.look()
	expect("no words, no end", r.look())
}

func TestFinalizeIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		news []voice.Update
		want string
	}{
		"nothing open":      {nil, ". . Finalized . ."},
		"cut off":           {[]voice.Update{begun(1, second), spoken(1, second, 2*second, audio.EndRequest)}, "Finalized . . . . ."},
		"others do not say": {[]voice.Update{begun(1, second), spoken(1, second, 2*second, "")}, "Finalized . . . . ."},
		"two open": {[]voice.Update{begun(1, second), begun(2, 2*second), spoken(1, second, 2*second, ""), spoken(2, 2*second, 3*second, "")},
			"Results Finalized . . . . ."},
	} {
		r := newReporter(params{}, "id", "scripted")
		r.finalize()
		var got []string
		note := func(out []any) { got = append(got, append(kinds(out), ".")[0]) }
		for _, u := range c.news {
			if out := r.update(u); len(out) > 0 {
				note(out)
			}
		}
		for range 5 {
			note(r.look())
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %s, want %s", name, text, c.want)
		}
	}
}

// The wire form of every message, byte for byte. Clients depend on it.
func TestGolden(t *testing.T) {
	t.Parallel()
	r := newReporter(params{interim: true, vad: true, endpointing: true, utteranceEnd: second}, "0198c0de-0000-7000-8000-000000000001", "scripted")
	r.hears(1640 * time.Millisecond)
	all := []any{metadata{Type: "Metadata", TransactionKey: "deprecated", RequestID: r.source.RequestID,
		Created: "2026-11-22T03:00:00Z", Channels: 1, Models: []string{"scripted"}}}
	speaker, confidence := spoken(1, 1200*time.Millisecond, 1700400*time.Microsecond, audio.EndSilence), 0.9
	speaker.Final.Speaker, speaker.Final.Confidence = "1", &confidence
	for _, u := range []voice.Update{
		begun(1, 1180*time.Millisecond), {Kind: voice.KindInterim, Utterance: 1, Text: "ye"}, {Kind: voice.KindEnded, Utterance: 1}, speaker,
		begun(2, 3*second), spoken(2, 3*second, 4*second, audio.EndLength),
		{Kind: voice.KindFinal, Utterance: 3, Start: 4 * second, End: 5 * second, Final: &voice.Transcription{Reason: audio.EndRequest}},
		{Kind: voice.KindFailed, Utterance: 4, Err: errors.New("engine died")},
		{Kind: voice.KindFailed, Utterance: 5, Text: "yes", Err: errors.New("disk full")},
		{Kind: voice.KindAway, Err: errors.New("the speech server was lost")}, {Kind: voice.KindBack},
	} {
		all = append(all, r.update(u)...)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	for _, m := range all {
		if err := e.Encode(m); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/messages.jsonl")
	if err != nil || out.String() != string(want) {
		t.Errorf("got\n%s, want\n%s (%v)", out.Bytes(), want, err)
	}
}

func FuzzParams(f *testing.F) {
	for _, q := range []string{"", "encoding=mulaw&sample_rate=8000", "endpointing=25&interim_results=TRUE&utterance_end_ms=1000", "endpointing=99999999999"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		p, err := parseParams(q, voice.Features{Languages: []string{"en-US"}})
		if err == nil && (p.endpoint.WithDefaults().Validate() != nil || p.raw.WithDefaults().Validate() != nil || p.utteranceEnd > 5*second) {
			t.Errorf("%q gives %+v", query, p)
		}
	})
}
