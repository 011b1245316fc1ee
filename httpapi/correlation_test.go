package httpapi_test

import (
	"strings"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/httpapi"
)

// TestCorrelation: A caused B, B caused C; an unseen parent counts as named.
func TestCorrelation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.publish(draft(idA))
	b.publish(draft(idB, idA))
	b.publish(draft(idC, idB, idNone))
	const lone = "0198c0de-0000-7000-8000-0000000000ee"
	b.publish(draft(lone))
	for id, want := range map[string]string{
		idB:    `{"event_id":"B","parents":["A"],"children":["C"],"ancestors":["A","B"],"descendants":["B","C"],"metadata":{},"truncated":false}`,
		idA:    `{"event_id":"A","parents":[],"children":["B"],"ancestors":[],"descendants":["A","B","C"],"metadata":null,"truncated":false}`,
		idNone: `{"event_id":"N","parents":[],"children":["C"],"ancestors":[],"descendants":["N","C"],"metadata":null,"truncated":false}`,
		lone:   `{"event_id":"L","parents":[],"children":[],"ancestors":[],"descendants":[],"metadata":null,"truncated":false}`,
	} {
		a := b.do("GET", "/debug/correlation/"+id, "")
		got := strings.NewReplacer(idA, "A", idB, "B", idC, "C", idNone, "N", lone, "L").Replace(strings.TrimSpace(string(a.body)))
		if a.StatusCode != 200 || got != want {
			t.Errorf("%d\n got %s\nwant %s", a.StatusCode, got, want)
		}
	}
}

func TestChain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.publish(draft(idA))
	b.publish(draft(idB, idA))
	b.publish(draft(idC, idB))
	for _, c := range []struct {
		path, chain string
		truncated   bool
	}{
		{idC + "/chain?direction=ancestors", idA + " " + idB + " " + idC, false},
		{idC + "/chain", idA + " " + idB + " " + idC, false},
		{idA + "/chain?direction=descendants", idA + " " + idB + " " + idC, false},
		{idA + "/chain?direction=ancestors", "", false},
		{idC + "/chain?direction=ancestors&max_depth=2", idB + " " + idC, true},
	} {
		var answer struct {
			EventID   string   `json:"event_id"`
			Direction string   `json:"direction"`
			Chain     []string `json:"chain"`
			Count     int      `json:"count"`
			Truncated bool     `json:"truncated"`
			Nodes     []struct {
				ID   string              `json:"event_id"`
				Type bloodbank.EventType `json:"event_type"`
			} `json:"nodes"`
		}
		b.into(b.do("GET", "/debug/correlation/"+c.path, ""), 200, &answer)
		if strings.Join(answer.Chain, " ") != c.chain || answer.Count != len(answer.Chain) || answer.Truncated != c.truncated || answer.Direction == "" {
			t.Errorf("%s: %+v", c.path, answer)
		}
		if len(answer.Nodes) < 1 || answer.Nodes[0].Type != promptType || answer.EventID != c.path[:36] {
			t.Errorf("%s: %+v", c.path, answer)
		}
	}
}

func TestNoTracker(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *httpapi.Options) { o.Tracker = nil })
	b.publish(draft(idA, idB))
	for _, path := range []string{idA, idA + "/chain?direction=ancestors"} {
		checkFailure(t, path, b.do("GET", "/debug/correlation/"+path, ""), 503, bloodbank.CodeUnavailable,
			"Correlation tracking is not enabled. Initialize Publisher with enable_correlation_tracking=True")
	}
	var cloud map[string]any // the first parent stands for the root
	b.into(b.do("GET", "/events/"+idA, "", "Accept", "application/cloudevents+json"), 200, &cloud)
	if cloud["correlationid"] != idB {
		t.Errorf("%v", cloud)
	}
}
