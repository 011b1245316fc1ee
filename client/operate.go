package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"

	"github.com/33god/bloodbank"
)

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
