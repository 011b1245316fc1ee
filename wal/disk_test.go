package wal_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/33god/bloodbank/wal"
	"github.com/33god/bloodbank/wal/vfs"
)

// TestDiskFullWhenASegmentIsMade has no room for the file, or for the name, of the next segment. Without a rename there
// are no segments filled ahead, and appends only become slower.
func TestDiskFullWhenASegmentIsMade(t *testing.T) {
	t.Parallel()
	for _, kind := range []vfs.OpKind{vfs.OpCreate, vfs.OpSyncDir, vfs.OpRename} {
		m, g := vfs.NewMem(), newLedger()
		l := mustOpen(t, memOptions(m))
		settled(t, l)
		var full atomic.Bool
		full.Store(true)
		m.SetHook(func(op vfs.Op) vfs.Fault {
			if full.Load() && op.Kind == kind {
				return vfs.Fault{Err: syscall.ENOSPC}
			}
			return vfs.Fault{}
		})
		record := func(i int) string { return fmt.Sprintf(`{"i":%d,"pad":"%0300d"}`, i, i) }
		i, refused := 0, 0
		for ; i < 100 && refused < 3; i++ {
			if err := g.append(t.Context(), t, l, record(i)); err != nil {
				wantError(t, err, wal.ErrFull)
				refused++
			}
		}
		if (refused == 0) != (kind == vfs.OpRename) {
			t.Fatalf("%s: %d refused", kind, refused)
		}
		reopenAndCheck(t, m.CrashClone(worst()), g.copy())
		full.Store(false)
		for range 40 {
			i++
			if err := g.append(t.Context(), t, l, record(i)); err != nil {
				t.Fatalf("%s: with room again: %v", kind, err)
			}
		}
		g.check(t, l)
		mustClose(t, l)
		reopenAndCheck(t, m, g)
	}
}

// TestDiskFullWhenACursorIsWritten refuses to say that the position is on disk, and goes on with everything else. What
// was there before stays; the follower sees records again, and misses none.
func TestDiskFullWhenACursorIsWritten(t *testing.T) {
	t.Parallel()
	for _, kind := range []vfs.OpKind{vfs.OpCreate, vfs.OpWrite, vfs.OpSync, vfs.OpRename, vfs.OpSyncDir} {
		m, g := vfs.NewMem(), newLedger()
		l := mustOpen(t, memOptions(m))
		settled(t, l)
		c, err := l.Cursor("follower")
		if err != nil {
			t.Fatal(err)
		}
		add := func(i int) {
			if err := g.append(t.Context(), t, l, fmt.Sprintf(`{"i":%d}`, i)); err != nil {
				t.Fatal(err)
			}
			c.Advance(l.Last())
		}
		add(1)
		if err := c.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.SetHook(func(op vfs.Op) vfs.Fault {
			if op.Kind == kind && strings.HasPrefix(op.Path, "/log/cursors") {
				return vfs.Fault{Err: syscall.ENOSPC, Short: 5}
			}
			return vfs.Fault{}
		})
		add(2)
		wantError(t, c.Sync(t.Context()), wal.ErrFull)
		add(3)
		for _, keep := range []float64{0, 0.5, 1} {
			o := memOptions(m.CrashClone(vfs.Crash{Rand: rand.New(rand.NewPCG(1, 1)), Keep: keep}))
			after := mustOpen(t, o)
			found, err := after.Cursor("follower")
			if err != nil || found.Position() < 1 || found.Position() > 3 {
				t.Errorf("%s: after a power cut the cursor is at %d, %v", kind, found.Position(), err)
			}
			g.copy().check(t, after)
			mustClose(t, after)
		}
		m.SetHook(nil)
		if err := c.Sync(t.Context()); err != nil {
			t.Errorf("%s: with room again: %v", kind, err)
		}
		mustClose(t, l)
	}
}

// TestReadErrorSkipsNothing has a read fail once under a reader, and under Open: both say so, and neither takes good
// records for damage.
func TestReadErrorSkipsNothing(t *testing.T) {
	t.Parallel()
	d, g := sixty(t)
	for n := int64(1); ; n++ {
		l := mustOpen(t, memOptions(d.m))
		var reads atomic.Int64
		d.m.SetHook(func(op vfs.Op) vfs.Fault {
			if op.Kind == vfs.OpRead && reads.Add(1) == n {
				return vfs.Fault{Err: syscall.EIO}
			}
			return vfs.Fault{}
		})
		r, err := l.NewReader(0)
		if err != nil {
			t.Fatal(err)
		}
		failed, next := 0, uint64(1)
		for next <= 60 {
			record, ok, err := r.TryNext()
			if err != nil {
				wantError(t, err, syscall.EIO)
				failed++
				continue
			}
			if !ok || record.Seq != next || string(record.Data) != g.acked[next] {
				t.Fatalf("read %d failed: record %d is %d %q, %v", n, next, record.Seq, record.Data, ok)
			}
			next++
		}
		d.m.SetHook(nil)
		faults := len(l.Status().Faults)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		mustClose(t, l)
		if failed > 1 || faults > 0 {
			t.Fatalf("read %d: failed %d times, %d faults", n, failed, faults)
		}
		if failed == 0 {
			break
		}
	}
	d.m.SetHook(func(op vfs.Op) vfs.Fault {
		if op.Kind == vfs.OpRead {
			return vfs.Fault{Err: syscall.EIO}
		}
		return vfs.Fault{}
	})
	_, err := wal.Open(t.Context(), memOptions(d.m))
	wantError(t, err, syscall.EIO)
	d.m.SetHook(nil)
	reopenAndCheck(t, d.m, g)
}

