package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/33god/bloodbank/store"
	"github.com/33god/bloodbank/store/storetest"
)

// The write-ahead file is folded into the main file beside the writer, without a
// close and long before the writer would do it itself.
func TestCheckpointBesideTheWriter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "events.db")
	s, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	size := func() int64 {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	before := size()
	if _, err := s.Append(t.Context(), store.Batch{Events: storetest.Samples(t, 0, 500)}); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for size() <= before {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the main file still has %d bytes", before)
		}
	}
}

// An error is told once, not with every attempt, and again after it was mended.
func TestCheckpointErrorsAreToldOnce(t *testing.T) {
	t.Parallel()
	var told []string
	c := &checkpointer{failed: func(err error) { told = append(told, err.Error()) }}
	var last error
	full, locked := errors.New("full"), errors.New("locked")
	for _, err := range []error{nil, full, full, locked, nil, full} {
		c.report(&last, err)
	}
	if len(told) != 3 || told[0] != "full" || told[1] != "locked" || told[2] != "full" {
		t.Errorf("told %q", told)
	}
}
