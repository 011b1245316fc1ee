package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/33god/bloodbank"
)

// ReplayRequest says which stored events to send once more: IDs (up to 1000), or
// what Query finds, in the filter language.
type ReplayRequest struct {
	IDs   []bloodbank.EventID
	Query string
	// Tree takes all descendants along.
	Tree bool
	// Target is bus or sandbox; "" is bus.
	Target string
	// SameIDs sends the exact stored bytes. Only to a sandbox.
	SameIDs bool
	// Limit is how many events there may be, 1 to 5000; 0 means 5000.
	Limit int
}

// ReplayPlan is what a replay would send, oldest first, causes before effects.
type ReplayPlan struct {
	Target string `json:"target"`
	Count  int    `json:"count"`
	// Truncated says that more events were chosen than the limit allows; the oldest
	// are taken.
	Truncated bool `json:"truncated"`
	Types     []struct {
		Type  bloodbank.EventType `json:"type"`
		Count int                 `json:"count"`
	} `json:"types"`
	// First and Last are the times of the oldest and the newest original.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Seconds is how long sending takes, roughly.
	Seconds float64 `json:"seconds"`
	// Sandbox says what a consumer must bind to.
	Sandbox string `json:"sandbox,omitempty"`
	// Events are the first hundred.
	Events []struct {
		ID        bloodbank.EventID   `json:"event_id"`
		Type      bloodbank.EventType `json:"event_type"`
		Timestamp time.Time           `json:"timestamp"`
		// Within are its parents that are replayed as well.
		Within []bloodbank.EventID `json:"parents_within,omitempty"`
	} `json:"events"`
}

// ReplayRunning is the state of a job under way; the others are done and stopped.
const ReplayRunning = "running"

// ReplayJob is a replay under way, or one that ended.
type ReplayJob struct {
	ID        string    `json:"id"`
	State     string    `json:"state"`
	Target    string    `json:"target"`
	Count     int       `json:"count"`
	Sent      int       `json:"sent"`
	Failed    int       `json:"failed"`
	Truncated bool      `json:"truncated"`
	Started   time.Time `json:"started"`
	Ended     time.Time `json:"ended,omitzero"`
	// Failures are the first hundred.
	Failures []struct {
		ID    bloodbank.EventID `json:"event_id"`
		Error *bloodbank.Error  `json:"error"`
	} `json:"failures"`
	// Error is why it stopped.
	Error string `json:"error,omitempty"`
}

// PlanReplay says what a replay would send, and sends nothing.
func (c *Client) PlanReplay(ctx context.Context, r ReplayRequest) (plan ReplayPlan, err error) {
	err = c.replay(ctx, r, true, &plan)
	return plan, err
}

// StartReplay begins to send. The job goes on in the server; one runs at a time,
// else the error has CodeConflict.
func (c *Client) StartReplay(ctx context.Context, r ReplayRequest) (job ReplayJob, err error) {
	err = c.replay(ctx, r, false, &job)
	return job, err
}

// ReplayJob returns a job, or an error with CodeNotFound: the server remembers the
// last twenty since its start.
func (c *Client) ReplayJob(ctx context.Context, id string) (job ReplayJob, err error) {
	err = c.doJSON(ctx, call{method: http.MethodGet, path: "/replay/" + url.PathEscape(id)}, &job)
	return job, err
}

func (c *Client) replay(ctx context.Context, r ReplayRequest, dry bool, answer any) error {
	body, err := json.Marshal(struct {
		IDs    []bloodbank.EventID `json:"ids,omitempty"`
		Q      string              `json:"q,omitempty"`
		Tree   bool                `json:"tree"`
		Target string              `json:"target,omitempty"`
		NewIDs bool                `json:"new_ids"`
		Limit  int                 `json:"limit,omitempty"`
		DryRun bool                `json:"dry_run"`
	}{r.IDs, r.Query, r.Tree, r.Target, !r.SameIDs, r.Limit, dry})
	if err != nil {
		return bloodbank.Errorf(bloodbank.CodeInternal, "cannot write the request: %w", err)
	}
	return c.doJSON(ctx, call{method: http.MethodPost, path: "/replay", body: body, mediaType: "application/json"}, answer)
}
