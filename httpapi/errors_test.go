package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/gateway"
	"github.com/33god/bloodbank/httpapi"
)

// failure is the shape of every error.
type failure struct {
	Error struct {
		Code    bloodbank.Code     `json:"code"`
		Message string             `json:"message"`
		Details []bloodbank.Detail `json:"details"`
	} `json:"error"`
	Detail any `json:"detail"`
}

// refusal is a bad request with the status, the code and the words that it gets.
type refusal struct {
	name, method, path, body string
	headers                  []string
	status                   int
	code                     bloodbank.Code
	words                    string
}

func checkRefusals(t *testing.T, list []refusal) {
	t.Helper()
	b := setup(t)
	for _, c := range list {
		a := b.do(c.method, c.path, c.body, c.headers...)
		checkFailure(t, c.name, a, c.status, c.code, c.words)
		if c.status == http.StatusMethodNotAllowed && a.Header.Get("Allow") == "" {
			t.Errorf("%s: no Allow", c.name)
		}
	}
	if last := b.log.Last(); last != 0 {
		t.Errorf("%d refused events are in the log", last)
	}
}

func TestRefusedEvents(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	checkRefusals(t, []refusal{
		{"nothing there", "GET", "/nothing", "", nil, 404, bloodbank.CodeNotFound, "/openapi.json"},
		{"nothing to delete", "DELETE", "/events", "", nil, 405, bloodbank.CodeInvalid, "GET or HEAD or POST"},
		{"not for POST", "POST", "/healthz", "", nil, 405, bloodbank.CodeInvalid, "GET"},
		{"not for PUT", "PUT", "/events/x", "", nil, 405, bloodbank.CodeInvalid, "PUT"},
		{"empty body", "POST", "/events", "", nil, 400, bloodbank.CodeInvalid, "empty"},
		{"blank body", "POST", "/events", " \n ", nil, 400, bloodbank.CodeInvalid, "empty"},
		{"empty array", "POST", "/events", "[ ]", nil, 400, bloodbank.CodeInvalid, "empty"},
		{"comma at the end", "POST", "/events", "[" + draft("") + ",]", nil, 400, bloodbank.CodeInvalid, "malformed"},
		{"array cut off", "POST", "/events", "[" + draft("") + ",", nil, 400, bloodbank.CodeInvalid, "cut off"},
		{"text cut off", "POST", "/events", `["abc`, nil, 400, bloodbank.CodeInvalid, "cut off"},
		{"text behind the array", "POST", "/events", "[" + draft("") + "] x", nil, 400, bloodbank.CodeInvalid, "behind"},
		{"text behind the event", "POST", "/events", draft("") + "{}", nil, 400, bloodbank.CodeInvalid, "behind"},
		{"truncated", "POST", "/events", draft("")[:40], nil, 400, bloodbank.CodeInvalid, "malformed"},
		{"a number", "POST", "/events", "7", nil, 400, bloodbank.CodeInvalid, "object"},
		{"array of numbers", "POST", "/events", "[7]", nil, 400, bloodbank.CodeInvalid, "object"},
		{"brackets mixed up", "POST", "/events", "[{]}", nil, 400, bloodbank.CodeInvalid, "malformed"},
		{"not UTF-8", "POST", "/events", `{"event_type":"a.b","payload":"` + "\xff" + `"}`, nil, 400, bloodbank.CodeInvalid, "malformed"},
		{"UTF-16", "POST", "/events", "\xff\xfe{\x00}\x00", nil, 400, bloodbank.CodeInvalid, "malformed"},
		{"too deep", "POST", "/events", `{"event_type":"a.b","payload":` + deep + `}`, nil, 400, bloodbank.CodeInvalid, "128"},
		{"no type", "POST", "/events", `{"payload":{}}`, nil, 400, bloodbank.CodeInvalid, "event_type"},
		{"no payload", "POST", "/events", `{"event_type":"a.b"}`, nil, 400, bloodbank.CodeInvalid, "payload"},
		{"bad id", "POST", "/events", `{"event_type":"a.b","payload":{},"event_id":"7"}`, nil, 400, bloodbank.CodeInvalid, "UUID"},
		{"its own parent", "POST", "/events", draft(idA, idA), nil, 400, bloodbank.CodeInvalid, "itself"},
		{"bad level", "POST", "/events?wait=never", draft(""), nil, 400, bloodbank.CodeInvalid, "wal, bus or stored"},
		{"bad level in a header", "POST", "/events", draft(""), []string{"Bb-Wait", "x"}, 400, bloodbank.CodeInvalid, "wal, bus or stored"},
		{"bad parents", "POST", "/events", draft(""), []string{"Bb-Parents", idA + ",x"}, 400, bloodbank.CodeInvalid, "Bb-Parents"},
		{"bad parent", "POST", "/events/" + promptType + "?parent=x", prompt, nil, 400, bloodbank.CodeInvalid, "parent"},
		{"bad flag", "POST", "/events?permissive=perhaps", draft(""), nil, 400, bloodbank.CodeInvalid, "permissive"},
		{"bad query", "POST", "/events?%zz", draft(""), nil, 400, bloodbank.CodeInvalid, "query"},
		{"unknown type", "POST", "/events/agent/thread/promt", prompt, nil, 422, bloodbank.CodeUnknownType, "did you mean agent.thread.prompt"},
		{"type of one word", "POST", "/events/prompt", prompt, nil, 400, bloodbank.CodeInvalid, "two or more words"},
		{"type with odd signs", "POST", "/events/a%20b/c", prompt, nil, 400, bloodbank.CodeInvalid, "words"},
		{"type of endless length", "POST", "/events/" + strings.Repeat("a/", 300) + "b", prompt, nil, 400, bloodbank.CodeInvalid, "limit"},
		{"wrong payload", "POST", "/events/" + promptType, `{"provider":7}`, nil, 422, bloodbank.CodeSchema, ""},
		{"payload empty", "POST", "/events/" + promptType, "", nil, 400, bloodbank.CodeInvalid, "empty"},
		{"payload twice", "POST", "/events/" + promptType, prompt + prompt, nil, 400, bloodbank.CodeInvalid, "behind"},
		{"smuggled member", "POST", "/events/my.own?permissive=1", `{},"event_id":"` + idA + `"`, nil, 400, bloodbank.CodeInvalid, "behind"},
		{"payload with a name twice", "POST", "/events/my.own?permissive=1", `{"a":1,"a":2}`, nil, 400, bloodbank.CodeInvalid, "malformed"},
		{"payload too deep", "POST", "/events/my.own?permissive=1", deep, nil, 400, bloodbank.CodeInvalid, "127"},
		{"payload not UTF-8", "POST", "/events/my.own?permissive=1", "\"\xff\"", nil, 400, bloodbank.CodeInvalid, "malformed"},
	})
}

