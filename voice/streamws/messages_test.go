package streamws

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
)

// The wire form of every message, byte for byte. Clients depend on it.
func TestGolden(t *testing.T) {
	t.Parallel()
	event, err := bloodbank.ParseEventID("0198c0de-0000-7000-8000-0000000000ee")
	if err != nil {
		t.Fatal(err)
	}
	confidence := 0.91239
	spoken := voice.Update{
		Utterance: 3, Start: 1250 * time.Millisecond, End: 2500400 * time.Microsecond, Text: `<go> & "stay"`, Event: event, Truncated: true,
		Final: &voice.Transcription{Language: "en-US", Speaker: "1", Confidence: &confidence, Words: []voice.Word{
			{Text: "go", Start: 1250 * time.Millisecond, End: 1750 * time.Millisecond, Confidence: 0.5},
			{Text: "stay", Start: 2 * time.Second, End: 2500 * time.Millisecond, Confidence: math.NaN()},
		}},
	}
	update := func(kind voice.Kind, change func(*voice.Update)) (string, message) {
		u := spoken
		u.Kind = kind
		change(&u)
		return telling(u)
	}
	same := func(*voice.Update) {}
	var out bytes.Buffer
	seq := uint64(0)
	write := func(kind string, m message) {
		seq++
		h := head{Type: kind, Seq: seq, SessionID: known("0198c0de-0000-7000-8000-000000000001")}
		if strings.HasPrefix(kind, "!") {
			h.Type, h.SessionID = kind[1:], nil
		}
		m.stamp(h)
		e := json.NewEncoder(&out)
		e.SetEscapeHTML(false)
		if err := e.Encode(m); err != nil {
			t.Fatal(err)
		}
	}
	write("session.started", &started{ResumeToken: "t", EventID: event.String(), SampleRate: 16000, Recogniser: "vosk"})
	write("session.started", &started{ResumeToken: "t", EventID: event.String(), Bytes: 64000, AudioMS: 2000,
		SampleRate: 16000, Recogniser: "vosk", Language: known("de-DE"), Resumed: true})
	write(update(voice.KindStarted, same))
	write(update(voice.KindInterim, func(u *voice.Update) { u.Revision = 4 }))
	write(update(voice.KindEnded, same))
	write(update(voice.KindFinal, same))
	write(update(voice.KindFinal, func(u *voice.Update) {
		u.Text, u.Truncated, u.Event, u.Final = "", false, bloodbank.EventID{}, &voice.Transcription{}
	}))
	write(update(voice.KindFailed, func(u *voice.Update) { u.Err = errors.New("disk full") }))
	write(update(voice.KindFailed, func(u *voice.Update) { u.Text, u.Start, u.Err = "", 0, errors.New("engine died") }))
	write("progress", &progress{Bytes: 64000, ReceivedMS: 2000, FinishedMS: 1250})
	write("!error", &fault{Code: code(bloodbank.CodeInvalid), Message: "language: unknown"})
	write("session.ended", &ended{Totals: totals{2, 1, 61.5}, Reason: known(voice.ReasonEnd)})
	write("session.ended", &ended{})
	write(telling(voice.Update{Kind: voice.KindAway, Err: errors.New("the speech server was lost")}))
	write(telling(voice.Update{Kind: voice.KindBack}))

	const golden = "testdata/messages.jsonl"
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatalf("%v; it should be\n%s", err, out.Bytes())
	}
	got, lines := strings.Split(out.String(), "\n"), strings.Split(string(want), "\n")
	if len(got) != len(lines) {
		t.Fatalf("%d messages, want %d", len(got), len(lines))
	}
	for i := range got {
		if got[i] != lines[i] {
			t.Errorf("message %d\n%s, want\n%s", i+1, got[i], lines[i])
		}
	}
}

func FuzzParams(f *testing.F) {
	for _, q := range []string{"", "endpoint_ms=300&max_utterance_ms=5000", "endpoint_ms=%2b1e3", "interim=0&after=7", "session_id=0198c0de-0000-7000-8000-000000000001&resume_token=x&after=2"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		p, err := parseParams(q, voice.Features{Languages: []string{"en-US"}})
		if err != nil {
			return
		}
		if e := p.endpoint; p.after < 0 || !p.source.Valid() || e.Max > longestUtterance || e.End > 5*time.Second || e.End < 0 || e.WithDefaults().Validate() != nil {
			t.Errorf("%q gives %+v", query, p)
		}
	})
}
