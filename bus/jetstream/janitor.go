package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// janitor purges what is both old and acknowledged by all. It stands in for the
// limits of the stream, which would not ask whether anybody has read it.
func (b *Bus) janitor() {
	for pause(b.ctx, b.opts.PurgeEvery) {
		ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
		_, err := b.purge(ctx, time.Now().Add(-b.opts.MaxAge))
		cancel()
		if err != nil && b.ctx.Err() == nil {
			b.opts.Logger.Warn("old messages stay for now", "err", err)
		}
	}
}

// purge removes the messages that were stored before then and that every
// durable consumer has acknowledged. It returns the first sequence that stays,
// 0 when nothing may go.
func (b *Bus) purge(ctx context.Context, then time.Time) (uint64, error) {
	s, err := b.js.Stream(ctx, Stream)
	if err != nil {
		return 0, fmt.Errorf("jetstream: purge: %w", err)
	}
	floor, complete, err := ackedBelow(ctx, s, b.opts.KeepFor)
	if err != nil {
		return 0, err
	}
	info := s.CachedInfo()
	if b.far != nil {
		for _, w := range warnings(info.Config, info.State, floor, time.Now()) {
			b.opts.Logger.Warn("the stream nears a limit", "stream", Stream, "what", w)
		}
		if info.Config.Description != madeByUs {
			return 0, nil // its owner decides what goes
		}
	}
	if floor == 0 || !complete {
		return 0, nil
	}
	young, err := b.firstSince(ctx, then)
	if err != nil {
		return 0, err
	}
	keep := min(floor, young)
	if keep <= s.CachedInfo().State.FirstSeq {
		return 0, nil
	}
	if err := s.Purge(ctx, jetstream.WithPurgeSequence(keep)); err != nil {
		return 0, fmt.Errorf("jetstream: purge: %w", err)
	}
	return keep, nil
}

// ackedBelow is the first sequence that some durable consumer has not
// acknowledged, 0 when there is none; complete says that all of needed are there.
func ackedBelow(ctx context.Context, s jetstream.Stream, needed []string) (floor uint64, complete bool, err error) {
	list := s.ListConsumers(ctx)
	var seen []string
	for info := range list.Info() {
		if info.Config.Durable == "" {
			continue
		}
		next := info.AckFloor.Stream + 1
		if len(seen) == 0 || next < floor {
			floor = next
		}
		seen = append(seen, info.Config.Durable)
	}
	if err := list.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return 0, false, fmt.Errorf("jetstream: purge: %w", err)
	}
	for _, group := range needed {
		if !slices.Contains(seen, group) {
			return floor, false, nil
		}
	}
	return floor, true, nil
}

// firstSince is the sequence of the first message stored at or after then. A
// consumer that would start there knows it, without reading anything.
func (b *Bus) firstSince(ctx context.Context, then time.Time) (uint64, error) {
	c, err := b.js.CreateConsumer(ctx, Stream, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartTimePolicy,
		OptStartTime:      &then,
		AckPolicy:         jetstream.AckNonePolicy,
		HeadersOnly:       true,
		MemoryStorage:     true,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return 0, fmt.Errorf("jetstream: purge: %w", err)
	}
	info := c.CachedInfo()
	if err := b.js.DeleteConsumer(ctx, Stream, info.Name); err != nil {
		return 0, fmt.Errorf("jetstream: purge: %w", err)
	}
	return info.Delivered.Stream + 1, nil
}
