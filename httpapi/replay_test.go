package httpapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
	"github.com/33god/bloodbank/gateway"
	"github.com/33god/bloodbank/httpapi"
	"github.com/33god/bloodbank/replay"
)

// withReplayer gives the server a replayer over its own parts.
func withReplayer(t *testing.T) func(*httpapi.Options) {
	return func(o *httpapi.Options) {
		p := replay.New(t.Context(), replay.Options{Store: o.Store, Tracker: o.Tracker, Gateway: o.Gateway.(*gateway.Gateway)})
		t.Cleanup(p.Close)
		o.Replayer = p
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	json := []string{"Content-Type", "application/json"}
	b := setup(t, withReplayer(t))
	first := b.publish(`{"event_type":"llm.prompt","payload":` + prompt + `}`).EventID
	second := b.publish(`{"event_type":"llm.prompt","payload":` + prompt + `,"correlation_ids":["` + first.String() + `"]}`).EventID
	var plan struct {
		DryRun bool `json:"dry_run"`
		Count  int
		Target string
		Types  []struct {
			Type  string
			Count int
		}
		Events []struct {
			ID     bloodbank.EventID   `json:"event_id"`
			Within []bloodbank.EventID `json:"parents_within"`
		}
	}
	body := fmt.Sprintf(`{"ids":[%q],"tree":true}`, first)
	b.into(b.do("POST", "/replay", body, json...), 200, &plan)
	if !plan.DryRun || plan.Count != 2 || plan.Target != "bus" || plan.Types[0].Type != "llm.prompt" || plan.Events[1].ID != second || plan.Events[1].Within[0] != first {
		t.Fatalf("%+v", plan)
	}
	if last := b.log.Last(); last != 2 {
		t.Fatalf("a plan has written: the log is at %d", last)
	}

	var job replay.Job
	a := b.do("POST", "/replay", strings.TrimSuffix(body, "}")+`,"dry_run":false}`, json...)
	b.into(a, 202, &job)
	for job.State == replay.Running {
		b.into(b.do("GET", a.Header.Get("Location"), ""), 200, &job)
	}
	if job.State != replay.Done || job.Sent != 2 || job.Failed != 0 {
		t.Fatalf("%+v", job)
	}
	must(t, b.flow.Confirmed(t.Context(), 4))
	var page struct {
		Events []struct {
			ReplayOf bloodbank.EventID `json:"replay_of"`
		}
	}
	b.into(b.do("GET", "/events?q=is:replayed&order=asc", ""), 200, &page)
	if len(page.Events) != 2 || page.Events[0].ReplayOf != first || page.Events[1].ReplayOf != second {
		t.Fatalf("%+v", page)
	}
}

func TestReplayRefuses(t *testing.T) {
	t.Parallel()
	json := []string{"Content-Type", "application/json"}
	b := setup(t, withReplayer(t))
	for body, want := range map[string]string{
		`{}`:                                   "by ids or by a filter",
		`{"q":"type:llm.*","tre":true}`:        "tre",
		`{"q":"type:"}`:                        "type",
		`{"q":"app:x","target":"sandbox"}`:     "no sandbox",
		`{"q":"app:x","new_ids":false}`:        "sandbox only",
		`{"ids":["nonsense"]}`:                 "ids",
		`{"q":"app:x","limit":5001}`:           "1 to 5000",
		`{"q":"app:x","ids":[],"dry_run":"no"`: "dry_run",
	} {
		if a := b.do("POST", "/replay", body, json...); a.StatusCode < 400 || a.StatusCode >= 500 || !strings.Contains(string(a.body), want) {
			t.Errorf("%s: %d %s, want %q", body, a.StatusCode, a.body, want)
		}
	}
	if a := b.do("GET", "/replay/unheard-of", ""); a.StatusCode != 404 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := setup(t).do("POST", "/replay", `{"q":"app:x"}`, json...); a.StatusCode != 503 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestClientReplays(t *testing.T) {
	t.Parallel()
	b := setup(t, withReplayer(t))
	c := b.client()
	id := b.publish(`{"event_type":"llm.prompt","payload":` + prompt + `}`).EventID
	plan, err := c.PlanReplay(t.Context(), client.ReplayRequest{Query: "type:llm.*"})
	if err != nil || plan.Count != 1 || plan.Events[0].ID != id || plan.Types[0].Type != "llm.prompt" {
		t.Fatalf("%+v, %v", plan, err)
	}
	job, err := c.StartReplay(t.Context(), client.ReplayRequest{IDs: []bloodbank.EventID{id}, Tree: true, Limit: 7})
	for err == nil && job.State == client.ReplayRunning {
		job, err = c.ReplayJob(t.Context(), job.ID)
	}
	if err != nil || job.State != "done" || job.Sent != 1 {
		t.Fatalf("%+v, %v", job, err)
	}
	if _, err := c.PlanReplay(t.Context(), client.ReplayRequest{Query: "app:x", Target: "sandbox", SameIDs: true}); bloodbank.CodeOf(err) != bloodbank.CodeUnsupported {
		t.Fatal(err)
	}
	if _, err := c.ReplayJob(t.Context(), "unheard/of"); bloodbank.CodeOf(err) != bloodbank.CodeNotFound {
		t.Fatal(err)
	}
}