func TestRefusedForms(t *testing.T) {
	t.Parallel()
	bomb := gzipped(t, []byte(strings.Repeat(" ", 9<<20)))
	checkRefusals(t, []refusal{
		{"wrong media type", "POST", "/events", draft(""), []string{"Content-Type", "text/plain"}, 415, bloodbank.CodeUnsupported, "application/json, application/x-ndjson"},
		{"form", "POST", "/events/" + promptType, prompt, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, bloodbank.CodeUnsupported, "application/json"},
		{"wrong charset", "POST", "/events", draft(""), []string{"Content-Type", "application/json; charset=latin1"}, 415, bloodbank.CodeUnsupported, "UTF-8"},
		{"wrong encoding", "POST", "/events", draft(""), []string{"Content-Encoding", "br"}, 415, bloodbank.CodeUnsupported, "gzip"},
		{"no gzip", "POST", "/events", draft(""), []string{"Content-Encoding", "gzip"}, 400, bloodbank.CodeInvalid, "gzip"},
		{"gzip cut off", "POST", "/events", gzipped(t, []byte(draft("")))[:30], []string{"Content-Encoding", "gzip"}, 400, bloodbank.CodeInvalid, "end"},
		{"gzip bomb", "POST", "/events", bomb, []string{"Content-Encoding", "gzip"}, 413, bloodbank.CodeTooLarge, "8388608"},
		{"huge", "POST", "/events", strings.Repeat(" ", 9<<20), nil, 413, bloodbank.CodeTooLarge, "8388608"},
		{"one huge event", "POST", "/events/my.own?permissive=1", `"` + strings.Repeat("x", 2<<20) + `"`, nil, 413, bloodbank.CodeTooLarge, "1048576"},
		{"too many events", "POST", "/events", "[" + strings.Repeat("0,", 10_001) + "0]", nil, 413, bloodbank.CodeTooLarge, "10000"},
		{"too many lines", "POST", "/events", strings.Repeat("0\n", 10_002), []string{"Content-Type", "application/x-ndjson"}, 413, bloodbank.CodeTooLarge, "10000"},
		{"no lines", "POST", "/events", "\n \n", []string{"Content-Type", "application/x-ndjson"}, 400, bloodbank.CodeInvalid, "line"},
		{"cloud event without type", "POST", "/events", `{"specversion":"1.0","id":"1","source":"x"}`, []string{"Content-Type", "application/cloudevents+json"}, 400, bloodbank.CodeInvalid, "type"},
		{"page of another site", "POST", "/events", draft(""), []string{"Origin", "https://evil.example"}, 403, bloodbank.CodeForbidden, "evil.example"},
		{"page of nowhere", "POST", "/events", draft(""), []string{"Origin", "null"}, 403, bloodbank.CodeForbidden, "page"},
		{"rebound name", "GET", "/events", "", []string{"Host", "evil.example:8682"}, 403, bloodbank.CodeForbidden, "evil.example"},
	})
}

