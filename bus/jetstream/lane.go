package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/33god/bloodbank/bus"
)

const (
	// pullExpires is how long a request for messages stays open.
	pullExpires = 20 * time.Second
	// pullLost is when a request that got no answer is given up.
	pullLost = pullExpires + 5*time.Second
	// apiTimeout bounds one call of the server's API.
	apiTimeout = 5 * time.Second
)

var errSilent = errors.New("jetstream: the server does not answer a request for messages")

// lane is the way of a group's messages through this process. All members of
// the group share it and take turns, one batch at a time, so the order holds
// and one acknowledgement (AckAll) stands for a whole batch. Several processes
// cannot share a group that way: one's acknowledgement would cover messages that
// another still has in hand. For servers elsewhere see keep.go.
//
// While a batch is in the handler's hands the next one is already fetched and
// decoded. An embedded server never delivers a message a second time by itself (its
// ack wait is endless): the process that holds the messages is the one that holds
// the server. After a crash or a lost connection the lane resets the consumer
// to its last acknowledgement and starts from there.
type lane struct {
	b     *Bus
	group string
	batch int           // most messages per call of the handler
	turn  chan struct{} // held by the member that has the batch
	users int           // guarded by Bus.mu
	after chan struct{} // closed once an earlier lane of the group has stopped
	over  chan struct{} // closed once this one has
	keep  *keeper       // nil with an embedded server

	lastAck string // the last acknowledgement sent, perhaps not yet seen; held by the turn

	ready chan struct{} // one token: something happened to what follows

	mu      sync.Mutex
	sub     *nats.Subscription // nil: not started
	inbox   string
	request uint64 // number of the open request
	awaited int    // messages that the open request may still bring
	asked   time.Time
	buffer  []entry
	broken  error
}

// entry is a message that waits for its turn.
type entry struct {
	delivery bus.Delivery
	ack      string // where to acknowledge it
}

func newLane(b *Bus, c bus.Consumer, after chan struct{}) *lane {
	l := &lane{
		b: b, group: c.Group, batch: c.MaxBatch, after: after, over: make(chan struct{}),
		turn: make(chan struct{}, 1), ready: make(chan struct{}, 1),
	}
	if b.far != nil {
		l.keep = newKeeper(c.AckWait, b.far.opts.ackWait)
	}
	return l
}

func (l *lane) wake() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

func (l *lane) fail(err error) {
	l.mu.Lock()
	if l.sub != nil && l.broken == nil {
		l.broken = err
		if l.keep != nil {
			l.keep.brokenAt = time.Now()
		}
	}
	l.mu.Unlock()
	l.wake()
}

// start makes the durable consumer, takes it back to its last acknowledgement
// and asks for messages. The caller has the turn.
func (l *lane) start(ctx context.Context) error {
	select {
	case <-l.after:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	if l.keep != nil {
		return l.startFar(ctx)
	}
	_, err := l.b.js.CreateOrUpdateConsumer(ctx, Stream, jetstream.ConsumerConfig{
		Durable:       l.group,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckAllPolicy,
		AckWait:       100 * 365 * 24 * time.Hour,
		MaxDeliver:    -1,
		MaxAckPending: 4 * l.batch,
		ReplayPolicy:  jetstream.ReplayInstantPolicy,
	})
	if err != nil {
		return fmt.Errorf("jetstream: cannot set up the consumer of group %q: %w", l.group, err)
	}
	if _, err := l.b.js.ResetConsumer(ctx, Stream, l.group); err != nil {
		return fmt.Errorf("jetstream: cannot resume group %q: %w", l.group, err)
	}
	return l.listen()
}

// listen subscribes and asks for messages.
func (l *lane) listen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inbox = l.b.conn.NewInbox() + "."
	sub, err := l.b.conn.Subscribe(l.inbox+"*", l.receive)
	if err != nil {
		return fmt.Errorf("jetstream: cannot subscribe for group %q: %w", l.group, err)
	}
	// What may wait here is bounded by the requests; the client's own limit of
	// 64 MiB would drop messages without a word.
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return errors.Join(err, sub.Unsubscribe())
	}
	l.sub, l.broken = sub, nil
	return l.ask()
}

// stop forgets all that is not acknowledged. The caller has the turn.
func (l *lane) stop(ctx context.Context) {
	l.mu.Lock()
	sub, left := l.sub, l.buffer
	l.sub, l.buffer, l.awaited = nil, nil, 0
	l.mu.Unlock()
	if l.keep != nil {
		l.stopFar(ctx, sub, left)
		return
	}
	if sub != nil {
		_ = sub.Unsubscribe() // fails on a dead connection, where it is not needed
	}
	if l.lastAck == "" {
		return
	}
	// The acknowledgement must be there before a reset goes back to it.
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	_, _ = l.b.conn.RequestWithContext(ctx, l.lastAck, []byte("+ACK")) // a lost one costs a second delivery
	l.lastAck = ""
}

