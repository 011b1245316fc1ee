package gateway

import (
	"context"

	"github.com/33god/bloodbank"
)

// await raises the receipts' levels as far as was asked for and as the wait
// allows, which is one timeout for all of them. It never fails: the events are
// accepted, and the level in a receipt says how far its event is known to have
// come.
func (g *Gateway) await(ctx context.Context, requests []Request, receipts []bloodbank.Receipt) {
	ctx, cancel := context.WithTimeout(ctx, g.o.WaitTimeout)
	defer cancel()
	for i := range receipts {
		g.awaitOne(ctx, requests[i].Ack, &receipts[i])
	}
}

func (g *Gateway) awaitOne(ctx context.Context, level bloodbank.AckLevel, receipt *bloodbank.Receipt) {
	switch level {
	case bloodbank.AckBus:
		// A duplicate that has left the log left it because the bus has it.
		if receipt.Sequence == 0 || g.o.Progress.Confirmed(ctx, receipt.Sequence) == nil {
			receipt.Ack = bloodbank.AckBus
		}
	case bloodbank.AckStored:
		if g.o.Progress.Stored(ctx, receipt.EventID) == nil {
			receipt.Ack = bloodbank.AckStored
		} else if receipt.Sequence != 0 && g.o.Progress.Confirmed(ended(ctx), receipt.Sequence) == nil {
			receipt.Ack = bloodbank.AckBus
		}
	}
}

// ended returns a context that is over, for a question that must not wait.
func ended(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}
