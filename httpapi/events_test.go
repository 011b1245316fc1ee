package httpapi_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/33god/bloodbank"
)

type page struct {
	Events []json.RawMessage `json:"events"`
	Next   string            `json:"next"`
}

func TestPagesHoldExactBytes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var want []string
	for i := range 5 {
		r := b.publish(`{"event_type":"my.own","timestamp":"2026-01-27T10:00:0` + strconv.Itoa(i) + `Z","payload":{"n":` + strconv.Itoa(i) + `,"big":12345678901234567890 , "html":"<&>"}}`)
		e, err := b.store.Get(t.Context(), r.EventID)
		must(t, err)
		want = append(want, string(e.Raw))
	}
	for _, order := range []string{"asc", "desc"} {
		var got []string
		for path := "/events?limit=2&order=" + order; ; {
			a := b.do("GET", path, "")
			var p page
			b.into(a, 200, &p)
			for _, raw := range p.Events {
				if !bytes.Contains(a.body, raw) {
					t.Errorf("not in the answer as it is: %s", raw)
				}
				got = append(got, string(raw))
			}
			if p.Next == "" {
				break
			}
			path = "/events?limit=2&order=" + order + "&cursor=" + url.QueryEscape(p.Next)
		}
		if order == "desc" {
			slices.Reverse(got)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", order, got, want)
		}
	}
	var p page
	b.into(b.do("GET", "/events?q="+url.QueryEscape("payload.n:>3"), ""), 200, &p)
	if len(p.Events) != 1 || !bytes.Contains(p.Events[0], []byte(`"n":4`)) {
		t.Errorf("%s", p.Events)
	}
	if a := b.do("GET", "/events?q=type:none.such", ""); string(a.body) != `{"events":[],"next":""}`+"\n" {
		t.Errorf("%s", a.body)
	}
}

func TestOneEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.publish(draft(idA))
	b.publish(draft(idB, idA))
	a := b.do("GET", "/events/"+strings.ToUpper(idB), "")
	e, err := b.store.Get(t.Context(), bloodbank.EventID(parseID(t, idB)))
	must(t, err)
	if a.StatusCode != 200 || !bytes.Equal(a.body, e.Raw) || a.Header.Get("Bb-Sequence") != "2" || a.Header.Get("Etag") != `"`+idB+`"` {
		t.Errorf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
	if a := b.do("GET", "/events/"+idB, "", "If-None-Match", `"`+idB+`"`); a.StatusCode != 304 || len(a.body) > 0 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	a = b.do("GET", "/events/"+idB, "", "Accept", "text/html, application/cloudevents+json;q=0.9")
	var cloud map[string]any
	b.into(a, 200, &cloud)
	if a.Header.Get("Content-Type") != "application/cloudevents+json" || cloud["id"] != idB || cloud["correlationid"] != idA || cloud["causationid"] != idA {
		t.Errorf("%s", a.body)
	}
}

func parseID(t *testing.T, s string) bloodbank.EventID {
	t.Helper()
	id, err := bloodbank.ParseEventID(s)
	must(t, err)
	return id
}

const voiceBody = `{"event_id":"` + idA + `","event_type":"transcription.voice.completed","timestamp":"2026-01-27T10:00:00Z",` +
	`"source":{"host":"box","type":"manual","app":"bb","meta":null},"correlation_ids":["` + idC + `"],` +
	`"payload":{"text":"hi","timestamp":"2026-01-27T10:00:00Z","source":"whisperlivekit","session_id":"0198c0de-0000-7000-8000-000000000001","target":"tonny"}}`

func TestCandystore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.publish(voiceBody)
	b.publish(`{"event_id":"` + idB + `","event_type":"my.own","timestamp":"2026-01-27T11:00:00Z","source":{"host":"far","type":"agent","app":null,"meta":null},"payload":{}}`)
	for query, want := range map[string]string{
		"offset=0":         idB + " " + idA, // newest first
		"offset=1":         idA,
		"offset=2":         "",
		"offset=0&limit=1": idB,
		"session_id=0198c0de-0000-7000-8000-000000000001": idA,
		"session_id=none":                    "",
		"event_type=my.own":                  idB,
		"source=bb@box":                      idA,
		"source=bb":                          idA,
		"source=bb@far":                      "",
		"source=@far":                        idB,
		"target=tonny":                       idA,
		"start_time=2026-01-27T10:30:00Z":    idB,
		"start_time=2026-01-27T11:00:00":     idB,
		"end_time=2026-01-27T10:00:00Z":      idA,
		"end_time=2026-01-27T11:30:00+01:00": idA,
		"start_time=2026-01-27T09:00:00Z&end_time=2026-01-27T12:00:00Z":               idB + " " + idA,
		"event_type=transcription.voice.completed&source=bb@box&session_id=&offset=0": idA,
	} {
		var p struct {
			Events []struct {
				ID string `json:"id"`
			} `json:"events"`
			Total  int  `json:"total"`
			Limit  int  `json:"limit"`
			Offset int  `json:"offset"`
			More   bool `json:"has_more"`
		}
		b.into(b.do("GET", "/events?"+query, ""), 200, &p)
		var got []string
		for _, e := range p.Events {
			got = append(got, e.ID)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
		if p.More != (query == "offset=0&limit=1") || strings.HasPrefix(query, "offset") && p.Total != 2 {
			t.Errorf("%s: %+v", query, p)
		}
	}
}

func TestCandystoreEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.publish(voiceBody)
	var p struct {
		Events []map[string]any `json:"events"`
		Limit  int              `json:"limit"`
	}
	b.into(b.do("GET", "/events", "", "Accept", "application/vnd.candystore+json"), 200, &p)
	if len(p.Events) != 1 || p.Limit != 100 {
		t.Fatalf("%+v", p)
	}
	got := p.Events[0]
	for name, want := range map[string]any{
		"id": idA, "event_type": "transcription.voice.completed", "routing_key": "transcription.voice.completed", "source": "bb@box",
		"target": "tonny", "timestamp": "2026-01-27T10:00:00.000000Z", "session_id": "0198c0de-0000-7000-8000-000000000001", "correlation_id": idC,
	} {
		if got[name] != want {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	if payload, ok := got["payload"].(map[string]any); !ok || payload["text"] != "hi" {
		t.Errorf("payload %v", got["payload"])
	}
	if ms, ok := got["storage_latency_ms"].(float64); !ok || ms <= 0 || got["stored_at"] == "" {
		t.Errorf("%v", got)
	}
}

func TestCandystoreRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for query, parameter := range map[string]string{
		"offset=-1": "offset", "offset=x": "offset", "offset=0&limit=1001": "limit", "offset=0&limit=0": "limit",
		"start_time=yesterday": "start_time", "end_time=1": "end_time", "event_type=one": "event_type", "offset=0&q=x": "q",
	} {
		a := b.do("GET", "/events?"+query, "")
		var f struct {
			Error  bloodbank.Error `json:"error"`
			Detail []struct {
				Loc []string
				Msg string
			}
		}
		b.into(a, 422, &f)
		if len(f.Detail) != 1 || !slices.Equal(f.Detail[0].Loc, []string{"query", parameter}) || f.Detail[0].Msg == "" || f.Error.Code != bloodbank.CodeInvalid {
			t.Errorf("%s: %s", query, a.body)
		}
	}
}
