//go:build unix

package testenv

import (
	"testing"
	"time"
)

// Eventually waits until yes, and ends the test after 30 s without. It is for
// things outside of the process, which send no signals; it asks every 5 ms.
func Eventually(tb testing.TB, what string, yes func() bool) {
	tb.Helper()
	if !poll(30*time.Second, yes) {
		tb.Fatalf("after 30 s still not: %s", what)
	}
}
