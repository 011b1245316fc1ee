package client

import (
	"context"
	"net/http"
	"net/url"
)

// Target is who is handed events: the main bus or a route.
type Target struct {
	// Target is its name; "bus" is the main bus.
	Target string `json:"target"`
	// Position is up to where it has everything: the log keeps what is behind.
	Position uint64 `json:"position"`
	// Configured is false for one that holds the log but is served by nobody.
	Configured bool `json:"configured"`
}

// Targets lists who is handed events, by name.
func (c *Client) Targets(ctx context.Context) ([]Target, error) {
	return c.targets(ctx, call{method: http.MethodGet, path: "/targets"})
}

// GiveUpTarget ends the hold of a target that is not configured any more, and
// returns those that are left. What it has not got is not kept for it. A target
// that is served is an error with CodeConflict.
func (c *Client) GiveUpTarget(ctx context.Context, name string) ([]Target, error) {
	return c.targets(ctx, call{method: http.MethodPost, path: "/targets/" + url.PathEscape(name) + "/give-up"})
}

func (c *Client) targets(ctx context.Context, request call) ([]Target, error) {
	var list struct{ Targets []Target }
	err := c.doJSON(ctx, request, &list)
	return list.Targets, err
}
