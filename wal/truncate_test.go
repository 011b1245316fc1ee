package wal_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/33god/bloodbank/wal"
	"github.com/33god/bloodbank/wal/vfs"
)

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
	var recycled atomic.Bool
	m.SetHook(func(op vfs.Op) vfs.Fault {
		if op.Kind == vfs.OpRename && strings.HasSuffix(op.To, "recycle.tmp") {
			recycled.Store(true)
		}
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
	if !recycled.Load() {
		t.Fatal("no file was used again")
	}
	report, err := wal.Inspect(t.Context(), m, "/log")
	if err != nil || len(report.Faults) > 0 {
		t.Fatalf("%+v, %v", report.Faults, err)
	}
	mustClose(t, l)
}
