package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/gateway"
	"github.com/33god/bloodbank/httpapi"
)

const (
	prompt     = `{"provider":"acme","prompt":"hello"}`
	promptType = "agent.thread.prompt"
	idA        = "0198c0de-0000-7000-8000-00000000000a"
	idB        = "0198c0de-0000-7000-8000-00000000000b"
	idC        = "0198c0de-0000-7000-8000-00000000000c"
	idNone     = "0198c0de-0000-7000-8000-0000000000ff"
)

// draft is an envelope with an id and parents; "" leaves them out.
func draft(id string, parents ...string) string {
	b := `{"event_type":"` + promptType + `","payload":` + prompt
	if id != "" {
		b += `,"event_id":"` + id + `"`
	}
	if len(parents) > 0 {
		b += `,"correlation_ids":["` + strings.Join(parents, `","`) + `"]`
	}
	return b + "}"
}

func TestPublishLevels(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, c := range []struct {
		path, header string
		status       int
		ack          bloodbank.AckLevel
	}{
		{"/events", "", 202, bloodbank.AckWAL},
		{"/events?wait=wal", "", 202, bloodbank.AckWAL},
		{"/events?wait=bus", "", 200, bloodbank.AckBus},
		{"/events?wait=stored", "", 200, bloodbank.AckStored},
		{"/events", "stored", 200, bloodbank.AckStored},
		{"/events?wait=wal", "stored", 202, bloodbank.AckWAL}, // the query wins
	} {
		var receipt bloodbank.Receipt
		b.into(b.do("POST", c.path, draft(""), "Bb-Wait", c.header), c.status, &receipt)
		if receipt.Ack != c.ack || receipt.EventID.IsZero() || receipt.Sequence == 0 || receipt.Duplicate {
			t.Errorf("%s %q: %+v", c.path, c.header, receipt)
		}
	}
}

func TestLevelNotReached(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *httpapi.Options) {
		log := o.Gateway
		o.Gateway = acceptFunc(func(ctx context.Context, r []gateway.Request) ([]bloodbank.Receipt, error) {
			for i := range r {
				r[i].Ack = bloodbank.AckWAL // as if the wait had run out
			}
			return log.AcceptAll(ctx, r)
		})
	})
	var receipt bloodbank.Receipt
	b.into(b.do("POST", "/events?wait=bus", draft("")), 202, &receipt)
	if receipt.Ack != bloodbank.AckWAL {
		t.Errorf("%+v", receipt)
	}
}

// acceptFunc is a gateway.
type acceptFunc func(context.Context, []gateway.Request) ([]bloodbank.Receipt, error)

func (f acceptFunc) AcceptAll(ctx context.Context, r []gateway.Request) ([]bloodbank.Receipt, error) {
	return f(ctx, r)
}

func TestReceiptIsExact(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.do("POST", "/events", draft(idA))
	if want := `{"event_id":"` + idA + `","sequence":1,"ack":"wal","duplicate":false}` + "\n"; string(a.body) != want {
		t.Errorf("got  %swant %s", a.body, want)
	}
	a = b.do("POST", "/events", draft(idA))
	if want := `{"event_id":"` + idA + `","sequence":1,"ack":"wal","duplicate":true}` + "\n"; string(a.body) != want {
		t.Errorf("got  %swant %s", a.body, want)
	}
	if a.Header.Get("Content-Type") != "application/json" || a.Header.Get("X-Request-Id") == "" {
		t.Errorf("headers %v", a.Header)
	}
}

func TestPublishForms(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cloud := `{"specversion":"1.0","id":"%s","type":"` + promptType + `","source":"bloodbank://box/app","data":` + prompt + `}`
	for _, c := range []struct {
		name, path, media, body string
		headers                 []string
		events                  int // 0: the answer is a receipt alone
	}{
		{"envelope", "/events", "application/json", draft(""), nil, 0},
		{"charset", "/events", "application/json; charset=UTF-8", draft(""), nil, 0},
		{"no type", "/events", "", " \n" + draft("") + "\n", nil, 0},
		{"array", "/events", "application/json", "[" + draft("") + " ,\n" + draft("") + "]", nil, 2},
		{"array of one", "/events", "application/json", "[" + draft("") + "]", nil, 1},
		{"lines", "/events", "application/x-ndjson", draft("") + "\n\n" + draft("") + "\r\n" + draft(""), nil, 3},
		{"jsonl", "/events", "application/jsonl", draft(""), nil, 1},
		{"cloud event", "/events", "application/cloudevents+json", fmt.Sprintf(cloud, "a"), nil, 0},
		{"cloud batch", "/events", "application/cloudevents-batch+json", "[" + fmt.Sprintf(cloud, "b") + "," + fmt.Sprintf(cloud, "c") + "]", nil, 2},
		{"binary cloud event", "/events", "application/json", prompt, []string{"Ce-Specversion", "1.0", "Ce-Id", "d", "Ce-Type", promptType, "Ce-Source", "/x"}, 0},
		{"payload, dots", "/events/agent.thread.prompt", "application/json", prompt, nil, 0},
		{"payload, slashes", "/events/agent/thread/prompt", "application/json", prompt, nil, 0},
		{"payload, slash at the end", "/events/agent/thread/prompt/", "application/json", prompt, nil, 0},
		{"unknown type, permissive", "/events/my.own?permissive=true", "application/json", `[1,2]`, nil, 0},
		{"unchecked", "/events/agent.thread.prompt?skip_validation=1", "application/json", `{}`, nil, 0},
	} {
		a := b.do("POST", c.path, c.body, append(c.headers, "Content-Type", c.media)...)
		if c.events == 0 {
			var receipt bloodbank.Receipt
			b.into(a, 202, &receipt)
			if receipt.EventID.IsZero() {
				t.Errorf("%s: %s", c.name, a.body)
			}
			continue
		}
		var receipts []bloodbank.Receipt
		b.into(a, 202, &receipts)
		if len(receipts) != c.events {
			t.Errorf("%s: %s", c.name, a.body)
		}
		for i, receipt := range receipts[1:] {
			if receipt.Sequence != receipts[i].Sequence+1 {
				t.Errorf("%s: sequences not in order: %s", c.name, a.body)
			}
		}
	}
}

