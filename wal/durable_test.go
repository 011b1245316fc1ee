package wal_test

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/33god/bloodbank/wal"
	"github.com/33god/bloodbank/wal/vfs"
)

// worst is a power cut after which nothing is there that was not synced.
func worst() vfs.Crash { return vfs.Crash{Rand: rand.New(rand.NewPCG(1, 1))} }

// TestFoldersAboveTheLogAreDurable makes a log in a folder below folders that did not exist, and cuts the power after
// the first append. A process may also die between making them and syncing them.
func TestFoldersAboveTheLogAreDurable(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"/srv/bloodbank/data/wal", "data/bloodbank/wal"} {
		m := vfs.NewMem()
		if err := m.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
		m = m.KillClone()
		o := memOptions(m)
		o.Dir = dir
		l := mustOpen(t, o)
		if _, err := l.Append(t.Context(), []byte(`{"first":1}`)); err != nil {
			t.Fatal(err)
		}
		o.FS = m.CrashClone(worst())
		mustClose(t, l)
		l = mustOpen(t, o)
		if found := readAll(t, l); found[1] != `{"first":1}` {
			t.Errorf("%s: after the power cut there is %v", dir, found)
		}
		mustClose(t, l)
	}
}

// TestFailedFsyncIsNotBelievedByTheNextProcess has an fsync fail and the system keep what it did not write: it is read
// back, and the next fsync says yes. A process that dies then must not hand such bytes on as durable.
func TestFailedFsyncIsNotBelievedByTheNextProcess(t *testing.T) {
	t.Parallel()
	for _, before := range []int{0, 3} {
		m, g := vfs.NewMem(), newLedger()
		l := mustOpen(t, memOptions(m))
		settled(t, l)
		for i := range before {
			if err := g.append(t.Context(), t, l, fmt.Sprintf(`{"i":%d}`, i)); err != nil {
				t.Fatal(err)
			}
		}
		failOnce(m, vfs.OpSync, vfs.Fault{Err: syscall.EIO, Drop: true})
		wantError(t, g.append(t.Context(), t, l, `{"not":"on disk"}`), syscall.EIO)
		killed := m.KillClone()
		mustClose(t, l)

		l = mustOpen(t, memOptions(killed))
		shown := g.check(t, l)
		g.adopt(shown)
		reopenAndCheck(t, killed.CrashClone(worst()), g.copy())
		mustClose(t, l)
	}
}

// TestArchivedRecordsAreNeverNowhere cuts the power at every step while drained segments are archived: every record is
// in a segment or in an archive.
func TestArchivedRecordsAreNeverNowhere(t *testing.T) {
	t.Parallel()
	m, rng := vfs.NewMem(), rand.New(rand.NewPCG(4, 4))
	o := memOptions(m)
	o.RetainBytes = 1 << 30
	l := mustOpen(t, o)
	for i := range 60 {
		if _, err := l.Append(t.Context(), fmt.Appendf(nil, `{"i":%d,"pad":"%0200d"}`, i, i)); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, l)
	var clones []*vfs.Mem
	m.SetHook(func(op vfs.Op) vfs.Fault {
		if op.Kind.Changes() {
			for _, keep := range []float64{0, 0.3, 0.5, 0.7} {
				clones = append(clones, m.CrashClone(vfs.Crash{Rand: rng, Keep: keep}))
			}
		}
		return vfs.Fault{}
	})
	if err := l.Truncate(t.Context(), l.Last()); err != nil {
		t.Fatal(err)
	}
	settled(t, l)
	m.SetHook(nil)
	mustClose(t, l)
	if len(clones) < 100 {
		t.Fatalf("only %d moments", len(clones))
	}
	for i, clone := range clones {
		report, err := wal.Inspect(t.Context(), clone, "/log")
		if err != nil {
			t.Fatal(err)
		}
		there := map[uint64]bool{}
		for _, s := range report.Segments {
			for seq := s.First; seq <= s.Last && seq > 0; seq++ {
				there[seq] = true
			}
		}
		for _, a := range report.Archives {
			for seq := a.First; seq <= a.Last; seq++ {
				there[seq] = true
			}
		}
		if len(there) != 60 {
			t.Fatalf("clone %d: %d records of 60 are in segments or archives: %+v, %+v", i, len(there), report.Segments, report.Archives)
		}
	}
}
