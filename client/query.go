package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/33god/bloodbank"
)

// EventsRequest asks for a page of events.
type EventsRequest struct {
	// Query is a filter; "" wants all.
	Query string
	// Limit is 1 to 1000; 0 means 100.
	Limit int
	// Cursor continues behind an earlier page ([Page.Next]).
	Cursor string
	// Order is "desc" (newest first, the default) or "asc".
	Order string
}

// Page is a page of events, each in its exact stored bytes.
type Page struct {
	Events []json.RawMessage `json:"events"`
	// Next is the cursor of the next page, "" when there is none.
	Next string `json:"next"`
}

// Events finds events.
func (c *Client) Events(ctx context.Context, r EventsRequest) (Page, error) {
	query := url.Values{}
	set(query, "q", r.Query)
	set(query, "cursor", r.Cursor)
	set(query, "order", r.Order)
	if r.Limit != 0 {
		query.Set("limit", strconv.Itoa(r.Limit))
	}
	var page Page
	err := c.doJSON(ctx, call{method: http.MethodGet, path: "/events", query: query}, &page)
	return page, err
}

func set(query url.Values, name, value string) {
	if value != "" {
		query.Set(name, value)
	}
}

// Event returns the exact bytes of an event, or an error with CodeNotFound.
func (c *Client) Event(ctx context.Context, id bloodbank.EventID) ([]byte, error) {
	return c.do(ctx, call{method: http.MethodGet, path: "/events/" + id.String()})
}

// Correlation is what caused an event and what it caused.
type Correlation struct {
	EventID   bloodbank.EventID   `json:"event_id"`
	Parents   []bloodbank.EventID `json:"parents"`
	Children  []bloodbank.EventID `json:"children"`
	Ancestors []bloodbank.EventID `json:"ancestors"`
	// Ancestors and Descendants hold the event itself, unless it has no links in
	// that direction; then they are empty. Causes stand before effects.
	Descendants []bloodbank.EventID `json:"descendants"`
	Truncated   bool                `json:"truncated"`
}

// Correlation asks for an event's links; an event that is neither stored nor
// named by any other is an error with CodeNotFound.
func (c *Client) Correlation(ctx context.Context, id bloodbank.EventID) (Correlation, error) {
	var answer Correlation
	err := c.doJSON(ctx, call{method: http.MethodGet, path: "/debug/correlation/" + id.String()}, &answer)
	return answer, err
}

// Chain is everything on one side of an event.
type Chain struct {
	EventID bloodbank.EventID `json:"event_id"`
	// Direction is "ancestors" or "descendants".
	Direction string              `json:"direction"`
	Chain     []bloodbank.EventID `json:"chain"`
	// Truncated says that the walk was cut; Cyclic that producers made a cycle.
	Truncated bool `json:"truncated"`
	Cyclic    bool `json:"cyclic"`
	// Nodes holds the event and everything reached, causes before effects.
	Nodes []Node `json:"nodes"`
}

// Node is one event of a chain.
type Node struct {
	ID      bloodbank.EventID   `json:"event_id"`
	Parents []bloodbank.EventID `json:"correlation_ids"`
	// Depth is the length of the shortest way from the start.
	Depth int `json:"depth"`
	// Known is false for a parent that was never stored; the rest is empty then.
	Known     bool                `json:"known"`
	Type      bloodbank.EventType `json:"event_type"`
	Timestamp time.Time           `json:"timestamp"`
	App       string              `json:"app"`
}

// Chain walks from an event in a direction. maxDepth is the number of levels,
// the start included; 0 means 100.
func (c *Client) Chain(ctx context.Context, id bloodbank.EventID, direction string, maxDepth int) (Chain, error) {
	query := url.Values{"direction": {direction}}
	if maxDepth != 0 {
		query.Set("max_depth", strconv.Itoa(maxDepth))
	}
	var chain Chain
	err := c.doJSON(ctx, call{method: http.MethodGet, path: "/debug/correlation/" + id.String() + "/chain", query: query}, &chain)
	return chain, err
}
