package recorder

import (
	"context"
	"sort"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
)

// ageMargin is how much older than the rest of the store an event may be for a
// clock that was set wrong.
const ageMargin = 24 * time.Hour

// trail is a way through a store, with its position in a keeper. It is for one
// goroutine.
type trail struct {
	source LinkSource
	keeper LinkKeeper
	maxAge time.Duration
	batch  int
	suffix string // of the name, for those who are not the store's follower

	lost bool                 // the position must be looked up, though there is one
	name string               // of the position, "" until there is one
	held correlation.Position // what the keeper has noted
	at   int64                // what we have read up to

	resumed bool // it was found in the middle of the store
}

// step is what one step of a trail came to.
type step struct {
	at        int64
	end       bool // there is no more
	restarted bool // the keeper has lost how far we had come
	events    int  // that were read
	links     int  // of those that are young enough
	written   int
}

// step takes the next batch.
func (t *trail) step(ctx context.Context) (s step, err error) {
	if t.name == "" || t.lost {
		before := t.at
		found, err := t.locate(ctx)
		if err != nil || !found {
			return step{end: true}, err
		}
		s.restarted = t.at < before
	}
	events, err := t.source.After(ctx, t.at, t.batch)
	if err != nil {
		return s, err
	}
	s.events = len(events)
	if s.end = len(events) == 0; s.end {
		s.at = t.at
		return s, nil
	}
	last := events[len(events)-1]
	to := correlation.Position{Sequence: last.Sequence, Event: last.Envelope.EventID}
	var young []bloodbank.Envelope
	for i := range events {
		if e := &events[i]; len(e.Envelope.CorrelationIDs) > 0 && !t.tooOld(e.StoredAt, 0) {
			young = append(young, e.Envelope)
		}
	}
	kept, err := t.keeper.Keep(ctx, t.name, t.held, to, young...)
	s.written, s.links = kept.Written, len(young)
	if err != nil {
		t.lost = true // it may have been moved in spite of the error
		return s, err
	}
	if kept.Position != to {
		// Somebody else has moved it, or everything was lost: look again.
		t.lost = true
		s.at, s.events, s.links = t.at, 0, 0
		return s, nil
	}
	t.held, t.at = to, to.Sequence
	s.at = t.at
	return s, nil
}

// tooOld reports whether the keeper would have let go of something this old.
func (t *trail) tooOld(at time.Time, margin time.Duration) bool {
	return t.maxAge > 0 && !at.IsZero() && time.Since(at) > t.maxAge+margin
}

// locate finds where to go on. The store is known by its first event; an empty
// one has nothing to go through yet. A position that is not one of this store,
// since it was made anew or restored from an old copy, counts as none.
func (t *trail) locate(ctx context.Context) (found bool, err error) {
	first, err := t.source.After(ctx, 0, 1)
	if err != nil {
		return false, err
	}
	if len(first) == 0 {
		t.name, t.at = "", 0
		return false, nil
	}
	name := first[0].Envelope.EventID.String() + t.suffix
	held, err := t.keeper.Position(ctx, name)
	if err != nil {
		return false, err
	}
	at := held.Sequence
	if at > 0 {
		there, err := t.source.After(ctx, at-1, 1)
		if err != nil {
			return false, err
		}
		if len(there) == 0 || there[0].Sequence != at || there[0].Envelope.EventID != held.Event {
			at = 0
		}
	}
	if t.resumed = at > 0; at == 0 {
		if at, err = t.firstYoung(ctx, first[0].Sequence-1); err != nil {
			return false, err
		}
	}
	t.name, t.held, t.at, t.lost = name, held, at, false
	return true, nil
}

// firstYoung returns a sequence, not below start, behind which nothing is missed:
// what lies up to it is too old. It takes a few looks, not a way through it all.
func (t *trail) firstYoung(ctx context.Context, start int64) (int64, error) {
	last, err := t.source.Last(ctx)
	if err != nil || t.maxAge <= 0 || last <= start {
		return start, err
	}
	n := sort.Search(int(last-start), func(i int) bool {
		if err != nil {
			return true
		}
		next, failed := t.source.After(ctx, start+int64(i), 1)
		err = failed
		return err != nil || len(next) == 0 || !t.tooOld(next[0].StoredAt, ageMargin)
	})
	return start + int64(n), err
}
