package store

import (
	"context"

	"github.com/33god/bloodbank"
)

// MaxChildren is how far [Outliner] counts the children of an event.
const MaxChildren = 10_000

// MaxOutline is the largest wire form in bytes that comes with an [Outline].
const MaxOutline = 64 << 10

// Outline is what a graph shows of an event beside its place in it.
type Outline struct {
	ID bloodbank.EventID
	// Agent is the agent's name, or its type where it has none, or "".
	Agent   string
	Session string
	// Children is how many events name this one as a parent, up to MaxChildren.
	Children int
	// Raw is the exact wire form, nil for one larger than MaxOutline.
	Raw []byte
}

// Outliner is what a store offers beyond [Store] to draw graphs.
type Outliner interface {
	// Outlines returns those of ids that are stored, each once, in any order. Its
	// cost grows with the ids alone.
	Outlines(ctx context.Context, ids []bloodbank.EventID) ([]Outline, error)
}
