package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
)

const (
	// sendTimeout is when a publisher gives an answer up and asks again.
	sendTimeout = 5 * time.Second
	// storedTimeout is that of who waits for the store, so that a broker that is
	// down does not keep everybody waiting: it is sent again without.
	storedTimeout = 300 * time.Millisecond
	// lanesEach is how many ordering keys a publisher has.
	lanesEach = 3
	// familyDepth is how long a chain of causes gets.
	familyDepth = 150
	// kept is how many accepted batches may be sent once more.
	kept = 16

	eventType = bloodbank.EventType("llm.prompt")
	appName   = "bb-torture"
)

// publisher is one client. It keeps to the rule that clients must keep to: what
// has no receipt is sent again, with the same ids, before anything that is to
// stand behind it.
type publisher struct {
	number int
	rng    *rand.Rand
	ledger *ledger
	broken *violations
	batch  int
	strict bool

	places  [lanesEach]int32
	pending []offered   // sent, but no receipt yet
	recent  [][]offered // with receipts
	family  []bloodbank.EventID
	deepest []bloodbank.EventID // the longest accepted chain, its root first
}

func newPublisher(o Options, number int, l *ledger) *publisher {
	return &publisher{
		number: number, rng: rand.New(rand.NewPCG(o.Seed, 1<<40+uint64(number))),
		ledger: l, broken: l.broken, batch: o.Batch, strict: !isRemote(o.Store),
	}
}

// run publishes until stop is closed, or limit events are accepted (0: no limit).
func (p *publisher) run(ctx context.Context, cl *client.Client, stop <-chan struct{}, limit int, every time.Duration) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for sent := 0; limit <= 0 || sent < limit; {
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		n, err := p.once(ctx, cl)
		sent += n
		pause := time.Duration(p.rng.Int64N(int64(every) + 1))
		if err != nil {
			pause += 20 * time.Millisecond
		}
		timer.Reset(pause)
	}
}

// once sends one request: what is pending, or a duplicate, or new events.
func (p *publisher) once(ctx context.Context, cl *client.Client) (accepted int, err error) {
	if p.pending == nil && len(p.recent) > 0 && p.rng.IntN(10) == 0 {
		again := p.recent[p.rng.IntN(len(p.recent))]
		_, err := p.send(ctx, cl, again, bloodbank.AckWAL)
		return 0, err
	}
	if p.pending == nil {
		if p.pending, err = p.invent(); err != nil {
			return 0, err
		}
		p.ledger.offer(p.pending)
	}
	level := bloodbank.AckWAL
	if len(p.pending) == 1 && p.rng.IntN(5) == 0 {
		level = bloodbank.AckStored
	}
	receipts, err := p.send(ctx, cl, p.pending, level)
	if err != nil {
		if p.rng.IntN(30) == 0 { // as a client that dies: it may be accepted or not
			p.pending, p.family = nil, nil
		}
		return 0, err
	}
	p.settle(ctx, cl, receipts)
	return len(receipts), nil
}

// flush sends what is pending until it is accepted: at the end nobody is left
// without an answer.
func (p *publisher) flush(ctx context.Context, cl *client.Client) error {
	if p.pending == nil {
		return nil
	}
	receipts, err := p.send(ctx, cl, p.pending, bloodbank.AckWAL)
	if err == nil {
		p.settle(ctx, cl, receipts)
	}
	return err
}

func (p *publisher) settle(ctx context.Context, cl *client.Client, receipts []bloodbank.Receipt) {
	for _, o := range p.pending {
		p.family = append(p.family, o.envelope.EventID)
	}
	if len(p.family) > len(p.deepest) {
		p.deepest = append(p.deepest[:0], p.family...)
	}
	if len(p.family) >= familyDepth {
		p.family = nil
	}
	if len(p.recent) < kept {
		p.recent = append(p.recent, p.pending)
	} else {
		p.recent[p.rng.IntN(kept)] = p.pending
	}
	p.pending = nil
	if len(receipts) == 1 && receipts[0].Ack == bloodbank.AckStored {
		p.findable(ctx, cl, receipts[0].EventID)
	}
}

