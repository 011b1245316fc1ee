package wal_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/33god/bloodbank/wal"
	"github.com/33god/bloodbank/wal/vfs"
)

func TestReaderFollowsThroughRotationAndTruncation(t *testing.T) {
	t.Parallel()
	l := open(t, wal.Options{SegmentSize: small})
	const records = 3000
	var wg sync.WaitGroup
	cursor, err := l.Cursor("slow")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r, err := l.NewReader(1)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer r.Close()
			for want := uint64(1); want <= records; want++ {
				rec, err := r.Next(t.Context())
				if errors.Is(err, wal.ErrTruncated) {
					// Overtaken: begin again at the oldest, as a follower would.
					again, err := l.NewReader(0)
					if err != nil {
						t.Error(err)
						return
					}
					if err := r.Close(); err != nil {
						t.Error(err)
					}
					r = again
					want = l.First() - 1
					continue
				}
				if err != nil || rec.Seq < want || string(rec.Data) != string(event(int(rec.Seq))) {
					t.Errorf("want %d, got %d %q, %v", want, rec.Seq, rec.Data, err)
					return
				}
				want = rec.Seq
			}
		})
	}
	for i := 1; i <= records; i++ {
		if _, err := l.Append(t.Context(), event(i)); err != nil {
			t.Fatal(err)
		}
		if i%500 == 0 {
			cursor.Advance(uint64(i))
			if err := l.Truncate(t.Context(), uint64(i-400)); err != nil {
				t.Fatal(err)
			}
		}
	}
	wg.Wait()
	settled(t, l)
	if l.First() < 2000 {
		t.Errorf("first is %d: nothing was given away", l.First())
	}
	_, err = l.NewReader(1)
	wantError(t, err, wal.ErrTruncated)
	if s := l.Status(); len(s.Cursors) != 1 || s.Cursors[0].Position != records || s.Cursors[0].Lag != 0 {
		t.Errorf("cursors: %+v", s.Cursors)
	}
}

