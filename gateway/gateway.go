// Package gateway is the one way in: it stamps, checks and writes an event to
// the write-ahead log, and answers with a receipt. It is the only caller of
// wal.Append.
//
// Law: a [bloodbank.Receipt] is returned only when the event is fsynced in the
// log, and the log gets nothing but records that [bloodbank.DecodeEnvelope]
// reads. After a refusal nothing was written, unless the log itself failed or
// the caller gave up: then the same event id makes sending again safe. It knows
// no bus and no store: their being down never blocks it, and what it asks of
// them (was this id stored? how far has it come?) it asks through interfaces
// that may be nil.
package gateway

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/wal"
)

// DefaultMaxEvent is the largest wire form of an event in bytes. It is the
// largest message that a NATS server takes by default.
const DefaultMaxEvent = 1 << 20

// DefaultWaitTimeout bounds the wait for an ack level above [bloodbank.AckWAL].
const DefaultWaitTimeout = 10 * time.Second

// Log is the write-ahead log as the gateway needs it; [wal.Log] is one.
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
// it ends first, and another error when the level will not be reached: because
// the event is a dead letter or the server stops.
type Progress interface {
	Confirmed(ctx context.Context, sequence uint64) error
	Stored(ctx context.Context, id bloodbank.EventID) error
}

// Options configure a [Gateway]. Log and Schemas are required.
type Options struct {
	Log     Log
	Schemas Schemas
	// Archive recognises duplicates that have left the log; nil or an error
	// from it means "not stored". It is asked only about ids that the caller gave
	// and that may be older than what the gateway remembers.
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
	// SkipValidation does not hold this event's payload against a schema. It
	// must be JSON all the same.
	SkipValidation bool
	// Decoded says that the envelope's raw parts came out of the decoder as they
	// are, so that they need not be parsed again.
	Decoded bool
	// App and SourceType stamp an envelope without a source; "" means bb and
	// manual.
	App        string
	SourceType bloodbank.SourceType
}

// Gateway accepts events. It is safe for concurrent use and owns no goroutine.
type Gateway struct {
	o       Options
	recent  *recent
	archive archive
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
	g := &Gateway{o: o, recent: newRecent(recentCapacity, o.Now())}
	g.archive = archive{ids: o.Archive, now: o.Now, logger: o.Logger}
	return g
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
		g.recent.add(id, sequence, g.o.Now())
	}
}

// Accept takes one event. See [Gateway.AcceptAll]; the pointers of a refusal
// lead into the payload.
func (g *Gateway) Accept(ctx context.Context, r Request) (bloodbank.Receipt, error) {
	receipts, err := g.AcceptAll(ctx, []Request{r})
	if err != nil {
		return bloodbank.Receipt{}, err
	}
	return receipts[0], nil
}

// AcceptAll takes all of the events or none: the first that is refused refuses
// them all, and of several a fault in event i is reported under the pointer /i
// (/i/payload/... inside its payload). They get rising sequences in the order
// given; an id that is known, or comes twice, counts once, and the others of it
// are answered as duplicates. When the wait for a level times out, the receipts
// say the level that was reached; the events are accepted all the same.
//
// Codes: invalid, unknown_type, schema and too_large for the events;
// storage_full, unavailable and timeout for the log; unavailable also for a
// level that nothing here can wait for.
func (g *Gateway) AcceptAll(ctx context.Context, requests []Request) ([]bloodbank.Receipt, error) {
	pending := make([]pendingEvent, len(requests))
	for i := range requests {
		if ctx.Err() != nil {
			return nil, bloodbank.Errorf(bloodbank.CodeTimeout, "the caller gave up before anything was accepted: %w", context.Cause(ctx))
		}
		var err error
		if _, pending[i], err = g.prepare(&requests[i]); err != nil {
			return nil, locate(err, i, len(requests))
		}
	}
	receipts, err := g.write(ctx, pending)
	if err != nil {
		return nil, err
	}
	g.await(ctx, requests, receipts)
	return receipts, nil
}

var _ Log = (*wal.Log)(nil)