func TestRefusedQuestions(t *testing.T) {
	t.Parallel()
	checkRefusals(t, []refusal{
		{"bad filter", "GET", "/events?q=colour:red", "", nil, 400, bloodbank.CodeInvalid, "key"},
		{"bad limit", "GET", "/events?limit=0", "", nil, 400, bloodbank.CodeInvalid, "1 to 1000"},
		{"bad order", "GET", "/events?order=up", "", nil, 400, bloodbank.CodeInvalid, "desc"},
		{"bad cursor", "GET", "/events?cursor=x", "", nil, 400, bloodbank.CodeInvalid, "cursor"},
		{"unknown parameter", "GET", "/events?limt=3", "", nil, 400, bloodbank.CodeInvalid, "limt"},
		{"event unknown", "GET", "/events/" + idNone, "", nil, 404, bloodbank.CodeNotFound, "Event " + idNone + " not found"},
		{"event id wrong", "GET", "/events/7", "", nil, 400, bloodbank.CodeInvalid, "Invalid UUID format: 7"},
		{"bad filter of a stream", "GET", "/events/stream?q=colour:red", "", nil, 400, bloodbank.CodeInvalid, "key"},
		{"bad position", "GET", "/events/stream?since=x", "", nil, 400, bloodbank.CodeInvalid, "position"},
		{"bad last event", "GET", "/events/stream", "", []string{"Last-Event-ID", "-4"}, 400, bloodbank.CodeInvalid, "position"},
		{"correlation of no UUID", "GET", "/debug/correlation/x", "", nil, 400, bloodbank.CodeInvalid, "Invalid UUID format: x"},
		{"correlation unknown", "GET", "/debug/correlation/" + idNone, "", nil, 404, bloodbank.CodeNotFound, "No correlation data found for event " + idNone},
		{"chain of no UUID", "GET", "/debug/correlation/x/chain", "", nil, 400, bloodbank.CodeInvalid, "Invalid UUID format: x"},
		{"chain unknown", "GET", "/debug/correlation/" + idNone + "/chain", "", nil, 404, bloodbank.CodeNotFound, "No correlation chain found for event " + idNone},
		{"chain sideways", "GET", "/debug/correlation/" + idNone + "/chain?direction=sideways", "", nil, 400, bloodbank.CodeInvalid, "Invalid direction: sideways. Must be 'ancestors' or 'descendants'"},
		{"chain of no depth", "GET", "/debug/correlation/" + idNone + "/chain?max_depth=0", "", nil, 400, bloodbank.CodeInvalid, "max_depth"},
		{"schema unknown", "GET", "/schemas/my.own", "", nil, 404, bloodbank.CodeNotFound, "my.own"},
		{"invalid payload", "POST", "/validate/" + promptType, `{}`, nil, 422, bloodbank.CodeSchema, ""},
		{"validate malformed", "POST", "/validate/" + promptType, `{`, nil, 400, bloodbank.CodeInvalid, "malformed"},
		{"validate unknown", "POST", "/validate/my.own", `{}`, nil, 422, bloodbank.CodeUnknownType, "my.own"},
		{"no dead letters", "GET", "/dlq", "", nil, 503, bloodbank.CodeUnavailable, "dead letters"},
		{"no dead letter", "GET", "/dlq/1", "", nil, 503, bloodbank.CodeUnavailable, "dead letters"},
		{"none to redrive", "POST", "/dlq/1/redrive", "", nil, 503, bloodbank.CodeUnavailable, "dead letters"},
		{"none to redrive at once", "POST", "/dlq/redrive", "{}", nil, 503, bloodbank.CodeUnavailable, "dead letters"},
		{"no recogniser", "GET", "/asr", "", nil, 503, bloodbank.CodeUnavailable, "install"},
		{"no metrics", "GET", "/metrics", "", nil, 404, bloodbank.CodeNotFound, "/status"},
	})
}