func TestGzip(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write([]byte(draft(idA)))
	must(t, err)
	must(t, w.Close())
	var receipt bloodbank.Receipt
	b.into(b.do("POST", "/events", packed.String(), "Content-Encoding", "gzip"), 202, &receipt)
	if receipt.EventID.String() != idA {
		t.Errorf("%+v", receipt)
	}
}

func TestStampsAndParents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, c := range []struct {
		path, body, header string
		parents            string
	}{
		{"/events", draft(""), "", ""},
		{"/events", draft(""), idA + ", " + idB, idA + " " + idB},
		{"/events", draft("", idC), idA, idC}, // its own win
		{"/events/" + promptType + "?parent=" + idA + "&parent=" + idB, prompt, idC, idA + " " + idB},
		{"/events/" + promptType, prompt, idC, idC},
	} {
		sep := "?"
		if strings.Contains(c.path, "?") {
			sep = "&"
		}
		var receipt bloodbank.Receipt
		b.into(b.do("POST", c.path+sep+"wait=stored", c.body, "Bb-Parents", c.header), 200, &receipt)
		e, err := b.store.Get(t.Context(), receipt.EventID)
		must(t, err)
		parents := make([]string, 0, 2)
		for _, id := range e.Envelope.CorrelationIDs {
			parents = append(parents, id.String())
		}
		if got := strings.Join(parents, " "); got != c.parents {
			t.Errorf("%s %s: parents %q, want %q", c.path, c.header, got, c.parents)
		}
		if s := e.Envelope.Source; s.App != "http" || s.Host != "testhost" || s.Type != bloodbank.SourceManual {
			t.Errorf("source %+v", s)
		}
		if !bytes.Contains(e.Raw, []byte(`"payload":`+prompt)) {
			t.Errorf("the payload was changed: %s", e.Raw)
		}
	}
}

func TestPayloadKeepsItsIDAndBytes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	payload := `{"z":12345678901234567890,"a":1.50,"b":"<&>\u00e9"}`
	var receipt bloodbank.Receipt
	b.into(b.do("POST", "/events/my.own.type?wait=stored&permissive=true&event_id="+idA, payload), 200, &receipt)
	a := b.do("GET", "/events/"+idA, "")
	if a.StatusCode != 200 || !bytes.Contains(a.body, []byte(payload)) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// TestAllOrNothing: a bad event refuses the whole array and says which it was.
func TestAllOrNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, bad := range map[string]string{
		"malformed": `{"event_type":`, "wrong payload": `{"event_type":"` + promptType + `","payload":{}}`,
		"unknown type": `{"event_type":"my.own","payload":{}}`, "self parent": draft(idC, idC),
	} {
		a := b.do("POST", "/events", "["+draft("")+","+bad+","+draft("")+"]")
		var failure struct {
			Error bloodbank.Error `json:"error"`
		}
		if a.StatusCode < 400 || a.StatusCode >= 500 || json.Unmarshal(a.body, &failure) != nil {
			t.Fatalf("%s: %d %s", name, a.StatusCode, a.body)
		}
		if name != "malformed" && (len(failure.Error.Details) == 0 || !strings.HasPrefix(failure.Error.Details[0].Pointer, "/1")) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	if last := b.log.Last(); last != 0 {
		t.Errorf("%d events were accepted", last)
	}
}

func TestOnlyOneEventOfSameID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var receipts []bloodbank.Receipt
	b.into(b.do("POST", "/events?wait=stored", "["+draft(idA)+","+draft(idB)+","+draft(idA)+"]"), 200, &receipts)
	if len(receipts) != 3 || receipts[0].Duplicate || receipts[1].Duplicate || !receipts[2].Duplicate || receipts[2].Sequence != receipts[0].Sequence {
		t.Errorf("%+v", receipts)
	}
	if b.log.Last() != 2 {
		t.Errorf("%d records", b.log.Last())
	}
}

func TestNothingWaits(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *httpapi.Options) {
		o.Gateway = gateway.New(gateway.Options{Log: nil, Schemas: o.Schemas})
	})
	if a := b.do("POST", "/events?wait=bus", draft("")); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}
