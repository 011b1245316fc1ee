package redis

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/correlation"
)

func child(id bloodbank.EventID, parents ...bloodbank.EventID) bloodbank.Envelope {
	return bloodbank.Envelope{EventID: id, CorrelationIDs: parents}
}

// TestKeepLeavesTheOriginalsValues: what a Python service has written stays as it
// is, with its metadata; a set that has lost a child gets it back.
func TestKeepLeavesTheOriginalsValues(t *testing.T) {
	t.Parallel()
	tracker, c, _ := setup(t, Options{})
	ids := newIDs(t, 6)
	a, b, theirs, other, ours := ids[0], ids[1], ids[2], ids[3], ids[4]
	value := forwardValue(ids[:1], time.Now(), json.RawMessage(`{"reason":"theirs"}`))
	must(c.Set(t.Context(), forwardKey(theirs), value, time.Hour).Result())(t) // but its set is gone
	moved := forwardValue([]bloodbank.EventID{b}, time.Now(), nil)
	must(c.Set(t.Context(), forwardKey(other), moved, time.Hour).Result())(t)
	must(c.SAdd(t.Context(), reverseKey(b), other.String()).Result())(t)
	to := correlation.Position{Sequence: 3, Event: ours}
	events := []bloodbank.Envelope{child(a), child(theirs, a), child(other, a), child(ours, a, b)}
	if n := must(tracker.Missing(t.Context(), events...))(t); n != 1 {
		t.Errorf("%d are missing, want 1", n)
	}
	for round, want := range []int{1, 0} {
		kept := must(tracker.Keep(t.Context(), "store", correlation.Position{}, to, events...))(t)
		if kept.Written != want || kept.Position != to {
			t.Fatalf("round %d: %+v", round, kept)
		}
		must(c.Del(t.Context(), positionPrefix+"store").Result())(t)
	}
	for key, want := range map[string]string{forwardKey(theirs): value, forwardKey(other): moved} {
		if got := must(c.Get(t.Context(), key).Result())(t); got != want {
			t.Errorf("%s was changed to %s", key, got)
		}
		if ttl := must(c.TTL(t.Context(), key).Result())(t); ttl > time.Hour {
			t.Errorf("%s lives longer now: %s", key, ttl)
		}
	}
	for parent, want := range map[bloodbank.EventID][]bloodbank.EventID{a: {theirs, ours}, b: {other, ours}} {
		got := must(tracker.Children(t.Context(), parent))(t)
		slices.SortFunc(got, func(x, y bloodbank.EventID) int { return strings.Compare(x.String(), y.String()) })
		if !slices.Equal(got, want) {
			t.Errorf("children %v, want %v", got, want)
		}
	}
}

// TestKeepMovesThePosition: only from where it was; rubbish counts as none, and
// it expires with the links.
func TestKeepMovesThePosition(t *testing.T) {
	t.Parallel()
	tracker, c, _ := setup(t, Options{})
	ids := newIDs(t, 3)
	none := correlation.Position{}
	first, second := correlation.Position{Sequence: 1, Event: ids[0]}, correlation.Position{Sequence: 20, Event: ids[1]}
	position := func() correlation.Position {
		t.Helper()
		return must(tracker.Position(t.Context(), "store"))(t)
	}
	if position() != none {
		t.Error("there is a position before the first")
	}
	must(c.Set(t.Context(), positionPrefix+"store", "rubbish", 0).Result())(t)
	if position() != none {
		t.Error("rubbish is a position")
	}
	for _, step := range []struct{ from, to, now correlation.Position }{
		{none, first, first}, {none, second, first}, {second, first, first}, {first, second, second}, {second, second, second},
	} {
		kept := must(tracker.Keep(t.Context(), "store", step.from, step.to))(t)
		if kept.Position != step.now || position() != step.now {
			t.Errorf("%+v: it is at %+v", step, kept.Position)
		}
	}
	if ttl := must(c.TTL(t.Context(), positionPrefix+"store").Result())(t); ttl <= DefaultTTL-time.Minute || ttl > DefaultTTL {
		t.Errorf("it lives for %s", ttl)
	}
	if got := must(tracker.Position(t.Context(), "another"))(t); got != none {
		t.Errorf("another store is at %+v", got)
	}
	if err := tracker.Forget(t.Context(), "store"); err != nil || position() != none {
		t.Errorf("%v, still at %+v", err, position())
	}
}
