package wal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/33god/bloodbank/wal"
	"github.com/33god/bloodbank/wal/vfs"
)

var errDisk = errors.New("the disk has a fault")

// failOnce fails the first operation of this kind on segments from now on.
func failOnce(m *vfs.Mem, kind vfs.OpKind, fault vfs.Fault) *atomic.Bool {
	var fired atomic.Bool
	m.SetHook(func(op vfs.Op) vfs.Fault {
		inLog := strings.HasSuffix(op.Path, ".jsonl") || (kind == vfs.OpSyncDir && op.Path == "/log")
		if op.Kind == kind && inLog && !fired.Swap(true) {
			return fault
		}
		return vfs.Fault{}
	})
	return &fired
}

// TestFaultDuringAppend has every operation of a commit fail once, in two ways: it failed, and it failed but happened.
// The append must say so, later ones must work, what was acknowledged must stay, before and after a power cut.
func TestFaultDuringAppend(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		kind    vfs.OpKind
		err     error
		short   int
		sealed  int   // segments given up
		matches error // what the caller can test for
	}{
		{kind: vfs.OpWrite, err: errDisk, sealed: 1, matches: errDisk},
		{kind: vfs.OpWrite, err: errDisk, short: 40, sealed: 1, matches: errDisk},
		{kind: vfs.OpWrite, err: syscall.ENOSPC, matches: wal.ErrFull},
		{kind: vfs.OpWrite, err: syscall.ENOSPC, short: 70, matches: wal.ErrFull},
		{kind: vfs.OpWrite, err: syscall.EROFS, sealed: 1, matches: wal.ErrReadOnly},
		{kind: vfs.OpSync, err: errDisk, sealed: 1, matches: errDisk},
		{kind: vfs.OpSync, err: syscall.EIO, sealed: 1, matches: syscall.EIO},
		{kind: vfs.OpSync, err: syscall.ENOSPC, sealed: 1, matches: wal.ErrFull},
	} {
		for _, happened := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %v short %d happened %v", tc.kind, tc.err, tc.short, happened), func(t *testing.T) {
				t.Parallel()
				m, g := vfs.NewMem(), newLedger()
				l := mustOpen(t, memOptions(m))
				settled(t, l)
				for i := range 3 {
					if err := g.append(t.Context(), t, l, fmt.Sprintf(`{"before":%d}`, i)); err != nil {
						t.Fatal(err)
					}
				}
				fired := failOnce(m, tc.kind, vfs.Fault{Err: tc.err, Happened: happened, Short: tc.short})
				wantError(t, g.append(t.Context(), t, l, `{"failed":"`+strings.Repeat("x", 300)+`"}`), tc.matches)
				if !fired.Load() {
					t.Fatal("the fault did not happen")
				}
				rng := rand.New(rand.NewPCG(1, 2))
				afterFailure := m.CrashClone(vfs.Crash{Rand: rng, Keep: 0.5})
				reopenAndCheck(t, afterFailure, g.copy())
				for i := range 3 {
					if err := g.append(t.Context(), t, l, fmt.Sprintf(`{"later":%d}`, i)); err != nil {
						t.Fatalf("append %d after the fault: %v", i, err)
					}
				}
				found := g.check(t, l)
				if len(found) != 6 || l.Last() != 6 {
					t.Fatalf("the failed record is readable, or sequences have a hole: %v", found)
				}
				if s := l.Status(); s.SealedByError != tc.sealed || s.LastError == "" {
					t.Errorf("status: %d sealed by an error, want %d; last error %q", s.SealedByError, tc.sealed, s.LastError)
				}
				reopenAndCheck(t, m.CrashClone(vfs.Crash{Rand: rng, Keep: 0.5}), g.copy())
				mustClose(t, l)
				reopenAndCheck(t, m, g)
			})
		}
	}
}

