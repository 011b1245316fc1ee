package httpapi_test

import (
	"context"
	"errors"
	"testing"

	"github.com/33god/bloodbank/httpapi"
	"github.com/33god/bloodbank/store"
)

// A client of the original with another base address and nothing else.
func TestCandystoreDoor(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *httpapi.Options) { o.Database = "sqlite" })
	b.publish(voiceBody)
	var page struct {
		Events []map[string]any `json:"events"`
		Total  *int             `json:"total"`
		Limit  *int             `json:"limit"`
		Offset *int             `json:"offset"`
		More   *bool            `json:"has_more"`
	}
	b.into(b.do("GET", "/candystore/events", ""), 200, &page)
	if len(page.Events) != 1 || page.Events[0]["id"] != idA || page.Total == nil || *page.Total != 1 || page.Limit == nil || *page.Limit != 100 ||
		page.Offset == nil || *page.Offset != 0 || page.More == nil || *page.More {
		t.Fatalf("%+v", page)
	}
	if a := b.do("GET", "/candystore/events?limit=0", ""); a.StatusCode != 422 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	var event map[string]any
	b.into(b.do("GET", "/candystore/events/"+idA, ""), 200, &event)
	if len(event) != len(page.Events[0]) || event["id"] != idA || event["routing_key"] != "transcription.voice.completed" || event["target"] != "tonny" {
		t.Errorf("%v", event)
	}
	for _, id := range []string{idB, "no-uuid"} {
		var f struct{ Detail string }
		b.into(b.do("GET", "/candystore/events/"+id, ""), 404, &f)
		if f.Detail != "Event "+id+" not found" {
			t.Errorf("%q", f.Detail)
		}
	}
	for _, path := range []string{"/health", "/candystore/health"} {
		var health map[string]any
		b.into(b.do("GET", path, ""), 200, &health)
		if len(health) != 3 || health["status"] != "healthy" || health["version"] != "1.2.3" || health["database"] != "sqlite" {
			t.Errorf("%s: %v", path, health)
		}
	}
}

// sick is a store that cannot be used.
type sick struct{ store.Store }

func (sick) Check(context.Context) error { return errors.New("the disk is gone") }

// A prober needs no token, and learns no reason.
func TestCandystoreHealthOfASickStore(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *httpapi.Options) {
		o.Store, o.Tokens = sick{o.Store}, []string{"0123456789abcdef"}
	})
	a := b.do("GET", "/health", "")
	if a.StatusCode != 503 || string(a.body) != `{"status":"unhealthy","version":"1.2.3","database":""}`+"\n" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := b.do("GET", "/candystore/events", ""); a.StatusCode != 401 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}
