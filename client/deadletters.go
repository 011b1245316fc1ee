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

// DeadLetter is an event that a target will not take, with the reason.
type DeadLetter struct {
	Number    uint64              `json:"number"`
	EventID   bloodbank.EventID   `json:"event_id"`
	EventType bloodbank.EventType `json:"event_type"`
	// Target is who would not take it; "bus" is the main bus.
	Target string `json:"target"`
	// Key is the event's ordering key; "" for none.
	Key string `json:"key,omitempty"`
	// Sequence is the event's place in the write-ahead log.
	Sequence uint64    `json:"sequence"`
	Reason   string    `json:"reason"`
	Attempts int       `json:"attempts"`
	At       time.Time `json:"at"`
	// ConfirmedAt is when its target took it after all; it is closed a little later,
	// when the target can no longer lose it. Zero before.
	ConfirmedAt time.Time `json:"confirmed_at,omitzero"`
	// Event is the wire form; Raw holds it instead where it is not JSON. Both
	// are empty in lists.
	Event json.RawMessage `json:"event,omitempty"`
	Raw   []byte          `json:"raw,omitempty"`
}

// DeadLetterFilter chooses dead letters. All that is set must hold; the zero one
// chooses all.
type DeadLetterFilter struct {
	// Type is a type or a glob of types, Reason a part of the reason in any case.
	Type   string `json:"type,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Target is a target's name; "bus" for the main bus.
	Target string `json:"target,omitempty"`
	// Since and Until bound when it became a dead letter: from Since on, before
	// Until.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// DeadLettersRequest asks for dead letters.
type DeadLettersRequest struct {
	Filter DeadLetterFilter
	// After begins behind this number.
	After uint64
	// Limit is 1 to 1000; 0 means 100.
	Limit int
}

// LettersRequest says which dead letters to send again or to discard: those of
// Numbers (up to 1000), or where that is nil those that Filter chooses.
type LettersRequest struct {
	Numbers []uint64
	Filter  DeadLetterFilter
	// Limit is how many are worked off at the most, 1 to 1000; 0 means 1000.
	Limit int
	// DryRun only says which would be.
	DryRun bool
	// After is the Next of an earlier answer to the same filter. Only to send them
	// again.
	After string
	// Reason is why they are discarded, in up to 1000 bytes. Only to discard them.
	Reason string
}

// Outcome is what became of one dead letter. In a dry run OK is false without an
// error.
type Outcome struct {
	Number    uint64              `json:"number"`
	EventID   bloodbank.EventID   `json:"event_id,omitzero"`
	EventType bloodbank.EventType `json:"event_type,omitempty"`
	Target    string              `json:"target,omitempty"`
	Sequence  uint64              `json:"sequence,omitempty"`
	OK        bool                `json:"ok"`
	Error     *bloodbank.Error    `json:"error,omitempty"`
}

// Outcomes is what became of many.
type Outcomes struct {
	Results []Outcome `json:"results"`
	DryRun  bool      `json:"dry_run"`
	// Matched is how many were chosen, Done how many are OK, Failed how many have
	// an error, and Left how many were not tried.
	Matched int `json:"matched"`
	Done    int `json:"done"`
	Failed  int `json:"failed"`
	Left    int `json:"left"`
	// Next goes on behind these; "" when nothing is left to try.
	Next string `json:"next"`
	// Stopped is why it ended early: the bus takes nothing, for example.
	Stopped *bloodbank.Error `json:"stopped"`
}

// DeadLetters lists open dead letters, oldest first.
func (c *Client) DeadLetters(ctx context.Context, r DeadLettersRequest) ([]DeadLetter, error) {
	query := url.Values{}
	set(query, "type", r.Filter.Type)
	set(query, "reason", r.Filter.Reason)
	set(query, "target", r.Filter.Target)
	for name, at := range map[string]time.Time{"since": r.Filter.Since, "until": r.Filter.Until} {
		if !at.IsZero() {
			query.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
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

// Redrive sends a dead letter again and waits for its target to take it.
func (c *Client) Redrive(ctx context.Context, number uint64) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/dlq/" + strconv.FormatUint(number, 10) + "/redrive"})
	return err
}

// RedriveMany sends dead letters again: those of one key one behind the other in
// the order of the log, as far as the server gets in half a minute. Where the
// answer has a Next and is not Stopped, ask again with it.
func (c *Client) RedriveMany(ctx context.Context, r LettersRequest) (Outcomes, error) {
	return c.letters(ctx, "/dlq/redrive", r)
}

// Discard closes dead letters for good. Their target never gets them.
func (c *Client) Discard(ctx context.Context, r LettersRequest) (Outcomes, error) {
	return c.letters(ctx, "/dlq/discard", r)
}

func (c *Client) letters(ctx context.Context, path string, r LettersRequest) (Outcomes, error) {
	request := struct {
		Numbers []uint64          `json:"numbers,omitempty"`
		Filter  *DeadLetterFilter `json:"filter,omitempty"`
		Limit   int               `json:"limit,omitempty"`
		DryRun  bool              `json:"dry_run,omitempty"`
		After   string            `json:"after,omitempty"`
		Reason  string            `json:"reason,omitempty"`
	}{r.Numbers, nil, r.Limit, r.DryRun, r.After, r.Reason}
	if r.Numbers == nil {
		request.Filter = &r.Filter
	}
	body, err := json.Marshal(request)
	if err != nil {
		return Outcomes{}, bloodbank.Errorf(bloodbank.CodeInternal, "cannot write the request: %w", err)
	}
	var answer Outcomes
	err = c.doJSON(ctx, call{method: http.MethodPost, path: path, body: body, mediaType: "application/json"}, &answer)
	return answer, err
}