// findable asks for an event whose receipt says that it is stored.
func (p *publisher) findable(ctx context.Context, cl *client.Client, id bloodbank.EventID) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	if _, err := cl.Event(ctx, id); bloodbank.CodeOf(err) == bloodbank.CodeNotFound {
		p.broken.add("stored", id, "its receipt says stored, and a query does not find it")
	}
}

func (p *publisher) send(ctx context.Context, cl *client.Client, events []offered, level bloodbank.AckLevel) ([]bloodbank.Receipt, error) {
	patience := sendTimeout
	if level == bloodbank.AckStored {
		patience = storedTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var receipts []bloodbank.Receipt
	var err error
	if len(events) == 1 {
		var r bloodbank.Receipt
		r, err = cl.Publish(ctx, client.PublishRequest{Envelope: events[0].envelope, Wait: level})
		receipts = []bloodbank.Receipt{r}
	} else {
		all := make([]bloodbank.Envelope, len(events))
		for i, o := range events {
			all[i] = o.envelope
		}
		receipts, err = cl.PublishAll(ctx, client.PublishAllRequest{Envelopes: all, Wait: level})
	}
	if err != nil {
		if refused(bloodbank.CodeOf(err)) {
			p.broken.add("refused", events[0].envelope.EventID, "a sound event was refused: %v", err)
			p.pending = nil
		}
		return nil, err
	}
	p.ledger.accept(events, receipts, p.strict)
	return receipts, nil
}

// refused reports whether the server says that the event is at fault. All other
// errors mean: it may have happened, ask again.
func refused(code bloodbank.Code) bool {
	switch code {
	case bloodbank.CodeInvalid, bloodbank.CodeUnknownType, bloodbank.CodeSchema, bloodbank.CodeTooLarge,
		bloodbank.CodeConflict, bloodbank.CodeUnsupported, bloodbank.CodeUnauthorized, bloodbank.CodeForbidden:
		return true
	}
	return false
}

// invent makes the events of one request: each with the one before as its parent.
func (p *publisher) invent() ([]offered, error) {
	n := 1
	if p.rng.IntN(3) > 0 {
		n += p.rng.IntN(p.batch)
	}
	batch := make([]offered, 0, n)
	parents := p.family
	for range n {
		id, err := bloodbank.NewEventID()
		if err != nil {
			return nil, err
		}
		o := offered{lane: -1, envelope: bloodbank.Envelope{
			EventID: id, EventType: eventType, Payload: p.payload(),
			Source: bloodbank.Source{App: appName, Type: bloodbank.SourceManual}, CorrelationIDs: p.parents(parents),
		}}
		if lane := p.rng.IntN(lanesEach + 1); lane < lanesEach {
			o.envelope.OrderingKey = fmt.Sprintf("torture-%d-%d", p.number, lane)
			o.lane, o.place = int32(p.number*lanesEach+lane), p.places[lane]
			p.places[lane]++
		}
		parents = append(parents[:len(parents):len(parents)], id)
		batch = append(batch, o)
	}
	return batch, nil
}

// parents are the youngest of the family, and at times an older one beside it.
func (p *publisher) parents(family []bloodbank.EventID) []bloodbank.EventID {
	if len(family) == 0 {
		return nil
	}
	ids := []bloodbank.EventID{family[len(family)-1]}
	if len(family) > 1 && p.rng.IntN(5) == 0 {
		ids = append(ids, family[p.rng.IntN(len(family)-1)])
	}
	return ids
}

// payload is JSON that every careless hand changes: spaces, escapes, a number that
// is no float, keys in no order.
func (p *publisher) payload() []byte {
	size := 10 + p.rng.IntN(400)
	if p.rng.IntN(50) == 0 {
		size = 20_000 + p.rng.IntN(20_000)
	}
	return fmt.Appendf(nil, `{"z":%d, "prompt":"caf\u00e9 \/ é < %x %s", "provider" : "torture","a":1.50e+02}`,
		1<<53+p.rng.Int64N(1<<53)|1, p.rng.Uint64(), strings.Repeat("x", size))
}