// TestFaultDuringBackgroundWork has each operation that prepares, seals, drops or names fail: appends go on.
func TestFaultDuringBackgroundWork(t *testing.T) {
	t.Parallel()
	for _, kind := range []vfs.OpKind{vfs.OpCreate, vfs.OpRename, vfs.OpRemove, vfs.OpTruncate, vfs.OpSyncDir} {
		for _, happened := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s happened %v", kind, happened), func(t *testing.T) {
				t.Parallel()
				m, g := vfs.NewMem(), newLedger()
				l := mustOpen(t, memOptions(m))
				settled(t, l)
				failOnce(m, kind, vfs.Fault{Err: errDisk, Happened: happened})
				refused := 0
				for i := range 60 {
					if err := g.append(t.Context(), t, l, fmt.Sprintf(`{"i":%d,"pad":"%0200d"}`, i, i)); err != nil {
						wantError(t, err, errDisk)
						refused++
					}
					if i%20 == 19 {
						if err := l.Truncate(t.Context(), l.Last()-10); err != nil {
							t.Fatal(err)
						}
						settled(t, l)
					}
				}
				if refused > 1 {
					t.Errorf("%d appends were refused for one fault", refused)
				}
				g.check(t, l)
				reopenAndCheck(t, m.CrashClone(vfs.Crash{Rand: rand.New(rand.NewPCG(3, 4)), Keep: 0.5}), g.copy())
				mustClose(t, l)
				reopenAndCheck(t, m, g)
			})
		}
	}
}

// TestFaultDuringOpen has each operation of Open fail in turn: it says so, keeps nothing, and the next Open works.
func TestFaultDuringOpen(t *testing.T) {
	t.Parallel()
	d, g := sixty(t)
	used, _ := d.segments()
	d.edit(used[0], func(b []byte) []byte { b[150] ^= 1; return b })
	d.edit(used[len(used)-1], func(b []byte) []byte { return append(b, "torn"...) })
	report, err := wal.Inspect(t.Context(), d.m, "/log")
	if err != nil {
		t.Fatal(err)
	}
	for seq := report.Faults[0].From; seq <= report.Faults[0].To; seq++ {
		delete(g.acked, seq)
	}
	for n := 0; ; n++ {
		for _, happened := range []bool{false, true} {
			clone := d.m.CrashClone(vfs.Crash{Rand: rand.New(rand.NewPCG(1, 1)), Keep: 1})
			var step atomic.Int64
			clone.SetHook(func(op vfs.Op) vfs.Fault {
				if step.Add(1) == int64(n+1) {
					return vfs.Fault{Err: errDisk, Happened: happened}
				}
				return vfs.Fault{}
			})
			l, err := wal.Open(t.Context(), memOptions(clone))
			clone.SetHook(nil)
			if err == nil {
				mustClose(t, l)
				reopenAndCheck(t, clone, g.copy())
				if happened {
					continue // it was going to fail anyway, as a folder that is not there
				}
				if n < 30 {
					t.Fatalf("Open did not see that its operation %d failed", n+1)
				}
				return
			}
			wantError(t, err, errDisk)
			reopenAndCheck(t, clone, g.copy())
		}
	}
}

// TestDiskFullThenFree fills the disk, frees it and goes on.
func TestDiskFullThenFree(t *testing.T) {
	t.Parallel()
	m, g := vfs.NewMem(), newLedger()
	m.SetSpace(3 * small)
	l := mustOpen(t, memOptions(m))
	settled(t, l)
	i, refused := 0, 0
	for ; refused < 5; i++ {
		err := g.append(t.Context(), t, l, fmt.Sprintf(`{"i":%d,"pad":"%0200d"}`, i, i))
		if err != nil {
			wantError(t, err, wal.ErrFull)
			refused++
		}
	}
	g.check(t, l)
	if _, err := l.AppendBatch(t.Context(), [][]byte{[]byte(strings.Repeat("9", 300)), []byte("1")}); !errors.Is(err, wal.ErrFull) {
		t.Fatalf("a batch on a full disk: %v", err)
	}
	reopenAndCheck(t, func() *vfs.Mem {
		clone := m.CrashClone(vfs.Crash{Rand: rand.New(rand.NewPCG(5, 6)), Keep: 0.5})
		return clone
	}(), withAsked(g.copy(), strings.Repeat("9", 300), "1"))
	m.SetSpace(1 << 20)
	for range 40 {
		i++
		if err := g.append(t.Context(), t, l, fmt.Sprintf(`{"i":%d,"pad":"%0200d"}`, i, i)); err != nil {
			t.Fatalf("with space again: %v", err)
		}
	}
	found := g.check(t, l)
	if uint64(len(found)) != l.Last() {
		t.Fatalf("%d records, the last is %d: refused appends left holes", len(found), l.Last())
	}
	mustClose(t, l)
	reopenAndCheck(t, m, withAsked(g, strings.Repeat("9", 300), "1"))
}

