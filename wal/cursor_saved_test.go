package wal

import (
	"testing"
	"time"
)

// A follower asks when its position was written down, to know what may have
// happened since; and bb wal replay sets it back.
func TestCursorSavedAtAndRewind(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 27, 10, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	open := func() (*Log, *Cursor) {
		l, err := Open(t.Context(), Options{Dir: dir, SegmentSize: 1 << 20, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		c, err := l.Cursor("bus")
		if err != nil {
			t.Fatal(err)
		}
		return l, c
	}
	l, c := open()
	if !c.SavedAt().IsZero() {
		t.Errorf("a new cursor says it was saved at %s", c.SavedAt())
	}
	for range 3 {
		if _, err := l.Append(t.Context(), []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
	}
	c.Advance(3)
	if err := c.Rewind(t.Context(), 4); err == nil {
		t.Error("a cursor went forward by Rewind")
	}
	if err := c.Rewind(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	l, c = open()
	if c.Position() != 1 || !c.SavedAt().Equal(now.Add(-time.Hour)) {
		t.Errorf("after reopening: position %d, saved at %s", c.Position(), c.SavedAt())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
