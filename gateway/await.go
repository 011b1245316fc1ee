package gateway

import (
	"context"
	"slices"

	"github.com/33god/bloodbank"
)

// await raises the receipts' levels as far as was asked for and as the wait
// allows, which is one timeout for all of them. It never fails: the events are
// accepted, and the level in a receipt says how far its event is known to have
// come.
func (g *Gateway) await(ctx context.Context, requests []Request, receipts []bloodbank.Receipt) {
	if !slices.ContainsFunc(requests, func(r Request) bool { return wantsMore(r.Ack) }) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, g.o.WaitTimeout)
	defer cancel()
	late := false
	for i := range receipts {
		if !wantsMore(requests[i].Ack) || late {
			continue
		}
		g.awaitOne(ctx, requests[i].Ack, &receipts[i])
		// The time is over for all. What has come far enough is still said without
		// waiting, up to the first that has not and may have cost a look-up.
		late = ctx.Err() != nil && receipts[i].Ack != requests[i].Ack && requests[i].Ack == bloodbank.AckStored
	}
}

func wantsMore(level bloodbank.AckLevel) bool { return level != "" && level != bloodbank.AckWAL }

func (g *Gateway) awaitOne(ctx context.Context, level bloodbank.AckLevel, receipt *bloodbank.Receipt) {
	// A duplicate without a sequence has left the log, which it may only once the
	// bus has it. Waiting for the bus first tells a dead letter at once.
	if receipt.Sequence != 0 && g.o.Progress.Confirmed(ctx, receipt.Sequence) != nil {
		return
	}
	receipt.Ack = bloodbank.AckBus
	if level == bloodbank.AckStored && g.o.Progress.Stored(ctx, receipt.EventID) == nil {
		receipt.Ack = bloodbank.AckStored
	}
}