// TestFailedFsyncIsNeverTriedAgain watches the file whose fsync failed once and would succeed from then on.
func TestFailedFsyncIsNeverTriedAgain(t *testing.T) {
	t.Parallel()
	m, g := vfs.NewMem(), newLedger()
	l := mustOpen(t, memOptions(m))
	settled(t, l)
	var path string
	var again []string
	m.SetHook(func(op vfs.Op) vfs.Fault {
		switch {
		case op.Kind != vfs.OpSync || !strings.HasSuffix(op.Path, ".jsonl"):
		case path == "":
			path = op.Path
			return vfs.Fault{Err: syscall.EIO, Drop: true}
		case op.Path == path:
			again = append(again, op.Path)
		}
		return vfs.Fault{}
	})
	wantError(t, g.append(t.Context(), t, l, `{"failed":1}`), syscall.EIO)
	for i := range 40 {
		if err := g.append(t.Context(), t, l, fmt.Sprintf(`{"i":%d,"pad":"%0200d"}`, i, i)); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, l)
	mustClose(t, l)
	if path == "" || len(again) > 0 {
		t.Errorf("%q was synced %d times after it had failed", path, len(again))
	}
	m.SetHook(nil)
	reopenAndCheck(t, m.CrashClone(worst()), g)
}

// TestClockJumpsInTheLog sets the clock by days, both ways, between every few appends: nothing is lost or stalls, and
// only archives, whose records have left the log, go by their age.
func TestClockJumpsInTheLog(t *testing.T) {
	t.Parallel()
	m, g := vfs.NewMem(), newLedger()
	var clock atomic.Int64
	clock.Store(time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).UnixNano())
	o := memOptions(m)
	o.RetainAge, o.Now = 7*24*time.Hour, func() time.Time { return time.Unix(0, clock.Load()) }
	l := mustOpen(t, o)
	kept := uint64(0) // records above it were not given away
	for i := range 120 {
		if err := g.append(t.Context(), t, l, fmt.Sprintf(`{"i":%d,"pad":"%0200d"}`, i, i)); err != nil {
			t.Fatal(err)
		}
		if i%10 != 9 {
			continue
		}
		days := []int64{5, -12, 400, -390, -3, 0}[i/10%6]
		clock.Add(days * int64(24*time.Hour))
		kept = l.Last() - 20
		if l.Last() < 20 {
			kept = 0
		}
		if err := l.Truncate(t.Context(), kept); err != nil {
			t.Fatal(err)
		}
		settled(t, l)
		if first := l.First(); first > kept+1 {
			t.Fatalf("the clock jumped %d days, and the log begins at %d; %d was kept", days, first, kept+1)
		}
		g.check(t, l)
		if i%30 == 29 {
			mustClose(t, l)
			l = mustOpen(t, o)
		}
	}
	mustClose(t, l)
	l = mustOpen(t, o)
	found := g.check(t, l)
	for seq := kept + 1; seq <= 120; seq++ {
		if found[seq] == "" {
			t.Errorf("record %d is gone", seq)
		}
	}
	mustClose(t, l)
}

// TestRetentionWithAClockSetBack keeps archives that seem to be made in the future.
func TestRetentionWithAClockSetBack(t *testing.T) {
	t.Parallel()
	m := vfs.NewMem()
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	o := memOptions(m)
	o.RetainAge, o.Now = time.Hour, func() time.Time { return now }
	archives := func() int {
		l := mustOpen(t, o)
		for i := range 40 {
			if _, err := l.Append(t.Context(), fmt.Appendf(nil, `{"i":%d,"pad":"%0200d"}`, i, i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Truncate(t.Context(), l.Last()); err != nil {
			t.Fatal(err)
		}
		settled(t, l)
		mustClose(t, l)
		report, err := wal.Inspect(t.Context(), m, "/log")
		if err != nil {
			t.Fatal(err)
		}
		return len(report.Archives)
	}
	before := archives()
	now = now.Add(-30 * 24 * time.Hour)
	if after := archives(); before == 0 || after <= before {
		t.Errorf("%d archives, and %d after the clock was set back", before, after)
	}
}