func withAsked(g *ledger, records ...string) *ledger {
	for _, r := range records {
		g.ask(r)
	}
	return g
}

func TestReadOnlyFolderIsSaidPlainly(t *testing.T) {
	t.Parallel()
	for _, errno := range []error{syscall.EROFS, syscall.EACCES, syscall.EPERM} {
		m := vfs.NewMem()
		m.SetHook(func(op vfs.Op) vfs.Fault {
			if op.Kind.Changes() {
				return vfs.Fault{Err: errno}
			}
			return vfs.Fault{}
		})
		_, err := wal.Open(t.Context(), memOptions(m))
		wantError(t, err, wal.ErrReadOnly)
		if !strings.Contains(err.Error(), "/log") || !strings.Contains(err.Error(), "choose another folder") {
			t.Errorf("the message does not say where and what to do: %v", err)
		}
	}
}

// TestDiskThatLies has fsync do nothing. Acknowledged records can be lost then, but what is found after a power cut
// must still be a log: records that were asked for, in order, and room for more.
func TestDiskThatLies(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		m, g := vfs.NewMem(), newLedger()
		l := mustOpen(t, memOptions(m))
		settled(t, l)
		m.SetLies(true)
		for i := range 40 {
			if err := g.append(t.Context(), t, l, fmt.Sprintf(`{"i":%d,"pad":"%0150d"}`, i, i)); err != nil {
				t.Fatal(err)
			}
		}
		mustClose(t, l)
		clone := m.CrashClone(vfs.Crash{Rand: rand.New(rand.NewPCG(seed, 9)), Keep: 0.8, Sector: 4096})
		lost := newLedger()
		lost.asked = g.asked
		reopenAndCheck(t, clone, lost)
	}
}

// TestFailedFsyncFailsAllWhoWait has several appenders in two batches when fsync fails; nobody is told yes.
func TestFailedFsyncFailsAllWhoWait(t *testing.T) {
	t.Parallel()
	m, g := vfs.NewMem(), newLedger()
	l := mustOpen(t, memOptions(m))
	settled(t, l)
	inSync, release := make(chan struct{}), make(chan struct{})
	var fired atomic.Bool
	m.SetHook(func(op vfs.Op) vfs.Fault {
		if op.Kind != vfs.OpSync || !strings.HasSuffix(op.Path, ".jsonl") || fired.Swap(true) {
			return vfs.Fault{}
		}
		close(inSync)
		<-release
		return vfs.Fault{Err: errDisk, Happened: true}
	})
	verdicts := make(chan error, 9)
	go func() { verdicts <- g.append(t.Context(), t, l, `{"first":true}`) }()
	<-inSync
	for i := range 8 {
		go func() { verdicts <- g.append(context.WithoutCancel(t.Context()), t, l, fmt.Sprintf(`{"waits":%d}`, i)) }()
	}
	waitUntil(t, func() bool { return l.Status().Waiting == 8 })
	close(release)
	for range 9 {
		wantError(t, <-verdicts, errDisk)
	}
	if l.Last() != 0 {
		t.Fatalf("last is %d after nothing was made durable", l.Last())
	}
	seq, err := l.Append(t.Context(), []byte(`{"next":1}`))
	if err != nil || seq != 1 {
		t.Fatalf("the next append got %d, %v", seq, err)
	}
	g.ask(`{"next":1}`)
	g.ack(t, 1, `{"next":1}`)
	g.check(t, l)
	mustClose(t, l)
	reopenAndCheck(t, m, g)
}
