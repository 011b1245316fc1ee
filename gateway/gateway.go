// Package gateway is the one way in: it stamps, checks and writes an event to
// the write-ahead log, and answers with a receipt. It is the only caller of
// wal.Append.
//
// Law: a [bloodbank.Receipt] is returned only when the event is fsynced in the
// log. A refusal means that nothing was written. It knows no bus and no store:
// their being down never blocks it, and what it asks of them (was this id
// stored? how far has it come?) it asks through interfaces that may be nil.
package gateway

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/wal"
)

// DefaultMaxEvent is the largest wire form of an event in bytes. It is the
// largest message that a NATS server takes by default.
const DefaultMaxEvent = 1 << 20

// DefaultWaitTimeout bounds the wait for an ack level above [bloodbank.AckWAL].
const DefaultWaitTimeout = 10 * time.Second

// Log is the write-ahead log as the gateway needs it.
type Log interface {
	Append(ctx context.Context, record []byte) (uint64, error)
	AppendBatch(ctx context.Context, records [][]byte) (uint64, error)
}

// Schemas checks payloads.
type Schemas interface {
	Validate(t bloodbank.EventType, payload []byte) error
	ValidatePermissive(t bloodbank.EventType, payload []byte) error
}

// Archive says whether an event is stored already. The store implements it.
type Archive interface {
	Has(ctx context.Context, id bloodbank.EventID) (bool, error)
}

// Progress waits for an event on its way. Both return nil once the level is
// reached (at once if it is already, even where ctx is over), ctx's error when
// it ends first, and another error when the level will not be reached because
// the event is a dead letter.
type Progress interface {
	Confirmed(ctx context.Context, sequence uint64) error
	Stored(ctx context.Context, id bloodbank.EventID) error
}

