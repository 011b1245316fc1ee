package httpapi_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/dispatch"
	"github.com/33god/bloodbank/httpapi"
)

// letters are three dead letters, of which the second cannot be sent.
type letters struct {
	mu   sync.Mutex
	gone map[uint64]bool
}

func (l *letters) Find(f dispatch.Filter, after uint64, limit int) []dispatch.DeadLetter {
	var list []dispatch.DeadLetter
	for n := after + 1; n <= 3 && len(list) < limit; n++ {
		letter := dispatch.DeadLetter{Number: n, Reason: "too large", EventType: "a.b", Target: "bus", Sequence: 10 * n, At: time.Unix(int64(n), 0).UTC()}
		if f.Match(letter) {
			list = append(list, letter)
		}
	}
	return list
}

func (l *letters) Count(f dispatch.Filter) int { return len(l.Find(f, 0, 100)) }

func (l *letters) Get(n uint64) (dispatch.DeadLetter, error) {
	if n < 1 || n > 3 {
		return dispatch.DeadLetter{}, bloodbank.Errorf(bloodbank.CodeNotFound, "there is no open dead letter %d", n)
	}
	return dispatch.DeadLetter{Number: n, Event: json.RawMessage(`{"a":1}`)}, nil
}

func (l *letters) Redrive(_ context.Context, n uint64) error {
	if _, err := l.Get(n); err != nil {
		return err
	}
	if n == 2 {
		return bloodbank.Errorf(bloodbank.CodeUnavailable, "the bus is down")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone[n] = true
	return nil
}

func (l *letters) RedriveMany(ctx context.Context, r dispatch.RedriveRequest) (dispatch.RedriveReport, error) {
	if r.After == "bad" {
		return dispatch.RedriveReport{}, bloodbank.Errorf(bloodbank.CodeInvalid, "bad is no place")
	}
	all := l.Find(r.Filter, 0, 100)
	report := dispatch.RedriveReport{Matched: len(all)}
	for _, letter := range all[:min(len(all), max(r.Limit, 0)+3*(1-min(r.Limit, 1)))] {
		o := dispatch.Outcome{DeadLetter: letter}
		if !r.DryRun {
			o.Err = l.Redrive(ctx, letter.Number)
		}
		report.Outcomes = append(report.Outcomes, o)
	}
	if report.Left = len(all) - len(report.Outcomes); report.Left > 0 {
		report.Next, report.Stopped = "10.1", bloodbank.Errorf(bloodbank.CodeUnavailable, "the bus is down")
	}
	return report, nil
}

func (l *letters) Discard(_ context.Context, r dispatch.DiscardRequest) (dispatch.DiscardReport, error) {
	if r.Reason == "" {
		return dispatch.DiscardReport{}, bloodbank.Errorf(bloodbank.CodeInvalid, "a discard needs a reason")
	}
	all := l.Find(r.Filter, 0, 100)
	report := dispatch.DiscardReport{Matched: len(all)}
	for _, letter := range all {
		report.Outcomes = append(report.Outcomes, dispatch.Outcome{DeadLetter: letter})
	}
	return report, nil
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	l := &letters{gone: map[uint64]bool{}}
	b := setup(t, func(o *httpapi.Options) { o.DeadLetters = l })
	var list struct {
		DeadLetters []dispatch.DeadLetter `json:"dead_letters"`
		Open        int                   `json:"open"`
	}
	b.into(b.do("GET", "/dlq?after=1&limit=1", ""), 200, &list)
	if len(list.DeadLetters) != 1 || list.DeadLetters[0].Number != 2 || list.Open != 3 {
		t.Errorf("%+v", list)
	}
	if a := b.do("GET", "/dlq?after=3", ""); string(a.body) != `{"dead_letters":[],"open":3,"matched":3}`+"\n" {
		t.Errorf("%s", a.body)
	}
	for query, want := range map[string]int{
		"type=a.*": 3, "type=b.*": 0, "reason=TOO+l": 3, "reason=small": 0, "target=bus": 3, "target=other": 0,
		"since=1970-01-01T00:00:02Z": 2, "until=1970-01-01T00:00:02Z": 1, "since=1970-01-01T00:00:02Z&until=1970-01-01T00:00:03Z&type=*": 1,
	} {
		b.into(b.do("GET", "/dlq?"+query, ""), 200, &list)
		if len(list.DeadLetters) != want {
			t.Errorf("%s: %+v", query, list)
		}
	}
	var one dispatch.DeadLetter
	b.into(b.do("GET", "/dlq/3", ""), 200, &one)
	if one.Number != 3 || string(one.Event) != `{"a":1}` {
		t.Errorf("%+v", one)
	}
	if a := b.do("POST", "/dlq/1/redrive", ""); a.StatusCode != 200 || string(a.body) != `{"number":1,"ok":true}`+"\n" || !l.gone[1] {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	for _, c := range []struct{ path, body, want string }{
		{"/dlq/redrive", `{"numbers":[3,2,9]}`, `{"results":[` + result("2", `false,"error":{"code":"unavailable","message":"the bus is down"}`) + `,` + result("3", "true") +
			`,{"number":9,"ok":false,"error":{"code":"not_found","message":"there is no open dead letter 9"}}],"matched":2,"done":1,"failed":2,"left":0}`},
		{"/dlq/redrive", `{"filter":{},"limit":1}`, `{"results":[` + result("1", "true") +
			`],"matched":3,"done":1,"failed":0,"left":2,"next":"10.1","stopped":{"code":"unavailable","message":"the bus is down"}}`},
		{"/dlq/redrive", `{"filter":{"since":"1970-01-01T00:00:03Z"},"dry_run":true}`, `{"results":[` + result("3", "false") + `],"dry_run":true,"matched":1,"done":0,"failed":0,"left":0}`},
		{"/dlq/discard", `{"filter":{"type":"x.*"},"reason":"old"}`, `{"results":[],"matched":0,"done":0,"failed":0,"left":0}`},
		{"/dlq/discard", `{"numbers":[1],"reason":"old"}`, `{"results":[` + result("1", "true") + `],"matched":1,"done":1,"failed":0,"left":0}`},
	} {
		if a := b.do("POST", c.path, c.body); a.StatusCode != 200 || string(a.body) != c.want+"\n" {
			t.Errorf("%s %s: %d %s, want %s", c.path, c.body, a.StatusCode, a.body, c.want)
		}
	}
	for _, c := range []struct {
		method, path, body string
		status             int
		code               bloodbank.Code
	}{
		{"GET", "/dlq/9", "", 404, bloodbank.CodeNotFound},
		{"GET", "/dlq/x", "", 400, bloodbank.CodeInvalid},
		{"GET", "/dlq?after=-1", "", 400, bloodbank.CodeInvalid},
		{"GET", "/dlq?limit=0", "", 400, bloodbank.CodeInvalid},
		{"GET", "/dlq?since=yesterday", "", 400, bloodbank.CodeInvalid},
		{"POST", "/dlq/redrive", `{}`, 400, bloodbank.CodeInvalid},
		{"POST", "/dlq/redrive", `{"filter":{},"numbers":[1]}`, 400, bloodbank.CodeInvalid},
		{"POST", "/dlq/redrive", `{"filter":{"typ":"a.*"}}`, 400, bloodbank.CodeInvalid},
		{"POST", "/dlq/redrive", `{"filter":{},"limit":1001}`, 400, bloodbank.CodeInvalid},
		{"POST", "/dlq/redrive", `{"filter":{},"after":"bad"}`, 400, bloodbank.CodeInvalid},
		{"POST", "/dlq/redrive", `{"filter":{},"reason":"x"}`, 400, bloodbank.CodeInvalid},
		{"POST", "/dlq/discard", `{"filter":{}}`, 400, bloodbank.CodeInvalid},
		{"POST", "/dlq/discard", `{"filter":{},"reason":"x","after":"1.1"}`, 400, bloodbank.CodeInvalid},
		{"POST", "/dlq/9/redrive", "", 404, bloodbank.CodeNotFound},
		{"POST", "/dlq/2/redrive", "", 503, bloodbank.CodeUnavailable},
		{"POST", "/dlq/redrive", "", 400, bloodbank.CodeInvalid},
		{"POST", "/dlq/redrive", `{"numbers":[]}`, 400, bloodbank.CodeInvalid},
		{"POST", "/dlq/redrive", `{"numbers":[-1]}`, 400, bloodbank.CodeInvalid},
		{"POST", "/dlq/redrive", `{"numbers":[` + strings.Repeat("1,", 1000) + `1]}`, 400, bloodbank.CodeInvalid},
	} {
		checkFailure(t, c.method+" "+c.path, b.do(c.method, c.path, c.body), c.status, c.code, "")
	}
}

// result is the outcome of a dead letter of letters, as JSON.
func result(number, ok string) string {
	return `{"number":` + number + `,"event_type":"a.b","target":"bus","sequence":` + number + `0,"ok":` + ok + `}`
}
