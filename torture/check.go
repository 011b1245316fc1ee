package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
)

// status is what of GET /status matters here.
type status struct {
	Dispatch struct {
		Lag   uint64
		Fault string
	}
	Recorder struct {
		Lag   int64
		Fault string
	}
}

// check starts the program if need be, waits until all that was accepted has
// arrived, and compares the store with the ledger. The last check reads
// everything anew; the others read what has come since the one before.
func (r *run) check(ctx context.Context, last bool) error {
	began := time.Now()
	if err := r.start(ctx); err != nil {
		return err
	}
	if err := r.flush(ctx); err != nil {
		return err
	}
	stuck, err := r.drain(ctx)
	if err != nil {
		return err
	}
	r.report.SlowestRecovery = max(r.report.SlowestRecovery, Milliseconds(time.Since(began)))
	if stuck != "" {
		r.broken.add("stuck", zero(), "after %s not all is delivered and stored: %s", r.o.Patience, stuck)
		return nil
	}
	if last {
		r.ledger.forget()
		r.scanned, r.lanes = 0, make(map[int32]int32)
	}
	return r.compare(ctx)
}

// flush lets every publisher get its last answer.
func (r *run) flush(ctx context.Context) error {
	late := time.Now().Add(r.o.Patience)
	for _, p := range r.publishers {
		for {
			err := p.flush(ctx, r.client)
			switch {
			case err == nil:
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case r.child.gone():
				return errEnded
			case time.Now().After(late):
				r.broken.add("stuck", zero(), "for %s nothing is accepted any more: %v", r.o.Patience, err)
				return nil
			default:
				pause(ctx, 50*time.Millisecond)
				continue
			}
			break
		}
	}
	return nil
}

