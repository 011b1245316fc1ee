package wal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
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

// TestDamageWhileOpen damages a sealed segment under a reader: it says so, once, and goes on behind it.
// TestRecycledSegmentIsBlank looks at a file that was used before: nothing of its first use may be left.
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

// TestSegmentsAreUsedInTheOrderOfTheirNumbers has rotation run faster than spares are made, so that filled and bare
// segments alternate. A segment with a lower number than the one before it would be taken for old content when the log
// is opened again. (Found by TestRandomUse: a spare got its number between two looks for one.)
func TestSegmentsAreUsedInTheOrderOfTheirNumbers(t *testing.T) {
	t.Parallel()
	for range 20 {
		m, g := vfs.NewMem(), newLedger()
		o := memOptions(m)
		o.SegmentSize = 1024
		l := mustOpen(t, o)
		for i := range 150 {
			if err := g.append(t.Context(), t, l, fmt.Sprintf(`{"i":%d,"pad":"%0400d"}`, i, i)); err != nil {
				t.Fatal(err)
			}
		}
		mustClose(t, l)
		report, err := wal.Inspect(t.Context(), m, "/log")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range report.Faults {
			t.Fatalf("fault %+v", f)
		}
	}
}
