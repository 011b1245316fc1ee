package gateway

import (
	"errors"
	"testing"
	"time"

	"github.com/33god/bloodbank"
)

// A machine that begins with a wrong clock and is set right: an id made under the right clock before it started may be
// in the store, although it is younger than what the wrong clock said at the start.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{5 * 24 * time.Hour, -5 * 24 * time.Hour, time.Hour} {
		made := now().Add(jump - 10*time.Minute) // by the clock after the jump
		ms := uint64(made.UnixMilli())
		id := bloodbank.EventID{byte(ms >> 40), byte(ms >> 32), byte(ms >> 24), byte(ms >> 16), byte(ms >> 8), byte(ms), 0x70, 0, 0x80, 9}
		a := &fakeArchive{ids: []bloodbank.EventID{id}}
		clock := now()
		g, log := setup(t, func(o *Options) { o.Archive = a; o.Now = func() time.Time { return clock } })
		clock = clock.Add(jump)
		if r, err := g.Accept(t.Context(), demo(id)); err != nil || !r.Duplicate {
			t.Errorf("jump %v: stored under the right clock, yet %+v %v", jump, r, err)
		}
		fresh := newID(t)
		for i := range 2 { // and what is accepted goes on to be known
			if r, err := g.Accept(t.Context(), demo(fresh)); err != nil || r.Duplicate != (i == 1) {
				t.Errorf("jump %v: time %d: %+v %v", jump, i, r, err)
			}
			clock = clock.Add(-jump)
		}
		log.CheckAll(t)
	}
}

// A store that failed is left alone for seconds, not for the days by which the clock is set back meanwhile.
func TestClockSetBackWhileTheArchiveRests(t *testing.T) {
	t.Parallel()
	a := &fakeArchive{err: errors.New("no database"), ids: []bloodbank.EventID{oldID(2)}}
	clock := now()
	g, _ := setup(t, func(o *Options) { o.Archive = a; o.Now = func() time.Time { return clock } })
	if _, err := g.Accept(t.Context(), demo(oldID(1))); err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	a.err = nil
	a.mu.Unlock()
	clock = clock.Add(-72 * time.Hour)
	if r, err := g.Accept(t.Context(), demo(oldID(2))); err != nil || !r.Duplicate {
		t.Errorf("the store works, and was not asked: %+v %v", r, err)
	}
}
