package recorder

import (
	"context"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
)

// LinkRebuilder is a [LinkKeeper] that can say what it lacks.
type LinkRebuilder interface {
	LinkKeeper
	// Missing returns how many links of events are not there.
	Missing(ctx context.Context, events ...bloodbank.Envelope) (int, error)
	// Forget removes a position.
	Forget(ctx context.Context, name string) error
}

// RebuildOptions configure [RebuildLinks]. Source and Keeper are required.
type RebuildOptions struct {
	Source LinkSource
	Keeper LinkRebuilder
	// MaxAge and MaxBatch are as in [LinksOptions].
	MaxAge   time.Duration
	MaxBatch int
	// Progress is called after each batch: how far it has come, as a sequence, of
	// the newest one. It may be nil.
	Progress func(at, last int64)
	// DryRun counts what is missing, and writes nothing.
	DryRun bool
}

// Rebuilt says what [RebuildLinks] has done.
type Rebuilt struct {
	// Events were read. Those that are too old for the keeper may be left out.
	Events int64 `json:"events"`
	// Links are events with parents that the keeper should have.
	Links int64 `json:"links"`
	// Written were missing; in a dry run they still are.
	Written int64 `json:"written"`
	// Resumed says that a rebuild before this one was broken off, and this one
	// went on there.
	Resumed bool `json:"resumed,omitempty"`
}

// RebuildLinks writes all links of a store that the keeper does not have. It adds
// only: what stands there already, whoever wrote it, stays. So it may run beside
// a server and beside the original's services, and any number of times. Broken
// off, it goes on there the next time. It holds one batch in memory.
func RebuildLinks(ctx context.Context, o RebuildOptions) (r Rebuilt, err error) {
	if o.MaxBatch <= 0 {
		o.MaxBatch = 500
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	keeper := o.Keeper
	if o.DryRun {
		keeper = dry{o.Keeper}
	}
	// It has a position of its own, so that it does not move that of a server.
	t := trail{source: o.Source, keeper: keeper, maxAge: o.MaxAge, batch: o.MaxBatch, suffix: ":rebuild"}
	last, err := o.Source.Last(ctx)
	if err != nil {
		return r, err
	}
	for first := true; ; first = false {
		s, err := t.step(ctx)
		if err != nil {
			return r, err
		}
		if s.events > 0 {
			r.Resumed = r.Resumed || first && t.resumed
			r.Events += int64(s.events)
			r.Links += int64(s.links)
			r.Written += int64(s.written)
		}
		o.Progress(min(s.at, last), last)
		// What came since the beginning is the server's business, which may write
		// faster than this goes.
		if s.end || s.at >= last {
			break
		}
	}
	if t.name == "" {
		return r, nil
	}
	return r, keeper.Forget(ctx, t.name)
}

// dry is a keeper that only counts, and takes every position for granted.
type dry struct{ LinkRebuilder }

func (dry) Position(context.Context, string) (p correlation.Position, err error) { return p, nil }

func (d dry) Keep(ctx context.Context, _ string, _, to correlation.Position, events ...bloodbank.Envelope) (correlation.Kept, error) {
	n, err := d.Missing(ctx, events...)
	return correlation.Kept{Position: to, Written: n}, err
}

func (dry) Forget(context.Context, string) error { return nil }
