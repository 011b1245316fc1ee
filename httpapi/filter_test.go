package httpapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/httpapi"
)

// TestTraceFilter: the same events on a page, in an export, in a histogram, and in
// a stream that goes on as the trace does.
func TestTraceFilter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := b.weave("a", "b:a", "x:a", "c:b", "d:c", "y", "e:dy")
	q := "?q=trace:" + ids['c'].String()
	said := func(text string) (names string) {
		for _, name := range "abcdefgxyz" {
			names += strings.Repeat(string(name), strings.Count(text, fmt.Sprintf("I am %c", name)))
		}
		return names
	}
	for _, path := range []string{"/events", "/export"} {
		if got := said(string(b.do("GET", path+q, "").body)); got != "abcde" {
			t.Errorf("%s: %s", path, got)
		}
	}
	if got := said(string(b.do("GET", "/events"+q+"%20-has:parents", "").body)); got != "a" {
		t.Errorf("with another term: %s", got)
	}
	if a := b.do("GET", "/events/histogram"+q+"&buckets=1", ""); !strings.Contains(string(a.body), `"counts":[5],"scanned":5,"complete":true`) {
		t.Errorf("%s", a.body)
	}
	w, _ := b.dial(q + "&since=0")
	w.hello()
	raws, _ := w.frames(5)
	if got := said(strings.Join(raws, "")); got != "abcde" {
		t.Errorf("stream: %s", got)
	}
	// What comes now: f is caused by e, g by f, z by the cause of a cause.
	known := map[rune]bloodbank.EventID{}
	events := []string{"f:e", "g:f", "z:a"}
	for r, id := range ids {
		known[r] = id
	}
	b.fill(len(events), func(i int, e *bloodbank.Envelope) {
		e.CorrelationIDs = []bloodbank.EventID{known[rune(events[i][2])]}
		known[rune(events[i][0])] = e.EventID
		e.Payload = fmt.Appendf(nil, `{"text":"I am %c"}`, events[i][0])
	})
	raws, _ = w.frames(2)
	if got := said(strings.Join(raws, "")); got != "fg" {
		t.Errorf("stream: %s", got)
	}
	w.say(`{"q":"type:none.such"}`)
}

func TestTraceFilterFaults(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var page struct{ Events []any }
	b.into(b.do("GET", "/events?q=trace:"+idA, ""), 200, &page)
	if len(page.Events) != 0 {
		t.Errorf("%+v", page)
	}
	many := "trace:" + idA
	for i := range 3 {
		many += fmt.Sprintf(",%s%d", idA[:35], i)
	}
	checkFailure(t, "too many", b.do("GET", "/events?q="+many, ""), 400, bloodbank.CodeInvalid, "4 traces")
	bare := setup(t, func(o *httpapi.Options) { o.Tracker = nil })
	checkFailure(t, "no tracker", bare.do("GET", "/events?q=trace:"+idA, ""), 503, bloodbank.CodeUnavailable, "causes")
}
