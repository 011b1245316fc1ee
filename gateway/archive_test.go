package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank"
)

func TestArchiveIsAskedOnlyWhereItMayKnow(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) bloodbank.EventID {
		ms := uint64(now().Add(d).UnixMilli())
		return bloodbank.EventID{byte(ms >> 40), byte(ms >> 32), byte(ms >> 24), byte(ms >> 16), byte(ms >> 8), byte(ms), 0x70, 0, 0x80, 1}
	}
	tests := []struct {
		name string
		id   bloodbank.EventID
		want int
	}{
		{"no id given", bloodbank.EventID{}, 0},
		{"an id that tells no time", oldID(1), 1},
		{"made before we remember", at(-time.Hour), 1},
		{"made about when we began to remember", at(30 * time.Second), 1},
		{"made since", at(2 * time.Minute), 0},
		{"made in the future", at(time.Hour), 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := &fakeArchive{}
			clock := now()
			g, _ := setup(t, func(o *Options) { o.Archive = a; o.Now = func() time.Time { return clock } })
			g.recent.steady = func() time.Duration { return clock.Sub(now()) }
			clock = clock.Add(2 * time.Minute)
			if _, err := g.Accept(t.Context(), demo(tt.id)); err != nil {
				t.Fatal(err)
			}
			if a.count() != tt.want {
				t.Errorf("asked %d times, want %d", a.count(), tt.want)
			}
		})
	}
}

// A store that is down costs one timeout, not one per event, and no event.
func TestArchiveDown(t *testing.T) {
	t.Parallel()
	for _, hang := range []bool{false, true} {
		t.Run(fmt.Sprintf("hangs %v", hang), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := &fakeArchive{err: errors.New("no database"), hang: hang, ids: []bloodbank.EventID{oldID(200)}}
				var logs strings.Builder
				g, log := setup(t, func(o *Options) {
					o.Archive, o.Now = a, time.Now
					o.Logger = slog.New(slog.NewTextHandler(&logs, nil))
				})
				begin := time.Now()
				for i := range byte(100) {
					if r, err := g.Accept(t.Context(), demo(oldID(i))); err != nil || r.Duplicate {
						t.Fatalf("%+v %v", r, err)
					}
				}
				if took := time.Since(begin); took > archiveTimeout || a.count() != 1 {
					t.Errorf("100 events took %v and asked %d times", took, a.count())
				}
				if n := strings.Count(logs.String(), "\n"); n != 1 {
					t.Errorf("%d lines in the log", n)
				}
				a.mu.Lock()
				a.err, a.hang = nil, false
				a.mu.Unlock()
				<-time.After(archiveRest) // virtual time
				if r, err := g.Accept(t.Context(), demo(oldID(200))); err != nil || !r.Duplicate {
					t.Errorf("not asked again: %+v %v", r, err)
				}
				log.CheckAll(t)
			})
		})
	}
}

func TestRecentIsBounded(t *testing.T) {
	t.Parallel()
	clock := now()
	r := newRecent(10, clock)
	r.steady = func() time.Duration { return clock.Sub(now()) }
	id := func(i int) bloodbank.EventID { return bloodbank.EventID{byte(i >> 8), byte(i), 1} }
	for i := range 1000 {
		clock = clock.Add(time.Second)
		r.add(id(i), uint64(i+1), clock)
		if n := len(r.young) + len(r.old); n > 20 || i >= 20 && n <= 10 {
			t.Fatalf("%d ids after %d", n, i+1)
		}
		for back := range min(i+1, 10) {
			if seq, known := r.lookupLocked(id(i - back)); !known || seq != uint64(i-back+1) {
				t.Fatalf("%d of the newest is not known after %d", back, i+1)
			}
		}
		oldest := r.since // whoever came from here on must be known
		for j := range i + 1 {
			came := now().Add(time.Duration(j+1) * time.Second)
			if _, known := r.lookupLocked(id(j)); !known && !came.Before(oldest) {
				t.Fatalf("id %d came at %v, is not known, but since is %v", j, came, oldest)
			}
		}
	}
	r.add(id(999), 5, clock)
	if seq, _ := r.lookupLocked(id(999)); seq != 1000 {
		t.Errorf("the first sequence was lost: %d", seq)
	}
}