// ask opens a request for messages when there is room for them and none is
// open. The caller has mu.
func (l *lane) ask() error {
	room := 2*l.batch - len(l.buffer)
	if l.sub == nil || l.broken != nil || l.awaited > 0 || room <= l.batch {
		return nil
	}
	l.request++
	body, err := json.Marshal(struct {
		Expires   time.Duration `json:"expires"`
		Batch     int           `json:"batch"`
		MaxBytes  int           `json:"max_bytes"`
		Heartbeat time.Duration `json:"idle_heartbeat,omitempty"`
	}{pullExpires, room, l.maxBytes(), l.heartbeat()})
	if err != nil {
		return err
	}
	l.awaited, l.asked = room, time.Now()
	subject := "$JS.API.CONSUMER.MSG.NEXT." + Stream + "." + l.group
	return l.b.conn.PublishRequest(subject, l.inbox+strconv.FormatUint(l.request, 36), body)
}

// maxBytes bounds what one request brings. It must hold the largest message, or
// the group would never get past it.
func (l *lane) maxBytes() int {
	largest := l.b.opts.MaxMessage + headroom
	if l.keep != nil {
		largest = max(1<<20, int(l.b.conn.MaxPayload())+headroom)
	}
	return 2 * largest
}

// receive takes what the server sends: a message, or the end of a request.
func (l *lane) receive(m *nats.Msg) {
	if m.Reply == "" {
		l.ended(m)
		return
	}
	e := entry{bus.Delivery{Message: decode(m), Attempt: deliveries(m)}, m.Reply}
	l.mu.Lock()
	if l.sub != m.Sub || l.broken != nil {
		if l.keep != nil && l.sub == nil {
			l.keep.late = append(l.keep.late, e)
		}
		l.mu.Unlock()
		return // of an earlier start: it comes again
	}
	if l.keep != nil {
		l.asked = time.Now()
	}
	l.buffer = append(l.buffer, e)
	l.awaited = max(l.awaited-1, 0)
	err := l.ask()
	first := len(l.buffer) == 1
	l.mu.Unlock()
	if err != nil {
		l.fail(err)
	} else if first {
		l.wake()
	}
}

func deliveries(m *nats.Msg) int {
	meta, err := m.Metadata()
	if err != nil {
		return 1
	}
	return int(meta.NumDelivered)
}

// ended handles a status instead of a message.
func (l *lane) ended(m *nats.Msg) {
	status, words := m.Header.Get("Status"), m.Header.Get("Description")
	l.mu.Lock()
	if l.sub != m.Sub || m.Subject != l.inbox+strconv.FormatUint(l.request, 36) {
		l.mu.Unlock()
		return // of an earlier request
	}
	awaited := l.awaited
	l.awaited = 0
	var err error
	switch {
	case status == "408" || status == "404":
		err = l.ask()
	case status == "409" && (words == "Message Size Exceeds MaxBytes" || words == "Batch Completed"):
		err = l.ask()
	case status == "100":
		// A heartbeat: the request is still open.
		l.awaited, l.asked = max(awaited, 1), time.Now()
	case status == "409" && l.keep != nil && words == "Leadership Change":
		err = l.ask()
	default:
		err = fmt.Errorf("jetstream: the server ended the request of group %q: %s %s", l.group, status, words)
	}
	l.mu.Unlock()
	if err != nil {
		l.fail(err)
	}
}

// next waits for messages and takes at most limit of them. The caller has the
// turn. Nothing and no error means that ctx ended.
func (l *lane) next(ctx context.Context, limit int) ([]entry, error) {
	lost := l.lostAfter()
	silent := time.NewTimer(lost)
	defer silent.Stop()
	for {
		batch, err := l.grab(limit)
		if batch != nil || err != nil {
			return batch, err
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-l.ready:
		case <-silent.C:
			silent.Reset(lost)
		}
	}
}

func (l *lane) grab(limit int) ([]entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.buffer), limit)
	switch {
	case l.broken != nil:
		return nil, l.broken
	case n == 0 && time.Since(l.asked) > l.lostAfter():
		return nil, errSilent
	case n == 0:
		return nil, nil
	}
	batch := slices.Clone(l.buffer[:n])
	l.buffer = slices.Delete(l.buffer, 0, n)
	if l.keep != nil {
		l.keep.take(batch)
	}
	return batch, l.ask()
}

// putBack returns a batch that its member could not finish. The caller has the
// turn, so nobody has seen a later message.
func (l *lane) putBack(batch []entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keep != nil {
		l.keep.hand = nil
	}
	if l.sub != nil && (l.broken == nil || l.keep != nil) {
		l.buffer = slices.Insert(l.buffer, 0, batch...)
	}
}

// ack acknowledges a batch: by its last message, which stands for all before, or
// each. The caller has the turn.
func (l *lane) ack(batch []entry) error {
	if l.keep != nil {
		return l.ackEach(batch)
	}
	l.lastAck = batch[len(batch)-1].ack
	return l.b.conn.Publish(l.lastAck, nil)
}