// drain waits until no follower lags. stuck says what does after all patience.
func (r *run) drain(ctx context.Context) (stuck string, err error) {
	late := time.Now().Add(r.o.Patience)
	for {
		raw, err := r.client.Status(ctx)
		switch {
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case err != nil && r.child.gone():
			return "", errEnded
		}
		var s status
		if err == nil {
			err = json.Unmarshal(raw, &s)
		}
		if err == nil && s.Dispatch.Lag == 0 && s.Recorder.Lag == 0 {
			return "", nil
		}
		if time.Now().After(late) {
			return fmt.Sprintf("%d on the way to the bus (%s), %d to the store (%s), %v",
				s.Dispatch.Lag, s.Dispatch.Fault, s.Recorder.Lag, s.Recorder.Fault, err), nil
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// compare reads the store and says what is wrong with it.
func (r *run) compare(ctx context.Context) error {
	late := time.Now().Add(r.o.arrival)
	for {
		if err := r.scan(ctx); err != nil {
			return err
		}
		dead, err := r.deadLetters(ctx)
		if err != nil {
			return err
		}
		lost := r.ledger.missing(dead)
		if len(lost) > 0 && time.Now().Before(late) && ctx.Err() == nil {
			pause(ctx, 200*time.Millisecond)
			continue
		}
		for _, id := range lost {
			r.broken.add("lost", id, "it was accepted, and is neither in the store nor a dead letter")
		}
		r.report.Dead = len(dead)
		return r.walk(ctx, dead)
	}
}

// scan reads what is new in the store, in the order of the store, up to an event
// that is published for the purpose: everything else stands before it.
func (r *run) scan(outer context.Context) error {
	ctx, cancel := context.WithTimeout(outer, r.o.Patience)
	defer cancel()
	mark, err := r.mark(ctx)
	if err != nil {
		return err
	}
	for event, err := range r.client.Watch(ctx, client.WatchRequest{Since: r.scanned}) {
		if err != nil {
			return fmt.Errorf("cannot read the store: %w", err)
		}
		e, err := bloodbank.DecodeEnvelope(event.Raw)
		if err != nil {
			r.broken.add("payload", zero(), "the store has at %d what is no event: %v", event.Sequence, err)
			continue
		}
		r.scanned = event.Sequence
		if r.names.mine(&e) {
			r.ledger.found(&e, event.Sequence, r.lanes)
		}
		if e.EventID == mark {
			return nil
		}
	}
	if outer.Err() != nil {
		return context.Cause(outer)
	}
	r.broken.add("stored", mark, "its receipt says stored, and reading the store for %s it did not come", r.o.Patience)
	return nil
}

// mark publishes an event and waits until it is stored.
func (r *run) mark(ctx context.Context) (bloodbank.EventID, error) {
	id, err := bloodbank.NewEventID()
	if err != nil {
		return id, err
	}
	events := []offered{{lane: -1, envelope: bloodbank.Envelope{
		EventID: id, EventType: eventType, Payload: []byte(`{"provider":"torture","prompt":"all before this one is stored"}`),
		Source: bloodbank.Source{App: appName, Type: bloodbank.SourceManual},
	}}}
	r.ledger.offer(events)
	for first := true; ; first = false {
		receipt, err := r.client.Publish(ctx, client.PublishRequest{Envelope: events[0].envelope, Wait: bloodbank.AckStored})
		switch {
		case err == nil && receipt.Ack == bloodbank.AckStored:
			r.ledger.accept(events, []bloodbank.Receipt{receipt}, false)
			return id, nil
		case ctx.Err() != nil:
			return id, fmt.Errorf("an event does not get as far as the store: %w", errors.Join(err, context.Cause(ctx)))
		case r.child.gone():
			return id, errEnded
		case !first:
			pause(ctx, 100*time.Millisecond)
		}
	}
}

// deadLetters lists the open ones with their reasons.
func (r *run) deadLetters(ctx context.Context) (map[bloodbank.EventID]string, error) {
	all := make(map[bloodbank.EventID]string)
	for after := uint64(0); ; {
		const page = 1000
		letters, err := r.client.DeadLetters(ctx, client.DeadLettersRequest{After: after, Limit: page})
		if err != nil {
			return nil, fmt.Errorf("cannot list the dead letters: %w", err)
		}
		for _, d := range letters {
			all[d.EventID], after = d.Reason, d.Number
			if d.Reason == "" {
				r.broken.add("dead", d.EventID, "it is a dead letter without a reason")
			}
		}
		if len(letters) < page {
			return all, nil
		}
	}
}

// walk follows the longest chain of causes from its last event to its root. A
// tracker beside the store may have lost links with its memory: that is noted,
// the truth is in the store and was compared. A chain with a dead letter in it is
// cut there.
func (r *run) walk(ctx context.Context, dead map[bloodbank.EventID]string) error {
	var chain []bloodbank.EventID
	for _, p := range r.publishers {
		cut := slices.ContainsFunc(p.deepest, func(id bloodbank.EventID) bool { _, is := dead[id]; return is })
		if !cut && len(p.deepest) > len(chain) {
			chain = p.deepest
		}
	}
	if len(chain) < 2 {
		return nil
	}
	leaf := chain[len(chain)-1]
	answer, err := r.client.Chain(ctx, leaf, "ancestors", len(chain)+10)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	fault := chainFault(chain, answer, err)
	r.report.Chain = max(r.report.Chain, len(chain))
	switch {
	case fault == "":
	case isRemote(r.o.Correlation):
		r.report.Degraded++
	default:
		r.broken.add("chain", leaf, "the way to its root, %d events, cannot be walked: %s", len(chain), fault)
	}
	return nil
}

func chainFault(chain []bloodbank.EventID, answer client.Chain, err error) string {
	if err != nil {
		return err.Error()
	}
	place := make(map[bloodbank.EventID]int)
	for i, n := range answer.Nodes {
		place[n.ID] = i
	}
	var absent []bloodbank.EventID
	for i, id := range chain {
		at, there := place[id]
		if !there || !answer.Nodes[at].Known {
			absent = append(absent, id)
		} else if i > 0 && place[chain[i-1]] > at {
			return fmt.Sprintf("%s stands before its cause %s", id, chain[i-1])
		}
	}
	if len(absent) > 0 {
		return fmt.Sprintf("%d events are not in it, the first is %s", len(absent), absent[0])
	}
	if answer.Truncated || answer.Cyclic {
		return "the answer says that it was cut or runs in a circle"
	}
	return ""
}

func zero() bloodbank.EventID { return bloodbank.EventID{} }
