package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/gateway"
	"github.com/33god/bloodbank/httpapi"
	"github.com/33god/bloodbank/live"
	"github.com/33god/bloodbank/schema"
)

// memoryLog takes records and keeps none.
type memoryLog struct{ check func([]byte) }

func (m memoryLog) Append(_ context.Context, record []byte) (uint64, error) {
	m.check(record)
	return 1, nil
}

func (m memoryLog) AppendBatch(_ context.Context, records [][]byte) (uint64, error) {
	for _, record := range records {
		m.check(record)
	}
	return 1, nil
}

// FuzzPublish: whatever comes, the answer is receipts or an error below 500, and
// what was accepted is an event on one line that reads back.
func FuzzPublish(f *testing.F) {
	schemas, err := schema.Open(f.Context(), schema.Options{})
	must(f, err)
	cloud := `{"specversion":"1.0","id":"1","type":"a.b","source":"/x","data":{}}`
	for _, seed := range []string{
		draft(""), draft(idA, idB), "[" + draft("") + "]", "[" + draft("") + "," + draft(idA) + "]", draft("") + "\n" + draft(""),
		cloud, "[" + cloud + "]", "[", "]", "[]", "[,]", `["\"]`, "{", `"\`, "\xff", "", "[[[[", `[{"a":"]"}]`, "\ufeff{}",
	} {
		for media := range byte(6) {
			f.Add([]byte(seed), media)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, media byte) {
		accepted := 0
		log := memoryLog{func(record []byte) {
			accepted++
			if _, err := bloodbank.DecodeEnvelope(record); err != nil || bytes.ContainsAny(record, "\r\n") {
				t.Errorf("accepted %q: %v", record, err)
			}
		}}
		server := httpapi.New(httpapi.Options{
			Gateway: gateway.New(gateway.Options{Log: log, Schemas: schemas}), Schemas: schemas, Live: live.New(live.Options{}), Insecure: true,
		})
		path := "/events"
		headers := http.Header{}
		switch media % 6 {
		case 1:
			headers.Set("Content-Type", "application/x-ndjson")
		case 2:
			headers.Set("Content-Type", "application/cloudevents+json")
		case 3:
			headers.Set("Content-Type", "application/cloudevents-batch+json")
		case 4:
			path = "/events/my.own"
		case 5:
			headers = http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Type": {"a.b"}, "Ce-Source": {"/x"}}
		}
		r := httptest.NewRequestWithContext(t.Context(), "POST", path+"?permissive=true", bytes.NewReader(body))
		r.Header = headers
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		switch {
		case w.Code == http.StatusAccepted:
			if accepted == 0 || !json.Valid(w.Body.Bytes()) {
				t.Errorf("%d accepted: %s", accepted, w.Body)
			}
		case w.Code >= 500 || w.Code < 400 || !json.Valid(w.Body.Bytes()) || accepted > 0:
			t.Errorf("%d, %d accepted: %s", w.Code, accepted, w.Body)
		}
	})
}
