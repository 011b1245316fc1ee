package faultproxy

import (
	"testing"
	"time"
)

// eventually waits until yes, and ends the test after 30 s without. It is for
// what the other side of a socket does, which sends no signals here.
func eventually(tb testing.TB, what string, yes func() bool) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !yes() {
		select {
		case <-tick.C:
		case <-deadline:
			tb.Fatalf("after 30 s still not: %s", what)
		}
	}
}
