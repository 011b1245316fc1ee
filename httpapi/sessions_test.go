package httpapi_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/httpapi"
)

// speak stores the events of a session: its opening, its utterances, each with
// its own audio_metadata, and where closed is true its end.
func (b *bundle) speak(id string, closed bool, utterances ...string) {
	b.t.Helper()
	n := len(utterances) + 1
	if closed {
		n++
	}
	b.fill(n, func(i int, e *bloodbank.Envelope) {
		switch {
		case i == 0:
			e.EventType, e.Payload = bloodbank.TypeSessionOpened, fmt.Appendf(nil, `{"session_id":%q,"source":"mobile-client","language":"en"}`, id)
		case i <= len(utterances):
			e.EventType, e.Payload = bloodbank.TypeVoiceCompleted, fmt.Appendf(nil, `{"session_id":%q,"source":"mobile-client",%s}`, id, utterances[i-1])
		default:
			e.EventType, e.Payload = bloodbank.TypeSessionClosed, fmt.Appendf(nil, `{"session_id":%q,"audio_seconds":61.5}`, id)
		}
	})
}

func spoken() []string {
	return []string{
		`"text":"Turn on the lights.","audio_metadata":{"start_seconds":0.5,"end_seconds":2.25,"speaker_id":"1","confidence":0.5,"language":"en"}`,
		`"text":"a < b --> c\n\nd","audio_metadata":{"duration_seconds":1.5}`,
		`"text":7`,
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	now := filledFrom().Add(time.Minute)
	b := setup(t, func(o *httpapi.Options) { o.Now = func() time.Time { return now } })
	b.speak("ended", true, spoken()...)
	b.speak("a/b ü", false)
	var one map[string]any
	b.into(b.do("GET", "/sessions/ended", ""), 200, &one)
	want := `map[closed:2026-01-27T10:00:04.000000Z duration_seconds:61.5 id:ended language:en last_text:a < b --> c

d opened:2026-01-27T10:00:00.000000Z source:mobile-client state:ended utterances:3 words:10]`
	if got := fmt.Sprint(one); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	b.into(b.do("GET", "/sessions/"+url.PathEscape("a/b ü"), ""), 200, &one)
	if one["id"] != "a/b ü" || one["state"] != "live" || one["closed"] != nil || one["duration_seconds"] != 0.0 || one["last_text"] != "" {
		t.Errorf("%v", one)
	}
	for query, want := range map[string]string{"": "2", "?state=live": "1 a/b ü", "?state=ended": "1 ended", "?state=lost": "0"} {
		var page struct {
			Sessions []struct{ ID string }
			Next     *string
		}
		b.into(b.do("GET", "/sessions"+query, ""), 200, &page)
		got := fmt.Sprint(len(page.Sessions))
		if len(page.Sessions) == 1 {
			got += " " + page.Sessions[0].ID
		}
		if got != want || page.Sessions == nil || page.Next == nil || *page.Next != "" {
			t.Errorf("%s: %+v", query, page)
		}
	}
	var page struct {
		Sessions []struct{ ID string }
		Next     string
	}
	b.into(b.do("GET", "/sessions?limit=1", ""), 200, &page)
	first := page.Sessions[0].ID
	b.into(b.do("GET", "/sessions?limit=1&cursor="+page.Next, ""), 200, &page)
	if page.Next != "" || page.Sessions[0].ID == first {
		t.Errorf("%+v after %s", page, first)
	}
}

func TestTranscripts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.speak("a/b ü", true, spoken()...)
	path := "/sessions/" + url.PathEscape("a/b ü") + "/transcript"
	for format, want := range map[string]string{
		"":            "Turn on the lights.\na < b --> c d\n",
		"?format=txt": "Turn on the lights.\na < b --> c d\n",
		"?format=srt": "1\n00:00:00,500 --> 00:00:02,250\nTurn on the lights.\n\n2\n00:00:00,500 --> 00:00:02,000\na < b -- > c\nd\n\n",
		"?format=vtt": "WEBVTT\n\n00:00:00.500 --> 00:00:02.250\nTurn on the lights.\n\n00:00:00.500 --> 00:00:02.000\na &lt; b --&gt; c\nd\n\n",
	} {
		a := b.do("GET", path+format, "")
		if a.StatusCode != 200 || string(a.body) != want {
			t.Errorf("%s: %d %q", format, a.StatusCode, a.body)
		}
		end := "." + strings.TrimPrefix(format, "?format=")
		if format == "" {
			end = ".txt"
		}
		if got := a.Header.Get("Content-Disposition"); got != `attachment; filename="session-a_b__`+end+`"` {
			t.Errorf("%s: %s", format, got)
		}
	}
	a := b.do("GET", path+"?format=jsonl", "")
	lines := strings.Split(strings.TrimSpace(string(a.body)), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], `"timestamp":"2026-01-27T10:00:01.000000Z","start_seconds":0.5,"end_seconds":2.25,"speaker":"1","language":"en","confidence":0.5,"text":"Turn on the lights."}`) ||
		!strings.Contains(lines[1], `"confidence":null,"text":"a < b --> c\n\nd"}`) {
		t.Errorf("%s", a.body)
	}
}

// Of a long session all pages are read.
func TestLongTranscript(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var said []string
	for i := range 2500 {
		said = append(said, fmt.Sprintf(`"text":"word %d"`, i))
	}
	b.speak("long", false, said...)
	a := b.do("GET", "/sessions/long/transcript", "")
	if lines := strings.Split(string(a.body), "\n"); len(lines) != 2501 || lines[2499] != "word 2499" {
		t.Errorf("%d lines", len(lines))
	}
}

func TestSessionFaults(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.speak("s", false)
	checkFailure(t, "unknown", b.do("GET", "/sessions/x", ""), 404, bloodbank.CodeNotFound, "x")
	checkFailure(t, "unknown transcript", b.do("GET", "/sessions/x/transcript", ""), 404, bloodbank.CodeNotFound, "x")
	checkFailure(t, "format", b.do("GET", "/sessions/s/transcript?format=pdf", ""), 400, bloodbank.CodeInvalid, "srt")
	checkFailure(t, "state", b.do("GET", "/sessions?state=dead", ""), 400, bloodbank.CodeInvalid, "live")
	checkFailure(t, "limit", b.do("GET", "/sessions?limit=0", ""), 400, bloodbank.CodeInvalid, "limit")
	checkFailure(t, "cursor", b.do("GET", "/sessions?cursor=x", ""), 400, bloodbank.CodeInvalid, "cursor")
	bare := setup(t, func(o *httpapi.Options) { o.Store = plain{o.Store} })
	for _, path := range []string{"/sessions", "/sessions/s", "/sessions/s/transcript"} {
		checkFailure(t, path, bare.do("GET", path, ""), 503, bloodbank.CodeUnavailable, "sessions")
	}
}
