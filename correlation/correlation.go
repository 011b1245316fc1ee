// Package correlation is the contract of causality: which events caused an
// event, and what it caused. The stores implement [Tracker]; correlationtest is
// the suite.
//
// It knows no bus and no payload. An event may name several parents, and
// parents that nobody has seen yet.
package correlation

import (
	"context"
	"time"

	"github.com/33god/bloodbank"
)

// Direction says which way a chain is walked.
type Direction string

// The two directions.
const (
	Ancestors   Direction = "ancestors"
	Descendants Direction = "descendants"
)

// ParseDirection reads a direction.
func ParseDirection(s string) (Direction, error) {
	switch d := Direction(s); d {
	case Ancestors, Descendants:
		return d, nil
	}
	return "", bloodbank.Errorf(bloodbank.CodeInvalid, "Invalid direction: %s. Must be 'ancestors' or 'descendants'", s)
}

// Limits of a walk.
const (
	DefaultMaxDepth = 100
	DefaultMaxNodes = 10_000
)

// Limits bounds a walk. Zero values mean the defaults above.
type Limits struct {
	// MaxDepth is how many levels are walked, the start included.
	MaxDepth int
	// MaxNodes is how many events are returned at the most.
	MaxNodes int
}

// WithDefaults fills in what is zero.
func (l Limits) WithDefaults() Limits {
	if l.MaxDepth <= 0 {
		l.MaxDepth = DefaultMaxDepth
	}
	if l.MaxNodes <= 0 {
		l.MaxNodes = DefaultMaxNodes
	}
	return l
}

// Node is one event of a chain.
type Node struct {
	ID bloodbank.EventID `json:"event_id"`
	// Parents are the ids that the event names, in its order. Empty for an
	// event that is not known.
	Parents []bloodbank.EventID `json:"correlation_ids"`
	// Depth is the length of the shortest way from the start, which has 0.
	Depth int `json:"depth"`
	// Known is false for a parent that is named but was never stored.
	Known bool `json:"known"`
	// Type, Timestamp and App are empty where Known is false.
	Type      bloodbank.EventType `json:"event_type,omitempty"`
	Timestamp time.Time           `json:"timestamp,omitzero"`
	App       string              `json:"app,omitempty"`
}

// Chain is the answer to a walk.
type Chain struct {
	Start     bloodbank.EventID `json:"event_id"`
	Direction Direction         `json:"direction"`
	// Nodes holds the start and everything reached, each once, in topological
	// order: causes before effects in both directions; ties by timestamp, then
	// id. Where producers made a cycle the order within it is by depth, and
	// Cyclic is true.
	Nodes []Node `json:"nodes"`
	// Truncated says that MaxDepth or MaxNodes cut the walk.
	Truncated bool `json:"truncated"`
	Cyclic    bool `json:"cyclic,omitempty"`
	// Lost says that the tracker is a copy which knows that it has lost links.
	Lost bool `json:"-"`
}

// Tracker answers questions of cause. All methods are safe for concurrent use.
type Tracker interface {
	// Parents returns the parents that id names, in its order. An event that is
	// not known is an error with CodeNotFound.
	Parents(ctx context.Context, id bloodbank.EventID) ([]bloodbank.EventID, error)
	// Children returns the events that name id as a parent, oldest first. An id
	// that is neither stored nor named by anyone is CodeNotFound.
	Children(ctx context.Context, id bloodbank.EventID) ([]bloodbank.EventID, error)
	// Chain walks from id. It ends on cycles, in any case within the limits. An
	// id that is neither stored nor named by anyone is CodeNotFound.
	Chain(ctx context.Context, id bloodbank.EventID, d Direction, l Limits) (Chain, error)
}
