package wal_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank/wal"
)

func open(t *testing.T, o wal.Options) *wal.Log {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	l, err := wal.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func event(n int) []byte { return fmt.Appendf(nil, `{"n":%d}`, n) }

func TestAppendIsReadBackAfterReopen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, wal.Options{Dir: dir, SegmentSize: 4096})
	for i := 1; i <= 500; i++ {
		seq, err := l.Append(t.Context(), event(i))
		if err != nil || seq != uint64(i) {
			t.Fatalf("append %d: got %d, %v", i, seq, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, wal.Options{Dir: dir, SegmentSize: 4096})
	if l.First() != 1 || l.Last() != 500 {
		t.Fatalf("first %d, last %d; want 1 and 500", l.First(), l.Last())
	}
	if s := l.Status(); s.FaultCount != 0 || s.Segments < 3 {
		t.Fatalf("want no faults and several segments: %+v", s)
	}
	r, err := l.NewReader(1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for i := 1; i <= 500; i++ {
		rec, err := r.Next(ctx)
		if err != nil || rec.Seq != uint64(i) || string(rec.Data) != string(event(i)) {
			t.Fatalf("record %d: got %d %q, %v", i, rec.Seq, rec.Data, err)
		}
	}
	if _, ok, err := r.TryNext(); ok || err != nil {
		t.Fatalf("at the end: %v, %v", ok, err)
	}
}

func TestManyAppendersGetTheirOwnSequences(t *testing.T) {
	t.Parallel()
	l := open(t, wal.Options{SegmentSize: 64 << 10})
	const appenders, each = 32, 200
	var mu sync.Mutex
	got := map[uint64]string{}
	var wg sync.WaitGroup
	for a := range appenders {
		wg.Go(func() {
			for i := range each {
				data := fmt.Sprintf(`{"a":%d,"i":%d}`, a, i)
				seq, err := l.Append(t.Context(), []byte(data))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				got[seq] = data
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	r, err := l.NewReader(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for seq := uint64(1); seq <= appenders*each; seq++ {
		rec, ok, err := r.TryNext()
		if err != nil || !ok || rec.Seq != seq || string(rec.Data) != got[seq] {
			t.Fatalf("record %d: got %v %d %q, want %q, %v", seq, ok, rec.Seq, rec.Data, got[seq], err)
		}
	}
}
