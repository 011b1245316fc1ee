package httpapi_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/dispatch"
	"github.com/33god/bloodbank/httpapi"
)

// letters are three dead letters, of which the second cannot be sent.
type letters struct {
	mu   sync.Mutex
	gone map[uint64]bool
}

func (l *letters) List(after uint64, limit int) []dispatch.DeadLetter {
	var list []dispatch.DeadLetter
	for n := after + 1; n <= 3 && len(list) < limit; n++ {
		list = append(list, dispatch.DeadLetter{Number: n, Reason: "too large", EventType: "a.b"})
	}
	return list
}

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

func (l *letters) Open() int { return 3 }

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
	if a := b.do("GET", "/dlq?after=3", ""); string(a.body) != `{"dead_letters":[],"open":3}`+"\n" {
		t.Errorf("%s", a.body)
	}
	var one dispatch.DeadLetter
	b.into(b.do("GET", "/dlq/3", ""), 200, &one)
	if one.Number != 3 || string(one.Event) != `{"a":1}` {
		t.Errorf("%+v", one)
	}
	if a := b.do("POST", "/dlq/1/redrive", ""); a.StatusCode != 200 || string(a.body) != `{"number":1,"ok":true}`+"\n" || !l.gone[1] {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	a := b.do("POST", "/dlq/redrive", `{"numbers":[3,2,9]}`)
	want := `{"results":[{"number":3,"ok":true},{"number":2,"ok":false,"error":{"code":"unavailable","message":"the bus is down"}},` +
		`{"number":9,"ok":false,"error":{"code":"not_found","message":"there is no open dead letter 9"}}]}` + "\n"
	if a.StatusCode != 200 || string(a.body) != want {
		t.Errorf("%d %s", a.StatusCode, a.body)
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
