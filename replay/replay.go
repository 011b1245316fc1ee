// Package replay sends stored events once more: as new events over the gateway,
// so that they are durable and checked like all others, or to a sandbox aside,
// which neither consumers nor the recorder see.
//
// Law: what is sent is decided before anything is sent, and is bounded. A replayed
// event has a new id and names the original, in replay_of and as a parent; among
// themselves the new events are related as the originals are. A plan writes
// nothing.
package replay

import (
	"context"
	"log/slog"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/correlation"
	"github.com/33god/bloodbank/gateway"
	"github.com/33god/bloodbank/store"
)

// Limits.
const (
	// MaxEvents is how many events one replay may send.
	MaxEvents = 5000
	// DefaultRate is how many of them go each second.
	DefaultRate = 200
	// maxIDs is how many ids one request may name.
	maxIDs = 1000
	// maxFailures is how many failures a job lists; it counts all.
	maxFailures = 100
	// maxJobs is how many jobs are remembered.
	maxJobs = 20
)

// Target is where replayed events go.
type Target string

// The targets.
const (
	// ToBus makes them events like any other: logged, delivered, stored.
	ToBus Target = "bus"
	// ToSandbox hands them to who binds to the place aside, see [bus.Sandbox].
	ToSandbox Target = "sandbox"
)

// Request says what to replay: IDs, or what Filter finds.
type Request struct {
	IDs    []bloodbank.EventID
	Filter *store.Filter
	// Tree takes all descendants along.
	Tree   bool
	Target Target
	// SameIDs sends the exact stored bytes. Only to a sandbox: the bus and the
	// store would drop an id that they know.
	SameIDs bool
	// Limit is how many events there may be, 1 to MaxEvents; 0 means MaxEvents.
	// Where more are chosen, the oldest are taken, and the plan says so.
	Limit int
}

// Plan is what a replay would send.
type Plan struct {
	Target Target `json:"target"`
	Count  int    `json:"count"`
	// Truncated says that more events were chosen than the limit allows.
	Truncated bool        `json:"truncated"`
	Types     []TypeCount `json:"types"`
	// First and Last are the times of the oldest and the newest original.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
	// Seconds is how long sending them takes, roughly.
	Seconds float64 `json:"seconds"`
	// Aside is what a consumer must bind to, for a sandbox.
	Aside string `json:"sandbox,omitempty"`
	// Events are the first PlanEvents, in the order of sending.
	Events []Planned `json:"events"`

	all []*node
}

// PlanEvents is how many events a plan lists.
const PlanEvents = 100

// TypeCount counts the events of a type.
type TypeCount struct {
	Type  bloodbank.EventType `json:"type"`
	Count int                 `json:"count"`
}

// Planned is an event of a plan.
type Planned struct {
	ID        bloodbank.EventID   `json:"event_id"`
	Type      bloodbank.EventType `json:"event_type"`
	Timestamp time.Time           `json:"timestamp"`
	// Within are its parents that are replayed as well.
	Within []bloodbank.EventID `json:"parents_within,omitempty"`
}

// Store is what is needed of a store.
type Store interface {
	Get(ctx context.Context, id bloodbank.EventID) (store.Event, error)
	Query(ctx context.Context, q store.Query) (store.Page, error)
}

// Gateway is the one way in; [gateway.Gateway] is one.
type Gateway interface {
	Accept(ctx context.Context, r gateway.Request) (bloodbank.Receipt, error)
	Check(r gateway.Request) (bloodbank.Envelope, error)
}

// Options configure a [Replayer]. Store, Tracker and Gateway are required.
type Options struct {
	Store   Store
	Tracker correlation.Tracker
	Gateway Gateway
	// Sandbox is nil where the bus has no such place.
	Sandbox bus.Sandbox
	// Rate is how many events go each second; 0 means DefaultRate.
	Rate   int
	Now    func() time.Time
	Logger *slog.Logger
}

// Plan finds out what r would send, oldest first, causes before effects. An id
// that is not stored is CodeNotFound.
func (p *Replayer) Plan(ctx context.Context, r Request) (Plan, error) {
	if r.Target == "" {
		r.Target = ToBus
	}
	if r.Limit == 0 {
		r.Limit = MaxEvents
	}
	if err := p.check(r); err != nil {
		return Plan{}, err
	}
	c := &collector{Replayer: p, request: r, nodes: map[bloodbank.EventID]*node{}}
	if err := c.collect(ctx); err != nil {
		return Plan{}, err
	}
	all := sorted(c.nodes)
	plan := Plan{Target: r.Target, Count: len(all), Truncated: c.truncated, Types: countTypes(all), Events: []Planned{}, all: all}
	plan.Seconds = float64(len(all)) / float64(p.o.Rate)
	if r.Target == ToSandbox {
		plan.Aside = p.o.Sandbox.Aside()
	}
	for i, n := range all {
		if i == 0 || n.at.Before(plan.First) {
			plan.First = n.at
		}
		if n.at.After(plan.Last) {
			plan.Last = n.at
		}
		if i < PlanEvents {
			plan.Events = append(plan.Events, Planned{ID: n.id, Type: n.kind, Timestamp: n.at, Within: within(n, c.nodes)})
		}
	}
	return plan, nil
}

func (p *Replayer) check(r Request) error {
	switch {
	case r.Target != ToBus && r.Target != ToSandbox:
		return bloodbank.Errorf(bloodbank.CodeInvalid, "target %q is not known; use bus or sandbox", r.Target)
	case (len(r.IDs) == 0) == (r.Filter == nil):
		return bloodbank.Errorf(bloodbank.CodeInvalid, "name events by ids or by a filter (q), one of both")
	case r.Filter != nil && len(r.Filter.Terms) == 0:
		return bloodbank.Errorf(bloodbank.CodeInvalid, "an empty filter would replay the whole store; name what is wanted")
	case len(r.IDs) > maxIDs:
		return bloodbank.Errorf(bloodbank.CodeInvalid, "%d ids are too many; name up to %d, or a filter", len(r.IDs), maxIDs)
	case r.Limit < 0 || r.Limit > MaxEvents:
		return bloodbank.Errorf(bloodbank.CodeInvalid, "limit is %d; use 1 to %d", r.Limit, MaxEvents)
	case r.SameIDs && r.Target != ToSandbox:
		return bloodbank.Errorf(bloodbank.CodeInvalid, "with their old ids events go to a sandbox only: the bus and the store drop an id that they know")
	case r.Target == ToSandbox && p.o.Sandbox == nil:
		return bloodbank.Errorf(bloodbank.CodeUnsupported, "this bus has no sandbox")
	}
	return nil
}
