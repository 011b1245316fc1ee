package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/33god/bloodbank"
)

// DeadLetter is an event that the bus will not take, with the reason.
type DeadLetter struct {
	Number    uint64              `json:"number"`
	EventID   bloodbank.EventID   `json:"event_id"`
	EventType bloodbank.EventType `json:"event_type"`
	// Sequence is the event's place in the write-ahead log.
	Sequence uint64    `json:"sequence"`
	Reason   string    `json:"reason"`
	Attempts int       `json:"attempts"`
	At       time.Time `json:"at"`
	// Event is the wire form; Raw holds it instead where it is not JSON. Both
	// are empty in lists.
	Event json.RawMessage `json:"event,omitempty"`
	Raw   []byte          `json:"raw,omitempty"`
}

// DeadLettersRequest asks for dead letters.
type DeadLettersRequest struct {
	// After begins behind this number.
	After uint64
	// Limit is 1 to 1000; 0 means 100.
	Limit int
}

// Redriven is what became of one dead letter that was sent again.
type Redriven struct {
	Number uint64           `json:"number"`
	OK     bool             `json:"ok"`
	Error  *bloodbank.Error `json:"error"`
}

// DeadLetters lists open dead letters, oldest first.
func (c *Client) DeadLetters(ctx context.Context, r DeadLettersRequest) ([]DeadLetter, error) {
	query := url.Values{}
	if r.After > 0 {
		query.Set("after", strconv.FormatUint(r.After, 10))
	}
	if r.Limit != 0 {
		query.Set("limit", strconv.Itoa(r.Limit))
	}
	var page struct {
		DeadLetters []DeadLetter `json:"dead_letters"`
	}
	err := c.doJSON(ctx, call{method: http.MethodGet, path: "/dlq", query: query}, &page)
	return page.DeadLetters, err
}

// DeadLetter returns one with its event, or an error with CodeNotFound.
func (c *Client) DeadLetter(ctx context.Context, number uint64) (DeadLetter, error) {
	var letter DeadLetter
	err := c.doJSON(ctx, call{method: http.MethodGet, path: "/dlq/" + strconv.FormatUint(number, 10)}, &letter)
	return letter, err
}

// Redrive sends a dead letter again and waits for the bus to take it.
func (c *Client) Redrive(ctx context.Context, number uint64) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/dlq/" + strconv.FormatUint(number, 10) + "/redrive"})
	return err
}

// RedriveAll sends dead letters again, up to 1000, and says what became of each.
func (c *Client) RedriveAll(ctx context.Context, numbers ...uint64) ([]Redriven, error) {
	if len(numbers) == 0 {
		return nil, nil
	}
	body, err := json.Marshal(map[string][]uint64{"numbers": numbers})
	if err != nil {
		return nil, bloodbank.Errorf(bloodbank.CodeInternal, "cannot write the request: %w", err)
	}
	var answer struct {
		Results []Redriven `json:"results"`
	}
	err = c.doJSON(ctx, call{method: http.MethodPost, path: "/dlq/redrive", body: body, mediaType: "application/json"}, &answer)
	return answer.Results, err
}

// Status returns the server's state as it sends it: every part with its position
// and lag.
func (c *Client) Status(ctx context.Context) (json.RawMessage, error) {
	var status json.RawMessage
	err := c.doJSON(ctx, call{method: http.MethodGet, path: "/status"}, &status)
	return status, err
}

// Readiness says whether every part works.
type Readiness struct {
	Ready   bool             `json:"ready"`
	Version string           `json:"version"`
	Checks  map[string]Check `json:"checks"`
}

// Check is the state of one part; Error says why it does not work.
type Check struct {
	OK    bool   `json:"ok"`
	Error string `json:"error"`
}

// Ready asks whether every part works. A part that does not is no error of the
// call.
func (c *Client) Ready(ctx context.Context) (Readiness, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var readiness Readiness
	response, err := c.open(ctx, call{method: http.MethodGet, path: "/readyz"})
	if err != nil {
		return readiness, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusServiceUnavailable {
		return readiness, c.errorOf(response)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return readiness, c.unreachable(err)
	}
	err = c.read(data, &readiness)
	if err == nil && readiness.Checks == nil { // some other server that is not available
		err = c.read(nil, &readiness)
	}
	return readiness, err
}

// SchemaInfo describes an event type.
type SchemaInfo struct {
	Type        bloodbank.EventType `json:"type"`
	Domain      string              `json:"domain"`
	Title       string              `json:"title"`
	Description string              `json:"description"`
	// Class is the original's name of the payload's model, or "".
	Class string `json:"class"`
	// Command says that whoever listens is to act on the event.
	Command  bool   `json:"command"`
	SchemaID string `json:"schema_id"`
	// Origin is "embedded" or "file".
	Origin   string `json:"origin"`
	Template string `json:"template"`
}

// Schemas lists the event types of the server.
func (c *Client) Schemas(ctx context.Context) ([]SchemaInfo, error) {
	var answer struct {
		Schemas []SchemaInfo `json:"schemas"`
	}
	err := c.doJSON(ctx, call{method: http.MethodGet, path: "/schemas"}, &answer)
	return answer.Schemas, err
}

// Schema returns the exact schema document of a type, or an error with
// CodeNotFound.
func (c *Client) Schema(ctx context.Context, t bloodbank.EventType) ([]byte, error) {
	return c.do(ctx, call{method: http.MethodGet, path: "/schemas/" + url.PathEscape(string(t))})
}

// Validate checks a payload without publishing it. The error has CodeSchema with
// every fault in its details, or CodeUnknownType.
func (c *Client) Validate(ctx context.Context, t bloodbank.EventType, payload []byte) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/validate/" + url.PathEscape(string(t)), body: payload, mediaType: "application/json"})
	return err
}
