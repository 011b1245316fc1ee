// Package store is the contract of Candystore: where delivered events are kept
// and found again. Its subfolders are the databases; storetest is the suite
// that each of them passes. The filter language lives here as well ([Filter]),
// so that the command line, the API and the live stream share one.
//
// It knows no bus and no log. A store can be rebuilt by replaying the bus.
package store

import (
	"context"
	"time"

	"github.com/33god/bloodbank"
)

// Event is a stored event.
type Event struct {
	// Sequence is the store's own number, from 1, in the order of commits, never
	// used twice. Readers follow the store by it.
	Sequence int64
	StoredAt time.Time
	// Envelope is the event; Raw is its exact wire form, byte for byte.
	Envelope bloodbank.Envelope
	Raw      []byte
}

// Rejected is a message from the bus that is no event: kept with its reason, so
// that nothing is lost and nothing blocks the queue.
type Rejected struct {
	Raw    []byte
	Reason string
}

// Batch is what one transaction writes.
type Batch struct {
	// Raws are wire forms with their decoded envelopes.
	Events   []Incoming
	Rejected []Rejected
}

// Incoming is an event to be stored.
type Incoming struct {
	Envelope bloodbank.Envelope
	Raw      []byte
}

// Appended is the outcome of a batch.
type Appended struct {
	// Duplicates counts events whose id was there already; the first one stays.
	Duplicates int
	// Last is the sequence of the newest event now in the store.
	Last int64
}

// Order says which end of the store a query begins with.
type Order string

// The orders.
const (
	NewestFirst Order = "desc"
	OldestFirst Order = "asc"
)

// Limits of a page.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// Limits of counting, see [Counter].
const (
	// MaxCount is how far a store counts what it can decide by its indexes.
	MaxCount = 1_000_000
	// MaxCountRead is how many events it reads to count the rest: phrases, and
	// members of the payload.
	MaxCountRead = 10_000
)

// Counter is what a store offers beyond [Store] to say how many events there
// are.
type Counter interface {
	// Count returns how many events the filter finds. Its cost is bounded: it
	// counts to MaxCount, and where events must be read it looks at the newest
	// MaxCountRead candidates. So a result from MaxCount on, or one for a filter
	// on text or payload in a large store, is a lower bound.
	Count(ctx context.Context, f Filter) (int64, error)
}

// Query asks for a page of events.
type Query struct {
	Filter Filter
	// Limit is 1..MaxLimit; 0 means DefaultLimit.
	Limit int
	// Cursor continues behind an earlier page ([Page.Next]); "" starts. A cursor
	// is opaque, belongs to its filter and order, and stays valid while events
	// are added: no event is seen twice or skipped.
	Cursor string
	// Order is NewestFirst when empty. Events are ordered by their timestamp,
	// then by sequence.
	Order Order
}

// Page is the answer to a query.
type Page struct {
	Events []Event
	// Next is "" when there is no more.
	Next string
}

// Store keeps events. All methods are safe for concurrent use.
type Store interface {
	// Append writes the batch in one transaction: events, their parents and
	// their search text, or nothing. It is idempotent by event id. When it
	// returns nil the batch survives a crash of the process and of the machine.
	Append(ctx context.Context, b Batch) (Appended, error)
	// Get returns one event, or an error with CodeNotFound.
	Get(ctx context.Context, id bloodbank.EventID) (Event, error)
	// Query returns a page.
	Query(ctx context.Context, q Query) (Page, error)
	// After returns up to limit events with a sequence above seq, in that order.
	After(ctx context.Context, seq int64, limit int) ([]Event, error)
	// Last is the newest sequence, 0 in an empty store.
	Last(ctx context.Context) (int64, error)
	// Check reports whether the store can be read and written now.
	Check(ctx context.Context) error
}
