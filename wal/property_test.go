package wal_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/33god/bloodbank/wal"
	"github.com/33god/bloodbank/wal/segment"
	"github.com/33god/bloodbank/wal/vfs"
	"pgregory.net/rapid"
)

// machine is a log under random use: appends, batches, truncation, faults, closing, power cuts. After each step
// everything is read again and checked against the ledger.
type machine struct {
	t       *rapid.T
	m       *vfs.Mem
	l       *wal.Log
	g       *ledger
	n       int
	dropped uint64
	cursor  uint64
}

func (s *machine) record(t *rapid.T) string {
	s.n++
	return fmt.Sprintf(`{"n":%d,"pad":%q}`, s.n, strings.Repeat("p", rapid.IntRange(0, 700).Draw(t, "pad")))
}

func (s *machine) Append(t *rapid.T) {
	if err := s.g.append(context.Background(), t, s.l, s.record(t)); err != nil {
		t.Fatal(err)
	}
}

func (s *machine) AppendBatch(t *rapid.T) {
	var records []string
	for range rapid.IntRange(1, 4).Draw(t, "records") {
		records = append(records, s.record(t))
	}
	if err := s.g.appendBatch(context.Background(), t, s.l, records); err != nil {
		t.Fatal(err)
	}
}

func (s *machine) AppendWithFault(t *rapid.T) {
	kind := rapid.SampledFrom([]vfs.OpKind{vfs.OpWrite, vfs.OpSync, vfs.OpTruncate, vfs.OpCreate, vfs.OpSyncDir}).Draw(t, "operation")
	errno := rapid.SampledFrom([]error{syscall.EIO, syscall.ENOSPC}).Draw(t, "error")
	fault := vfs.Fault{Err: errno, Happened: rapid.Bool().Draw(t, "happened"), Short: rapid.IntRange(0, 200).Draw(t, "short")}
	failOnce(s.m, kind, fault)
	_ = s.g.append(context.Background(), t, s.l, s.record(t)) // the ledger knows whether it was told yes
	s.m.SetHook(nil)
}

func (s *machine) Truncate(t *rapid.T) {
	upTo := rapid.Uint64Range(0, s.l.Last()).Draw(t, "up to")
	if err := s.l.Truncate(context.Background(), upTo); err != nil {
		t.Fatal(err)
	}
	s.dropped = max(s.dropped, upTo)
	if s.l.First() > s.dropped+1 {
		t.Fatalf("truncated up to %d, the oldest is %d", s.dropped, s.l.First())
	}
}

func (s *machine) Cursor(t *rapid.T) {
	c, err := s.l.Cursor("follower")
	if err != nil {
		t.Fatal(err)
	}
	s.cursor = max(s.cursor, rapid.Uint64Range(0, s.l.Last()).Draw(t, "position"))
	c.Advance(s.cursor)
	if err := c.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func (s *machine) Settle(t *rapid.T) {
	if err := s.l.Settle(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func (s *machine) Reopen(t *rapid.T) {
	if err := s.l.Close(); err != nil {
		t.Fatal(err)
	}
	s.open(t)
}

func (s *machine) PowerCut(t *rapid.T) {
	crash := vfs.Crash{Rand: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)), Keep: rapid.Float64Range(0, 1).Draw(t, "keep"),
		Sector: rapid.SampledFrom([]int64{64, 512, 4096}).Draw(t, "sector")}
	clone := s.m.CrashClone(crash)
	if err := s.l.Close(); err != nil {
		t.Fatal(err)
	}
	s.m = clone
	s.open(t)
}

func (s *machine) open(t *rapid.T) {
	var err error
	if s.l, err = wal.Open(context.Background(), memOptions(s.m)); err != nil {
		t.Fatal(err)
	}
	s.g.adopt(s.g.check(t, s.l))
	c, err := s.l.Cursor("follower")
	if err != nil {
		t.Fatal(err)
	}
	if c.Position() < s.cursor {
		t.Fatalf("the cursor went back from %d to %d", s.cursor, c.Position())
	}
}

// Check runs after every step. Segments that were given away may come back after a crash, so what is below the
// truncation is not asked for.
func (s *machine) Check(t *rapid.T) {
	s.g.mu.Lock()
	for seq := range s.g.acked {
		if seq <= s.dropped {
			delete(s.g.acked, seq)
		}
	}
	s.g.mu.Unlock()
	s.g.check(t, s.l)
}

func TestRandomUse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := &machine{t: rt, m: vfs.NewMem(), g: newLedger()}
		s.open(rt)
		rt.Repeat(rapid.StateMachineActions(s))
		if err := s.l.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

// FuzzRecover opens a folder whose segments hold whatever the fuzzer likes. It must open (or say why not), show only
// records with right checksums in rising order, take a new one, and be clean when opened again.
func FuzzRecover(f *testing.F) {
	line := string(recordLine(1, `{"a":1}`)) + string(recordLine(2, `{"b":2}`))
	header := string(segment.AppendHeader(nil, segment.Header{First: 1}))
	f.Add([]byte(header+line+"\n\n\n"), []byte("\n\n\n\n"))
	f.Add([]byte(header+line[:30]+"\n"+line), []byte(header+line))
	f.Add([]byte(line+"torn"), []byte(string(recordLine(2, `{"again":1}`))))
	f.Add([]byte{}, []byte("{\"wal\":9"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		m := vfs.NewMem()
		if err := m.MkdirAll("/log"); err != nil {
			t.Fatal(err)
		}
		for i, data := range [][]byte{first, second} {
			if err := vfs.WriteFile(m, "/log/"+segment.Name(uint64(i+1)), data); err != nil {
				t.Fatal(err)
			}
		}
		l, err := wal.Open(t.Context(), memOptions(m))
		if err != nil {
			return // a newer version
		}
		seq, err := l.Append(t.Context(), []byte(`{"new":1}`))
		if err != nil {
			t.Fatal(err)
		}
		before := readAll(t, l)
		if before[seq] != `{"new":1}` {
			t.Fatalf("record %d is %q", seq, before[seq])
		}
		mustClose(t, l)
		l = mustOpen(t, memOptions(m))
		after := readAll(t, l)
		if len(after) != len(before) || after[seq] != before[seq] || l.Status().CutAtOpen > 0 {
			t.Fatalf("opened again: %d records, then %d; status %+v", len(before), len(after), l.Status())
		}
		mustClose(t, l)
	})
}

func readAll(t *testing.T, l *wal.Log) map[uint64]string {
	t.Helper()
	r, err := l.NewReader(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	found, last := map[uint64]string{}, uint64(0)
	for {
		rec, ok, err := r.TryNext()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return found
		}
		if rec.Seq <= last {
			t.Fatalf("%d after %d", rec.Seq, last)
		}
		last = rec.Seq
		found[last] = string(rec.Data)
	}
}