func checkFailure(t *testing.T, name string, a answer, status int, code bloodbank.Code, words string) {
	t.Helper()
	var f failure
	if err := json.Unmarshal(a.body, &f); err != nil {
		t.Errorf("%s: %d %q is no error in JSON", name, a.StatusCode, a.body)
		return
	}
	if a.StatusCode != status || f.Error.Code != code || !strings.Contains(f.Error.Message, words) || f.Error.Message == "" {
		t.Errorf("%s: %d, want %d %s %q: %s", name, a.StatusCode, status, code, words, a.body)
	}
	if f.Detail != f.Error.Message {
		t.Errorf("%s: detail %v", name, f.Detail)
	}
	if code == bloodbank.CodeSchema && len(f.Error.Details) == 0 {
		t.Errorf("%s: no details", name)
	}
	if a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s: content type %q", name, a.Header.Get("Content-Type"))
	}
}

func gzipped(t *testing.T, data []byte) string {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write(data)
	must(t, err)
	must(t, w.Close())
	return packed.String()
}

// TestEveryCode: whatever the gateway says, the status is that of its code.
func TestEveryCode(t *testing.T) {
	t.Parallel()
	var next error
	b := setup(t, func(o *httpapi.Options) {
		o.Gateway = acceptFunc(func(context.Context, []gateway.Request) ([]bloodbank.Receipt, error) { return nil, next })
	})
	for _, code := range []bloodbank.Code{
		bloodbank.CodeInvalid, bloodbank.CodeUnknownType, bloodbank.CodeSchema, bloodbank.CodeNotFound, bloodbank.CodeConflict,
		bloodbank.CodeTooLarge, bloodbank.CodeUnsupported, bloodbank.CodeUnauthorized, bloodbank.CodeForbidden, bloodbank.CodeOverloaded,
		bloodbank.CodeUnavailable, bloodbank.CodeTimeout, bloodbank.CodeStorageFull, bloodbank.CodeInternal,
	} {
		e := bloodbank.Errorf(code, "words for %s", code)
		e.Details = []bloodbank.Detail{{Pointer: "/a", Message: "b"}}
		next = e
		checkFailure(t, string(code), b.do("POST", "/events", draft("")), code.HTTPStatus(), code, "words for "+string(code))
	}
	next = errors.New("secret of the house")
	a := b.do("POST", "/events", draft(""))
	checkFailure(t, "foreign error", a, 500, bloodbank.CodeInternal, a.Header.Get("X-Request-Id"))
	if bytes.Contains(a.body, []byte("secret")) || !strings.Contains(b.logged.String(), "secret of the house") {
		t.Errorf("answer %s, log %s", a.body, b.logged)
	}
}

func TestPanicIsAnswered(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *httpapi.Options) {
		o.Gateway = acceptFunc(func(context.Context, []gateway.Request) ([]bloodbank.Receipt, error) { panic("kaboom") })
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write([]byte("half"))
			panic("in the middle")
		})
	})
	a := b.do("POST", "/events", draft(""), "X-Request-Id", "my-id.7")
	checkFailure(t, "panic", a, 500, bloodbank.CodeInternal, "my-id.7")
	if log := b.logged.String(); !strings.Contains(log, "kaboom") || !strings.Contains(log, "my-id.7") || a.Header.Get("X-Request-Id") != "my-id.7" {
		t.Errorf("log %s", log)
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", b.url+"/metrics", nil)
	must(t, err)
	if response, err := http.DefaultTransport.RoundTrip(r); err == nil { // the answer must not pass for whole
		_ = response.Body.Close()
		t.Error("a broken answer was ended properly")
	}
	if a := b.do("GET", "/healthz", ""); a.StatusCode != 200 {
		t.Error("the server is gone")
	}
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first, second := b.do("GET", "/healthz", ""), b.do("GET", "/healthz", "", "X-Request-Id", "bad id\t"+strings.Repeat("x", 80))
	a, c := first.Header.Get("X-Request-Id"), second.Header.Get("X-Request-Id")
	if a == "" || c == "" || a == c || strings.Contains(c, " ") {
		t.Errorf("%q and %q", a, c)
	}
}