// Options configure a [Gateway]. Log and Schemas are required.
type Options struct {
	Log     Log
	Schemas Schemas
	// Archive recognises duplicates that have left the log; nil or an error
	// from it means "not stored".
	Archive Archive
	// Progress serves the levels bus and stored; nil refuses them.
	Progress Progress
	// Permissive accepts types without a schema from everybody.
	Permissive bool
	// MaxEvent is the limit of a wire form in bytes; 0 means [DefaultMaxEvent].
	MaxEvent int
	// WaitTimeout bounds waiting for a level; 0 means [DefaultWaitTimeout].
	WaitTimeout time.Duration
	// Host stamps sources that name none; "" means the machine's name.
	Host string
	// Now is the clock; nil means time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Request is an event with what its caller asks for.
type Request struct {
	// Envelope may lack event_id, timestamp, version and source.
	Envelope bloodbank.Envelope
	// Ack is the level to wait for; "" is AckWAL.
	Ack bloodbank.AckLevel
	// Permissive accepts a type without a schema for this event.
	Permissive bool
	// App and SourceType stamp an envelope without a source; "" means bb and
	// manual.
	App        string
	SourceType bloodbank.SourceType
}

// Gateway accepts events. It is safe for concurrent use and owns no goroutine.
type Gateway struct {
	o      Options
	recent *recent
}

// New returns a gateway.
func New(o Options) *Gateway {
	o.MaxEvent = cmp.Or(o.MaxEvent, DefaultMaxEvent)
	o.WaitTimeout = cmp.Or(o.WaitTimeout, DefaultWaitTimeout)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Host == "" {
		o.Host = hostname()
	}
	return &Gateway{o: o, recent: newRecent(recentCapacity)}
}

func hostname() string {
	if name, err := os.Hostname(); err == nil && name != "" {
		return name
	}
	return "unknown"
}

// Remember tells the gateway of a record that was in the log before it was
// made, so that a duplicate of it is recognised. Call it for the newest records
// at start, in order.
func (g *Gateway) Remember(sequence uint64, record []byte) {
	if id, ok := idOfRecord(record); ok {
		g.recent.add(id, sequence)
	}
}

// Accept takes one event.
func (g *Gateway) Accept(ctx context.Context, r Request) (bloodbank.Receipt, error) {
	receipts, err := g.AcceptAll(ctx, []Request{r})
	if err != nil {
		return bloodbank.Receipt{}, err
	}
	return receipts[0], nil
}

// AcceptAll takes all of the events or none: the first that is refused refuses
// them all, and a fault of event i is reported under the pointer /i. They get
// rising sequences in the order given. When the wait for a level times out, the
// receipts say the level that was reached; the events are accepted all the same.
func (g *Gateway) AcceptAll(ctx context.Context, requests []Request) ([]bloodbank.Receipt, error) {
	pending, err := g.prepare(ctx, requests)
	if err != nil {
		return nil, err
	}
	receipts, err := g.write(ctx, pending)
	if err != nil {
		return nil, err
	}
	g.await(ctx, requests, receipts)
	return receipts, nil
}

// pendingEvent is a checked event on its way into the log.
type pendingEvent struct {
	id     bloodbank.EventID
	given  bool // the caller chose the id, so it may be a duplicate
	record []byte
}

func (g *Gateway) prepare(ctx context.Context, requests []Request) ([]pendingEvent, error) {
	pending := make([]pendingEvent, len(requests))
	for i := range requests {
		if err := ctx.Err(); err != nil {
			return nil, bloodbank.Errorf(bloodbank.CodeTimeout, "the caller gave up before the event was accepted: %w", err)
		}
		p, err := g.prepareOne(&requests[i])
		if err != nil {
			return nil, locate(err, i, len(requests))
		}
		pending[i] = p
	}
	return pending, nil
}

func (g *Gateway) prepareOne(r *Request) (pendingEvent, error) {
	if r.Ack != "" && r.Ack != bloodbank.AckWAL && g.o.Progress == nil {
		return pendingEvent{}, bloodbank.Errorf(bloodbank.CodeUnavailable, "nothing here can wait for %q; ask for wal", r.Ack)
	}
	e := r.Envelope
	p := pendingEvent{given: !e.EventID.IsZero()}
	if err := g.stamp(&e, r); err != nil {
		return p, err
	}
	if err := e.Validate(); err != nil {
		return p, err
	}
	validate := g.o.Schemas.Validate
	if g.o.Permissive || r.Permissive {
		validate = g.o.Schemas.ValidatePermissive
	}
	if err := validate(e.EventType, e.Payload); err != nil {
		return p, err
	}
	record, err := e.AppendJSON(make([]byte, 0, 512+len(e.Payload)))
	if err != nil {
		return p, err
	}
	if len(record) > g.o.MaxEvent {
		return p, bloodbank.Errorf(bloodbank.CodeTooLarge,
			"the event has %d bytes; the limit is %d. Store large content elsewhere and publish its address", len(record), g.o.MaxEvent)
	}
	p.id, p.record = e.EventID, record
	return p, nil
}

func (g *Gateway) stamp(e *bloodbank.Envelope, r *Request) error {
	if e.EventID.IsZero() {
		id, err := bloodbank.NewEventID()
		if err != nil {
			return err
		}
		e.EventID = id
	}
	if e.Timestamp.IsZero() {
		e.Timestamp = g.o.Now()
	}
	if e.Version == "" {
		e.Version = bloodbank.Version
	}
	if e.Source.Host == "" {
		e.Source.Host = g.o.Host
	}
	if e.Source.Type == "" {
		e.Source.Type = cmp.Or(r.SourceType, bloodbank.SourceManual)
		e.Source.App = cmp.Or(e.Source.App, r.App, "bb")
	}
	return nil
}

// write reserves the ids, appends what is new and releases them.
func (g *Gateway) write(ctx context.Context, pending []pendingEvent) ([]bloodbank.Receipt, error) {
	receipts := make([]bloodbank.Receipt, len(pending))
	fresh, err := g.reserve(ctx, pending, receipts)
	if err != nil {
		return nil, err
	}
	first, err := g.append(ctx, pending, fresh)
	if err != nil {
		for _, i := range fresh {
			g.recent.release(pending[i].id, 0)
		}
		return nil, err
	}
	for n, i := range fresh {
		receipts[i] = bloodbank.Receipt{EventID: pending[i].id, Sequence: first + uint64(n), Ack: bloodbank.AckWAL}
		g.recent.release(pending[i].id, receipts[i].Sequence)
	}
	for i := range receipts {
		if receipts[i].Sequence == 0 && !receipts[i].Duplicate { // a duplicate within this very batch
			seq, _ := g.recent.lookup(pending[i].id)
			receipts[i] = duplicate(pending[i].id, seq)
		}
	}
	return receipts, nil
}

func duplicate(id bloodbank.EventID, seq uint64) bloodbank.Receipt {
	return bloodbank.Receipt{EventID: id, Sequence: seq, Ack: bloodbank.AckWAL, Duplicate: true}
}

// reserve claims the ids that are new and fills in the receipts of those that
// are not. It returns the indexes to write, in the order given.
//
// Ids are claimed in sorted order, so that two batches with ids in common wait
// for each other in one direction only.
func (g *Gateway) reserve(ctx context.Context, pending []pendingEvent, receipts []bloodbank.Receipt) ([]int, error) {
	order := make([]int, len(pending))
	for i := range order {
		order[i] = i
	}
	if len(order) > 1 {
		slices.SortStableFunc(order, func(a, b int) int { return slices.Compare(pending[a].id[:], pending[b].id[:]) })
	}
	fresh := make([]int, 0, len(pending))
	for n, i := range order {
		id := pending[i].id
		if n > 0 && pending[order[n-1]].id == id {
			continue
		}
		seq, known, err := g.recent.claim(ctx, id)
		if err == nil && !known && pending[i].given && g.archived(ctx, id) {
			g.recent.release(id, 0)
			known = true
		}
		if err != nil {
			for _, j := range fresh {
				g.recent.release(pending[j].id, 0)
			}
			return nil, bloodbank.Errorf(bloodbank.CodeTimeout, "event %s is being accepted by another caller: %w", id, err)
		}
		if known {
			receipts[i] = duplicate(id, seq)
			continue
		}
		fresh = append(fresh, i)
	}
	slices.Sort(fresh)
	return fresh, nil
}

// archived asks the store. A store that is down means "not stored": the event is
// accepted again, and the store, which is idempotent, keeps the first one.
func (g *Gateway) archived(ctx context.Context, id bloodbank.EventID) bool {
	if g.o.Archive == nil {
		return false
	}
	has, err := g.o.Archive.Has(ctx, id)
	if err != nil {
		g.o.Logger.Warn("cannot look for a duplicate in the store", "event_id", id, "error", err)
	}
	return has && err == nil
}

func (g *Gateway) append(ctx context.Context, pending []pendingEvent, fresh []int) (uint64, error) {
	var first uint64
	var err error
	switch len(fresh) {
	case 0:
		return 0, nil
	case 1:
		first, err = g.o.Log.Append(ctx, pending[fresh[0]].record)
	default:
		records := make([][]byte, len(fresh))
		for n, i := range fresh {
			records[n] = pending[i].record
		}
		first, err = g.o.Log.AppendBatch(ctx, records)
	}
	return first, logError(err)
}

var _ Log = (*wal.Log)(nil)