func TestReaderNeverShowsWhatIsNotSynced(t *testing.T) {
	t.Parallel()
	m := vfs.NewMem()
	l := mustOpen(t, memOptions(m))
	settled(t, l)
	r, err := l.NewReader(1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	inSync, release := stuckSync(m)
	done := make(chan error)
	go func() { _, err := l.Append(t.Context(), []byte("1")); done <- err }()
	<-inSync
	if rec, ok, err := r.TryNext(); ok || err != nil {
		t.Fatalf("a record that is written but not synced: %+v, %v", rec, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.Next(ctx)
	wantError(t, err, context.Canceled)
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if rec, ok, err := r.TryNext(); !ok || err != nil || rec.Seq != 1 || string(rec.Data) != "1" {
		t.Fatalf("after the sync: %+v, %v, %v", rec, ok, err)
	}
	mustClose(t, l)
	_, err = r.Next(t.Context())
	wantError(t, err, wal.ErrClosed)
}

func TestDamageWhileOpen(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, b []byte) []byte{
		"flipped": func(t *testing.T, b []byte) []byte { from, _ := at(t, b, 2); b[from+50] ^= 1; return b },
		"blanked": func(t *testing.T, b []byte) []byte {
			from, to := at(t, b, 2)
			copy(b[from:to], strings.Repeat("\n", to-from))
			return b
		},
		"end blanked": func(t *testing.T, b []byte) []byte {
			from, _ := at(t, b, 2)
			copy(b[from:], strings.Repeat("\n", len(b)-from))
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, _ := sixty(t)
			used, _ := d.segments()
			l := mustOpen(t, memOptions(d.m))
			d.edit(used[0], func(b []byte) []byte { return change(t, b) })
			r, err := l.NewReader(1)
			if err != nil {
				t.Fatal(err)
			}
			faults, records := 0, 0
			for {
				_, ok, err := r.TryNext()
				if errors.Is(err, wal.ErrCorrupt) {
					faults++
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				records++
			}
			if faults != 1 || records >= 60 || records < 40 || l.Status().FaultCount != 1 {
				t.Errorf("%d faults, %d records, status has %d", faults, records, l.Status().FaultCount)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			mustClose(t, l)
		})
	}
}

func TestCursors(t *testing.T) {
	t.Parallel()
	m := vfs.NewMem()
	l := mustOpen(t, memOptions(m))
	for _, name := range []string{"", ".hidden", "a/b", "a b", strings.Repeat("x", 65), "ü"} {
		if _, err := l.Cursor(name); err == nil {
			t.Errorf("the name %q is accepted", name)
		}
	}
	c, err := l.Cursor("dispatch")
	if err != nil || c.Position() != 0 || c.Name() != "dispatch" {
		t.Fatalf("new cursor: %v, %v", c, err)
	}
	if same, _ := l.Cursor("dispatch"); same != c {
		t.Error("the same name gives another cursor")
	}
	for i := range 10 {
		if _, err := l.Append(t.Context(), event(i)); err != nil {
			t.Fatal(err)
		}
	}
	c.Advance(4)
	c.Advance(2)
	if c.Position() != 4 {
		t.Errorf("position %d after 4 and 2", c.Position())
	}
	if err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	crashed := mustOpen(t, memOptions(m.CrashClone(vfs.Crash{Rand: rand.New(rand.NewPCG(1, 1))})))
	if after, _ := crashed.Cursor("dispatch"); after.Position() != 4 {
		t.Errorf("position %d after Sync and a power cut, want 4", after.Position())
	}
	mustClose(t, crashed)
	c.Advance(1 << 60)
	if c.Position() != 10 {
		t.Errorf("a cursor stands at %d, behind the newest record 10", c.Position())
	}
	mustClose(t, l)
	wantError(t, c.Sync(t.Context()), wal.ErrClosed)
	_, err = l.Cursor("other")
	wantError(t, err, wal.ErrClosed)
	l = mustOpen(t, memOptions(m))
	if after, _ := l.Cursor("dispatch"); after.Position() != 10 {
		t.Errorf("position %d after Close, want 10", after.Position())
	}
	mustClose(t, l)
}

func TestInspectChangesNothing(t *testing.T) {
	t.Parallel()
	d, _ := sixty(t)
	used, _ := d.segments()
	d.edit(used[0], func(b []byte) []byte { from, _ := at(t, b, 2); b[from+50] ^= 1; return b })
	d.edit(used[len(used)-1], func(b []byte) []byte { return append(b, "torn"...) })
	changed := 0
	d.m.SetHook(func(op vfs.Op) vfs.Fault {
		if op.Kind.Changes() {
			changed++
		}
		return vfs.Fault{}
	})
	report, err := wal.Inspect(t.Context(), d.m, "/log")
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Faults) != 2 || report.Faults[0].Kind != wal.FaultDamage || report.Faults[0].Offset == 0 || report.Faults[1].Kind != wal.FaultTorn {
		t.Errorf("faults %+v", report.Faults)
	}
	if report.First != 1 || report.Last != 60 || report.Records != 59 || report.Segments[0].State != wal.StateSealed {
		t.Errorf("report %+v", report)
	}
	if _, err := json.Marshal(report); err != nil {
		t.Error(err)
	}
	records, damaged := 0, 0
	for _, err := range wal.Scan(t.Context(), d.m, "/log", 1) {
		if errors.Is(err, wal.ErrCorrupt) {
			damaged++
		} else if err == nil {
			records++
		}
	}
	if records != 59 || damaged != 1 {
		t.Errorf("scan: %d records, %d damaged", records, damaged)
	}
	for rec := range wal.Scan(t.Context(), d.m, "/log", 30) {
		if rec.Seq != 30 {
			t.Errorf("a scan from 30 begins with %d", rec.Seq)
		}
		break
	}
	if changed > 0 {
		t.Errorf("%d changes to the folder", changed)
	}
	if _, err := wal.Inspect(t.Context(), nil, filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}
