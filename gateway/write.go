package gateway

import (
	"context"
	"slices"
	"time"

	"github.com/33god/bloodbank"
)

// appendTimeout is when an append that hangs is given up. Then nobody knows whether
// it happened.
const appendTimeout = 30 * time.Second

// write reserves the ids, appends what is new and releases them.
//
// Law: who has reserved an id holds it until the log has answered, whoever still
// waits for the receipt. A client that gives up early and sends again so meets its
// first attempt, and not a log that gets the event twice.
func (g *Gateway) write(ctx context.Context, pending []pendingEvent) ([]bloodbank.Receipt, error) {
	receipts := make([]bloodbank.Receipt, len(pending))
	fresh, err := g.reserve(ctx, pending, receipts)
	if err != nil {
		return nil, err
	}
	writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
	defer cancel()
	first, err := g.append(writing, pending, fresh)
	if err != nil {
		g.abandon(pending, fresh)
		return nil, err
	}
	now := g.o.Now()
	for n, i := range fresh {
		receipts[i] = bloodbank.Receipt{EventID: pending[i].id, Sequence: first + uint64(n), Ack: bloodbank.AckWAL}
		g.recent.release(pending[i].id, receipts[i].Sequence, now)
	}
	for i := range pending {
		if twin := pending[i].twin; twin != i {
			receipts[i] = duplicate(pending[i].id, receipts[twin].Sequence)
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
	fresh := make([]int, 0, len(pending))
	previous := -1
	for _, i := range byID(pending) {
		if previous >= 0 && pending[previous].id == pending[i].id {
			pending[i].twin = previous
			continue
		}
		pending[i].twin, previous = i, i
		seq, known, err := g.claim(ctx, &pending[i])
		switch {
		case err != nil:
			g.abandon(pending, fresh)
			return nil, bloodbank.Errorf(bloodbank.CodeTimeout,
				"the caller gave up while another was writing event %s; nothing was accepted: %w", pending[i].id, err)
		case known:
			receipts[i] = duplicate(pending[i].id, seq)
		default:
			fresh = append(fresh, i)
		}
	}
	slices.Sort(fresh)
	return fresh, nil
}

// byID returns the indexes sorted by event id, equal ones in the order given.
func byID(pending []pendingEvent) []int {
	order := make([]int, len(pending))
	for i := range order {
		order[i] = i
	}
	if len(order) > 1 {
		slices.SortStableFunc(order, func(a, b int) int { return slices.Compare(pending[a].id[:], pending[b].id[:]) })
	}
	return order
}

// claim reserves an id, unless it is known: as accepted lately, or else as
// stored.
func (g *Gateway) claim(ctx context.Context, p *pendingEvent) (seq uint64, known bool, err error) {
	seq, known, err = g.recent.claim(ctx, p.id)
	if known || err != nil || !p.given || g.recent.covers(p.id, g.o.Now()) {
		return seq, known, err
	}
	if g.archive.has(ctx, p.id) {
		g.recent.abandon(p.id)
		return 0, true, nil
	}
	return 0, false, nil
}

func (g *Gateway) abandon(pending []pendingEvent, claimed []int) {
	for _, i := range claimed {
		g.recent.abandon(pending[i].id)
	}
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
	return first, logError(err, len(fresh))
}
