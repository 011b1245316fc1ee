package voice

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
)

// ErrMissed tells a [Follower] that updates are gone which it has not read. It can go
// on with what is left; every final is an event and can be found as such.
var ErrMissed = errors.New("voice: updates were missed; the events hold every final")

// keepUpdates is how many updates a session keeps for followers that are late or away:
// over a thousand utterances, whatever the session's length.
const keepUpdates = 4096

// feed keeps what a session tells. It never waits for a reader.
type feed struct {
	mu      sync.Mutex
	kept    []numbered
	next    uint64 // number of the next update
	gone    uint64 // updates below this number were dropped
	ended   bool
	changed chan struct{} // closed and replaced when there is news
}

// numbered is an update with its place. Interim texts are replaced, so places have gaps.
type numbered struct {
	place uint64
	Update
}

func newFeed() *feed { return &feed{changed: make(chan struct{})} }

// tell adds an update. An interim text takes the place of the one before, and the
// outcome of an utterance that of its last interim text.
func (f *feed) tell(u Update) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if u.Kind == KindInterim || u.Kind == KindFinal || u.Kind == KindFailed {
		u.Revision += f.forget(u.Utterance)
	}
	if len(f.kept) == keepUpdates {
		drop := keepUpdates / 4 // many at once, since it moves the rest
		f.gone = f.kept[drop-1].place + 1
		f.kept = slices.Delete(f.kept, 0, drop)
	}
	f.kept = append(f.kept, numbered{f.next, u})
	f.next++
	f.wake()
}

// forget takes out the utterance's interim text and returns its revision.
func (f *feed) forget(utterance int) (revision int) {
	for i := len(f.kept) - 1; i >= 0 && i >= len(f.kept)-16; i-- {
		if k := f.kept[i]; k.Kind == KindInterim && k.Utterance == utterance {
			f.kept = slices.Delete(f.kept, i, i+1)
			return k.Revision
		}
	}
	return 0
}

func (f *feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.wake()
}

func (f *feed) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// after returns the first update at or behind place, or a channel that tells of the next.
func (f *feed) after(place uint64) (u numbered, ok bool, changed <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if place < f.gone {
		return numbered{place: f.gone - 1}, false, nil, ErrMissed
	}
	i, _ := slices.BinarySearchFunc(f.kept, place, func(n numbered, place uint64) int { return cmp.Compare(n.place, place) })
	switch {
	case i < len(f.kept):
		return f.kept[i], true, nil, nil
	case f.ended:
		return numbered{}, false, nil, io.EOF
	}
	return numbered{}, false, f.changed, nil
}

// Follower reads what a session tells. It is for one goroutine.
type Follower struct {
	feed  *feed
	place uint64
	after int
}

// Next waits for the next update. After the session's last one it returns [io.EOF];
// with [ErrMissed] it has skipped some and can be called again; else ctx's error.
func (f *Follower) Next(ctx context.Context) (Update, error) {
	for {
		n, ok, changed, err := f.feed.after(f.place)
		switch {
		case errors.Is(err, ErrMissed):
			f.place = n.place + 1
			return Update{}, err
		case err != nil:
			return Update{}, err
		case ok:
			f.place = n.place + 1
			if n.Utterance > f.after || n.Kind == KindAway || n.Kind == KindBack {
				return n.Update, nil
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Update{}, context.Cause(ctx)
		}
	}
}
