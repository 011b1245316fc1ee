package jetstream

import (
	"context"
	"testing"
	"time"

	"github.com/33god/bloodbank/bus"
)

func TestJanitorKeepsWhatSomebodyNeeds(t *testing.T) {
	t.Parallel()
	b := open(t, Options{Dir: t.TempDir(), KeepFor: []string{"recorder"}})
	demand := func(what string, then time.Time, want int) {
		t.Helper()
		if _, err := b.purge(t.Context(), then); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if n := stored(t, b); n != want {
			t.Fatalf("%s: %d messages stored, want %d", what, n, want)
		}
	}
	old := time.Now()
	confirm(t, b, 10)
	middle := time.Now()
	confirm(t, b, 10)
	all := time.Now()
	demand("no group at all", all, 20)
	drain(t, b, "other", 20)
	demand("the recorder was never there", all, 20)
	drainSome(t, b, "recorder", 5)
	demand("nothing is old", old, 20)
	demand("the recorder has 5", all, 15)
	drain(t, b, "recorder", 15)
	demand("ten are old", middle, 10)
	demand("all are old and read", all, 0)
	confirm(t, b, 3)
	demand("a new message is unread", time.Now(), 3)
	if got := drain(t, b, "recorder", 3); got[0].Attempt != 1 {
		t.Errorf("attempt %d", got[0].Attempt)
	}
}

func TestJanitorRunsByItself(t *testing.T) {
	t.Parallel()
	b := open(t, Options{Dir: t.TempDir(), MaxAge: time.Nanosecond, PurgeEvery: 10 * time.Millisecond})
	confirm(t, b, 10)
	drain(t, b, "g", 10)
	deadline := time.Now().Add(30 * time.Second)
	for stored(t, b) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("nothing was purged")
		}
		<-time.After(5 * time.Millisecond)
	}
}

// drainSome consumes n messages, one at a time.
func drainSome(t *testing.T, b *Bus, group string, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := b.Consume(ctx, bus.Consumer{Group: group, MaxBatch: 1}, func(context.Context, []bus.Delivery) error {
		if n--; n == 0 {
			cancel()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
