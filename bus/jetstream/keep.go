package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// farHeartbeat is how often a server elsewhere says that a request for
	// messages is still open; a new leader of the group does not know it.
	farHeartbeat = 2 * time.Second
	// maxInFlight is how many messages all processes of a group may have together.
	maxInFlight = 10_000
)

// What is said about a message.
const (
	sayAck     = "+ACK"
	sayNak     = "-NAK"
	sayWorking = "+WPI"
)

var errOutlived = errors.New("jetstream: cut off for longer than AckWait; another process has the batch by now")

// keeper is what a lane needs when its server is shared with other processes.
//
// Every message is acknowledged by itself (AckExplicit). What this process
// holds, in the handler's hands or in the buffer, gets a sign of life three times
// per AckWait; a process that dies or is cut off gives none, and its messages go
// to another one. What is left at the end is given back at once. An
// acknowledgement that could not be sent is owed: it is true at any later time.
type keeper struct {
	ackWait time.Duration

	cancel context.CancelFunc // ends the signs of life; nil while none are given
	run    sync.WaitGroup

	// What to send after the next start; held by the turn.
	owed []string // acknowledgements
	back []entry  // what was not handled

	// Guarded by lane.mu.
	hand     []string // where to speak for the batch that the handler has
	late     []entry  // what came after the end
	brokenAt time.Time
}

func newKeeper(ackWait, otherwise time.Duration) *keeper {
	if ackWait <= 0 {
		ackWait = otherwise
	}
	return &keeper{ackWait: ackWait}
}

// startFar is start for a shared server. The caller has the turn.
func (l *lane) startFar(ctx context.Context) error {
	if err := l.b.far.now(); err != nil {
		return fmt.Errorf("jetstream: group %q waits: %v", l.group, err) // not a refusal of the group
	}
	_, err := l.b.js.CreateOrUpdateConsumer(ctx, Stream, jetstream.ConsumerConfig{
		Durable:       l.group,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       l.keep.ackWait,
		MaxDeliver:    -1,
		MaxAckPending: maxInFlight,
		ReplayPolicy:  jetstream.ReplayInstantPolicy,
		FilterSubject: l.b.far.filter(),
	})
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		l.b.reportSick()
		return fmt.Errorf("jetstream: group %q waits for the stream %s, which is gone", l.group, Stream)
	case errors.As(err, &api) && (api.Code < 500 || strings.Contains(api.Description, "can not be updated")):
		return refused(err, "group %q cannot be set up; if it is there with other settings, remove it (nats consumer rm %s %s), and it is made anew",
			l.group, Stream, l.group)
	}
	if err != nil {
		return fmt.Errorf("jetstream: cannot set up the consumer of group %q: %w", l.group, err)
	}
	for len(l.keep.owed) > 0 {
		if err := l.b.conn.Publish(l.keep.owed[0], []byte(sayAck)); err != nil {
			return fmt.Errorf("jetstream: cannot acknowledge for group %q: %w", l.group, err)
		}
		l.keep.owed = l.keep.owed[1:]
	}
	l.mu.Lock()
	fresh := time.Since(l.keep.brokenAt) < l.keep.ackWait/2
	l.mu.Unlock()
	for _, e := range l.keep.back {
		if fresh { // else another process may have it
			l.giveBack(e)
		}
	}
	l.keep.back = nil
	if err := l.listen(); err != nil {
		return err
	}
	alive, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.keep.cancel = cancel
	l.keep.run.Go(func() { l.showLife(alive) })
	return nil
}

// filter picks the events out of a stream that holds other things too.
func (r *remote) filter() string {
	if slices.Equal(r.found().Subjects, []string{SubjectPrefix + ">"}) {
		return ""
	}
	return SubjectPrefix + ">"
}

// showLife tells the server that what is held here is not forgotten.
func (l *lane) showLife(ctx context.Context) {
	for pause(ctx, l.keep.ackWait/3) {
		l.mu.Lock()
		held := slices.Clone(l.keep.hand)
		for _, e := range l.buffer {
			held = append(held, e.ack)
		}
		l.mu.Unlock()
		for _, to := range held {
			if l.b.conn.Publish(to, []byte(sayWorking)) != nil {
				break // the connection is gone; the next start sees to it
			}
		}
	}
}

// take notes what the handler gets. The caller has lane.mu.
func (k *keeper) take(batch []entry) {
	k.hand = make([]string, len(batch))
	for i, e := range batch {
		k.hand[i] = e.ack
	}
}

// stopFar is stop for a shared server: what was not handled goes to others.
func (l *lane) stopFar(ctx context.Context, sub *nats.Subscription, left []entry) {
	if l.keep.cancel != nil {
		l.keep.cancel()
		l.keep.run.Wait()
		l.keep.cancel = nil
	}
	if sub == nil {
		return
	}
	l.mu.Lock()
	l.keep.hand = nil
	l.mu.Unlock()
	if !l.b.conn.IsConnected() {
		_ = sub.Unsubscribe() // fails on a dead connection, where it is not needed
		l.keep.back = append(l.keep.back, left...)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
	defer cancel()
	l.settle(ctx, sub)
	l.mu.Lock()
	left = append(left, l.keep.late...)
	l.keep.late = nil
	l.mu.Unlock()
	// A request that is still open there would bring them here again, and an old
	// server (2.9) miscounts then. To be asked makes it look who still waits.
	_, _ = l.b.js.Consumer(ctx, Stream, l.group)
	for _, e := range left {
		l.giveBack(e)
	}
	_ = l.b.conn.FlushWithContext(ctx) // what is lost here comes again after AckWait
}

// settle ends the subscription, but takes what is on its way, to give it back.
func (l *lane) settle(ctx context.Context, sub *nats.Subscription) {
	empty := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(empty) })
	if err := sub.Drain(); err != nil {
		_ = sub.Unsubscribe() // the connection was lost meanwhile
		return
	}
	select {
	case <-empty:
	case <-ctx.Done():
		_ = sub.Unsubscribe() // as above
	}
}

func (l *lane) giveBack(e entry) {
	_ = l.b.conn.Publish(e.ack, []byte(sayNak)) // a lost one comes again after AckWait
}

// ackEach acknowledges one by one. The caller has the turn.
func (l *lane) ackEach(batch []entry) error {
	l.mu.Lock()
	l.keep.hand = nil
	l.mu.Unlock()
	for i, e := range batch {
		err := l.b.conn.Publish(e.ack, []byte(sayAck))
		if err == nil {
			continue
		}
		for _, rest := range batch[i:] {
			l.keep.owed = append(l.keep.owed, rest.ack)
		}
		return fmt.Errorf("jetstream: cannot acknowledge for group %q: %w", l.group, err)
	}
	return nil
}

// outlived says that another process has taken the batch in hand over.
func (l *lane) outlived() bool {
	if l.keep == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken != nil && time.Since(l.keep.brokenAt) > l.keep.ackWait
}

// heartbeat is what to ask the server for; 0 is none.
func (l *lane) heartbeat() time.Duration {
	if l.keep == nil {
		return 0
	}
	return farHeartbeat
}

// lostAfter is when a request without a sign of life is given up.
func (l *lane) lostAfter() time.Duration {
	if l.keep == nil {
		return pullLost
	}
	return 2*farHeartbeat + time.Second
}
