package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/33god/bloodbank"
)

const recallBatch = 1000

// Recall returns the ids of the messages that the broker took since then and
// still holds. It reads headers only, over a consumer of its own that touches
// no group; memory grows with the number of ids.
func (b *Bus) Recall(ctx context.Context, since time.Time) (map[bloodbank.EventID]struct{}, error) {
	c, err := b.js.CreateConsumer(ctx, Stream, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartTimePolicy,
		OptStartTime:      &since,
		AckPolicy:         jetstream.AckNonePolicy,
		HeadersOnly:       true,
		MemoryStorage:     true,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return nil, fmt.Errorf("jetstream: cannot read back the stored ids: %w", err)
	}
	info := c.CachedInfo()
	ids, err := readIDs(ctx, c, info.NumPending)
	drop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = b.js.DeleteConsumer(drop, Stream, info.Name) // it would go by itself after a minute
	if err != nil {
		return nil, fmt.Errorf("jetstream: cannot read back the stored ids: %w", err)
	}
	return ids, nil
}

// readIDs reads until the server says that nothing is pending, or fails: a
// result with holes would make the log send again what is there.
func readIDs(ctx context.Context, c jetstream.Consumer, pending uint64) (map[bloodbank.EventID]struct{}, error) {
	ids := make(map[bloodbank.EventID]struct{}, pending)
	for expect := uint64(1); pending > 0; {
		batch, err := c.Fetch(int(min(pending, recallBatch)), jetstream.FetchContext(ctx))
		if err != nil {
			return nil, err
		}
		got := 0
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				return nil, err
			}
			if meta.Sequence.Consumer != expect {
				return nil, errors.New("messages were lost on the way; ask again")
			}
			expect++
			got++
			pending = meta.NumPending
			if id, err := bloodbank.ParseEventID(m.Headers().Get(headerID)); err == nil {
				ids[id] = struct{}{}
			}
		}
		if err := errors.Join(batch.Error(), ctx.Err()); err != nil {
			return nil, err
		}
		if got == 0 {
			return nil, errors.New("the server sent nothing; ask again")
		}
	}
	return ids, nil
}
