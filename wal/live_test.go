package wal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank/wal"
	"github.com/33god/bloodbank/wal/vfs"
)

// waitUntil yields until what is awaited is so; it fails after a time that no machine needs.
func waitUntil(t testing.TB, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !so(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

// stuckSync makes fsync of segments wait until release is closed; inSync is closed when the first one does.
func stuckSync(m *vfs.Mem) (inSync, release chan struct{}) {
	inSync, release = make(chan struct{}), make(chan struct{})
	var once sync.Once
	m.SetHook(func(op vfs.Op) vfs.Fault {
		if op.Kind == vfs.OpSync && strings.HasSuffix(op.Path, ".jsonl") {
			once.Do(func() { close(inSync) })
			<-release
		}
		return vfs.Fault{}
	})
	return inSync, release
}

func TestRefusedRecords(t *testing.T) {
	t.Parallel()
	m := vfs.NewMem()
	o := memOptions(m)
	o.MaxRecord = 100
	l := mustOpen(t, o)
	for name, tc := range map[string]struct {
		record string
		want   error
	}{
		"empty": {"", wal.ErrInvalidRecord}, "line feed": {"{\n}", wal.ErrInvalidRecord}, "carriage return": {"{\r}", wal.ErrInvalidRecord},
		"too large": {strings.Repeat("1", 101), wal.ErrTooLarge},
	} {
		_, err := l.Append(t.Context(), []byte(tc.record))
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := l.AppendBatch(t.Context(), [][]byte{[]byte("1"), []byte(tc.record)}); !errors.Is(err, tc.want) {
			t.Errorf("%s in a batch: %v", name, err)
		}
	}
	_, err := l.AppendBatch(t.Context(), nil)
	wantError(t, err, wal.ErrInvalidRecord)
	many := make([][]byte, 100)
	for i := range many {
		many[i] = []byte(strings.Repeat("1", 100))
	}
	_, err = l.AppendBatch(t.Context(), many)
	wantError(t, err, wal.ErrTooLarge)
	if l.Last() != 0 {
		t.Fatal("a refused record was stored")
	}
	if _, err := l.Append(t.Context(), []byte(strings.Repeat("1", 100))); err != nil {
		t.Fatalf("a record of the greatest size: %v", err)
	}
	mustClose(t, l)
	_, err = l.Append(t.Context(), []byte("1"))
	wantError(t, err, wal.ErrClosed)
	mustClose(t, l)
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	_, err := wal.Open(t.Context(), wal.Options{SegmentSize: 10, MaxRecord: -1, MaxBatch: -1, RetainAge: -1})
	if err == nil {
		t.Fatal("wrong options are accepted")
	}
	for _, name := range []string{"Dir", "SegmentSize", "MaxRecord", "MaxBatch", "RetainAge"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not name %s: %v", name, err)
		}
	}
}

// TestWaitsForRoomWithItsContext fills the line behind a stuck commit. The next appender blocks, and leaves with its
// context; those in line get their verdict.
func TestWaitsForRoomWithItsContext(t *testing.T) {
	t.Parallel()
	m, g := vfs.NewMem(), newLedger()
	l := mustOpen(t, memOptions(m))
	settled(t, l)
	inSync, release := stuckSync(m)
	var wg sync.WaitGroup
	big := strings.Repeat("7", 400)
	wg.Go(func() { _ = g.append(t.Context(), t, l, `1`) })
	<-inSync
	for i := range 2 {
		wg.Go(func() {
			if err := g.append(t.Context(), t, l, fmt.Sprint(i)+big); err != nil {
				t.Error(err)
			}
		})
	}
	waitUntil(t, func() bool { return l.Status().Waiting == 2 })
	ctx, cancel := context.WithCancel(t.Context())
	blocked := make(chan error)
	go func() { blocked <- g.append(ctx, t, l, "3"+big) }()
	cancel()
	wantError(t, <-blocked, context.Canceled)

	// In line, whoever opened the batch may leave as well: another one commits it.
	close(release)
	wg.Wait()
	g.check(t, l)
	if l.Last() != 3 {
		t.Fatalf("last is %d, want 3", l.Last())
	}
	mustClose(t, l)
}

// TestLeaderThatLeaves cancels the appender that would have committed the waiting batch; the others are served.
func TestLeaderThatLeaves(t *testing.T) {
	t.Parallel()
	m, g := vfs.NewMem(), newLedger()
	l := mustOpen(t, memOptions(m))
	settled(t, l)
	inSync, release := stuckSync(m)
	var wg sync.WaitGroup
	wg.Go(func() { _ = g.append(t.Context(), t, l, `{"first":1}`) })
	<-inSync
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { left <- g.append(ctx, t, l, `{"leader":1}`) }()
	waitUntil(t, func() bool { return l.Status().Waiting == 1 })
	wg.Go(func() {
		if err := g.append(t.Context(), t, l, `{"follower":1}`); err != nil {
			t.Error(err)
		}
	})
	waitUntil(t, func() bool { return l.Status().Waiting == 2 })
	cancel()
	wantError(t, <-left, context.Canceled)
	close(release)
	wg.Wait()
	if found := g.check(t, l); found[2] != `{"leader":1}` || found[3] != `{"follower":1}` {
		t.Fatalf("found %v", found)
	}
	mustClose(t, l)
}

// TestCloseRacesAppend closes a log under fire. Every appender gets a verdict, and each yes is there after reopening.
func TestCloseRacesAppend(t *testing.T) {
	t.Parallel()
	for range 30 {
		m, g := vfs.NewMem(), newLedger()
		l := mustOpen(t, memOptions(m))
		var wg sync.WaitGroup
		begun := make(chan struct{}, 1)
		for a := range 8 {
			wg.Go(func() {
				for i := 0; ; i++ {
					ctx, cancel := context.WithCancel(t.Context())
					if i%3 == a%3 {
						cancel()
					}
					err := g.append(ctx, t, l, fmt.Sprintf(`{"a":%d,"i":%d}`, a, i))
					cancel()
					if errors.Is(err, wal.ErrClosed) {
						return
					}
					if err != nil && !errors.Is(err, context.Canceled) {
						t.Error(err)
						return
					}
					select {
					case begun <- struct{}{}:
					default:
					}
				}
			})
		}
		wg.Go(func() {
			r, err := l.NewReader(1)
			if err != nil {
				wantError(t, err, wal.ErrClosed)
				return
			}
			for err == nil {
				_, err = r.Next(t.Context())
			}
			if !errors.Is(err, wal.ErrClosed) {
				t.Error(err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
		<-begun
		var closers sync.WaitGroup
		for range 3 {
			closers.Go(func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		closers.Wait()
		wg.Wait()
		reopenAndCheck(t, m, g)
	}
}

// TestLockedByAnotherProcess starts this test program a second time, which tries to open the log that the first holds.
func TestLockedByAnotherProcess(t *testing.T) {
	if dir := os.Getenv("WAL_TEST_LOCKED_DIR"); dir != "" {
		_, err := wal.Open(t.Context(), wal.Options{Dir: dir})
		var locked *wal.LockedError
		if !errors.Is(err, wal.ErrLocked) || !errors.As(err, &locked) {
			t.Fatalf("second process: %v", err)
		}
		fmt.Printf("held by %d %s: %v\n", locked.PID, locked.Owner, err)
		return
	}
	t.Parallel()
	dir := t.TempDir()
	l := mustOpen(t, wal.Options{Dir: dir, Owner: "the first"})
	second := func() (string, error) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLockedByAnotherProcess$", "-test.count=1")
		cmd.Env = append(os.Environ(), "WAL_TEST_LOCKED_DIR="+dir)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := second()
	want := fmt.Sprintf("held by %d the first", os.Getpid())
	if err != nil || !strings.Contains(out, want) || !strings.Contains(out, dir) {
		t.Fatalf("want %q, got %v: %s", want, err, out)
	}
	_, err = wal.Open(t.Context(), wal.Options{Dir: dir})
	wantError(t, err, wal.ErrLocked)
	mustClose(t, l)
	mustClose(t, mustOpen(t, wal.Options{Dir: dir}))
}

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

// TestDamageWhileOpen damages a sealed segment under a reader: it says so, once, and goes on behind it.
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

func TestTruncateRecyclesAndArchives(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	o := wal.Options{Dir: dir, SegmentSize: small, RetainAge: time.Hour, Now: func() time.Time { return now }}
	l := mustOpen(t, o)
	settled(t, l)
	for i := 1; i <= 400; i++ {
		if _, err := l.Append(t.Context(), event(i)); err != nil {
			t.Fatal(err)
		}
		settled(t, l)
	}
	if err := l.Truncate(t.Context(), 300); err != nil {
		t.Fatal(err)
	}
	settled(t, l)
	s := l.Status()
	if s.First <= 1 || s.First > 301 || s.Archived < 2 || s.ArchivedBytes == 0 || s.LastError != "" {
		t.Fatalf("status %+v", s)
	}
	seen := 0
	for rec, err := range wal.Scan(t.Context(), nil, dir, 1) {
		seen++
		if err != nil || rec.Seq != uint64(seen) || string(rec.Data) != string(event(seen)) {
			t.Fatalf("scan at %d: %d %q, %v", seen, rec.Seq, rec.Data, err)
		}
	}
	if seen != 400 {
		t.Fatalf("archives and segments hold %d records, want 400", seen)
	}
	now = now.Add(2 * time.Hour)
	if err := l.Truncate(t.Context(), 400); err != nil {
		t.Fatal(err)
	}
	settled(t, l)
	if got := l.Status(); got.Archived >= s.Archived || got.Archived == 0 || got.Last != 400 {
		t.Errorf("old archives stay: %d, then %d; last %d", s.Archived, got.Archived, got.Last)
	}
	mustClose(t, l)
	l = mustOpen(t, o)
	if seq, err := l.Append(t.Context(), event(401)); err != nil || seq != 401 {
		t.Errorf("after truncating all and reopening: %d, %v", seq, err)
	}
	mustClose(t, l)
}

func TestRetainBytes(t *testing.T) {
	t.Parallel()
	m := vfs.NewMem()
	o := memOptions(m)
	o.RetainBytes = 1500
	l := mustOpen(t, o)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		if _, err := l.Append(t.Context(), fmt.Appendf(nil, `{"r":%d}`, rng.Uint64())); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Truncate(t.Context(), 300); err != nil {
		t.Fatal(err)
	}
	settled(t, l)
	if s := l.Status(); s.ArchivedBytes == 0 || s.ArchivedBytes > 1500 {
		t.Errorf("%d bytes of archives, the limit is 1500", s.ArchivedBytes)
	}
	mustClose(t, l)
}

// TestRecycledSegmentIsBlank looks at a file that was used before: nothing of its first use may be left.
func TestRecycledSegmentIsBlank(t *testing.T) {
	t.Parallel()
	m := vfs.NewMem()
	l := mustOpen(t, memOptions(m))
	settled(t, l)
	for i := 1; i <= 60; i++ {
		if _, err := l.Append(t.Context(), fmt.Appendf(nil, `{"n":%d,"pad":"%0200d"}`, i, i)); err != nil {
			t.Fatal(err)
		}
		settled(t, l)
	}
	recycled := false
	m.SetHook(func(op vfs.Op) vfs.Fault {
		recycled = recycled || (op.Kind == vfs.OpRename && strings.HasSuffix(op.To, "recycle.tmp"))
		return vfs.Fault{}
	})
	if err := l.Truncate(t.Context(), 55); err != nil {
		t.Fatal(err)
	}
	for i := 61; i <= 90; i++ {
		if _, err := l.Append(t.Context(), fmt.Appendf(nil, `{"n":%d,"pad":"%0200d"}`, i, i)); err != nil {
			t.Fatal(err)
		}
		settled(t, l)
	}
	m.SetHook(nil)
	if !recycled {
		t.Fatal("no file was used again")
	}
	report, err := wal.Inspect(t.Context(), m, "/log")
	if err != nil || len(report.Faults) > 0 {
		t.Fatalf("%+v, %v", report.Faults, err)
	}
	mustClose(t, l)
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

func TestAppendAllocatesLittle(t *testing.T) {
	l := open(t, wal.Options{})
	settled(t, l)
	record := benchRecord()
	var wg sync.WaitGroup
	round := func(each int) {
		for range 64 {
			wg.Go(func() {
				for range each {
					if _, err := l.Append(t.Context(), record); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	round(20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	round(200)
	runtime.ReadMemStats(&after)
	if per := float64(after.Mallocs-before.Mallocs) / (64 * 200); per > 0.5 {
		t.Errorf("%.2f allocations for each append, want at most 0.5", per)
	}
}
