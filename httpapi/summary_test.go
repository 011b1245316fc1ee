package httpapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/httpapi"
)

func TestFacets(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(100, func(i int, e *bloodbank.Envelope) {
		e.EventType = bloodbank.EventType([]string{"a.b", "a.b", "a.c"}[i%3])
		e.Source.App = fmt.Sprintf("app%d", i%10)
	})
	for query, want := range map[string]string{
		"?keys=type":                 `{"facets":{"type":[{"value":"a.b","count":67},{"value":"a.c","count":33}]},"scanned":100,"complete":true}`,
		"?q=type:a.c&keys=type,is":   `{"facets":{"is":[],"type":[{"value":"a.c","count":33}]},"scanned":33,"complete":true}`,
		"?keys=type&limit=1&q=app:*": `{"facets":{"type":[{"value":"a.b","count":67}]},"scanned":100,"complete":true}`,
		"?q=app:app3":                `{"facets":{"agent":[],"app":[{"value":"app3","count":10}],"type":[{"value":"a.b","count":7},{"value":"a.c","count":3}]},"scanned":100,"complete":true}`,
		"?q=payload.n:>97&keys=app":  `{"facets":{"app":[{"value":"app8","count":1},{"value":"app9","count":1}]},"scanned":100,"complete":true}`,
		"?q=app:none&keys=host":      `{"facets":{"host":[]},"scanned":0,"complete":true}`,
	} {
		if a := b.do("GET", "/events/facets"+query, ""); a.StatusCode != 200 || strings.TrimSpace(string(a.body)) != want {
			t.Errorf("%s: %s\n got %s\nwant %s", query, a.Status, a.body, want)
		}
	}
}

func TestHistogram(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const empty = `{"from":null,"to":null,"step_seconds":0,"counts":[0,0],"scanned":0,"complete":true}`
	if a := b.do("GET", "/events/histogram?buckets=2", ""); strings.TrimSpace(string(a.body)) != empty {
		t.Errorf("%s", a.body)
	}
	b.fill(101, nil) // one a second
	for query, want := range map[string]string{
		"?buckets=4": `{"from":"2026-01-27T10:00:00.000000Z","to":"2026-01-27T10:01:40.000000Z","step_seconds":25.000001,"counts":[26,25,25,25],"scanned":101,"complete":true}`,
		"?buckets=2&q=since:2026-01-27T10:01:00Z%20until:2026-01-27T10:03:00Z": `{"from":"2026-01-27T10:01:00.000000Z","to":"2026-01-27T10:03:00.000000Z","step_seconds":60.000001,"counts":[41,0],"scanned":41,"complete":true}`,
		"?buckets=1&q=payload.n:7": `{"from":"2026-01-27T10:00:07.000000Z","to":"2026-01-27T10:00:07.000000Z","step_seconds":0.000001,"counts":[1],"scanned":101,"complete":true}`,
	} {
		if a := b.do("GET", "/events/histogram"+query, ""); a.StatusCode != 200 || strings.TrimSpace(string(a.body)) != want {
			t.Errorf("%s: %s\n got %s\nwant %s", query, a.Status, a.body, want)
		}
	}
}

func TestSummaryFaults(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for path, want := range map[string]string{
		"/events/facets?q=type:": "empty value", "/events/facets?keys=text": "cannot be counted", "/events/facets?keys=type,": "cannot be counted",
		"/events/facets?limit=0": "limit", "/events/histogram?buckets=0": "buckets", "/events/histogram?buckets=1001": "buckets", "/events/histogram?q=%22": "quote",
	} {
		checkFailure(t, path, b.do("GET", path, ""), 400, bloodbank.CodeInvalid, want)
	}
	bare := setup(t, func(o *httpapi.Options) { o.Store = plain{o.Store} })
	for _, path := range []string{"/events/facets", "/events/histogram"} {
		checkFailure(t, path, bare.do("GET", path, ""), 503, bloodbank.CodeUnavailable, "counts")
	}
}
