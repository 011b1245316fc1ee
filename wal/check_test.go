package wal_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/33god/bloodbank/wal"
	"github.com/33god/bloodbank/wal/vfs"
)

// ledger is what a test knows of a log from outside: what it was asked to store, and what it said yes to.
type ledger struct {
	mu      sync.Mutex
	asked   map[string]bool
	acked   map[uint64]string
	highest uint64
}

// reporter is what testing.T and rapid.T have in common.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

func newLedger() *ledger { return &ledger{asked: map[string]bool{}, acked: map[uint64]string{}} }

func (g *ledger) ask(record string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked[record] = true
}

func (g *ledger) ack(t reporter, seq uint64, record string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if other, twice := g.acked[seq]; twice {
		t.Errorf("sequence %d was given to %q and to %q", seq, other, record)
	}
	g.acked[seq] = record
	g.highest = max(g.highest, seq)
}

// append appends through the log and keeps book.
func (g *ledger) append(ctx context.Context, t reporter, l *wal.Log, record string) error {
	g.ask(record)
	seq, err := l.Append(ctx, []byte(record))
	if err == nil {
		g.ack(t, seq, record)
	}
	return err
}

func (g *ledger) appendBatch(ctx context.Context, t reporter, l *wal.Log, records []string) error {
	var data [][]byte
	for _, r := range records {
		g.ask(r)
		data = append(data, []byte(r))
	}
	first, err := l.AppendBatch(ctx, data)
	for i, r := range records {
		if err == nil {
			g.ack(t, first+uint64(i), r)
		}
	}
	return err
}

// check re-reads everything through a reader and tests every invariant: all that was acknowledged from the first
// readable record on is there, byte for byte; sequences rise; nothing is there that was never asked for. It returns the
// records by sequence.
func (g *ledger) check(t reporter, l *wal.Log) map[uint64]string {
	t.Helper()
	first, last := l.First(), l.Last()
	found := map[uint64]string{}
	r, err := l.NewReader(0)
	if err != nil {
		t.Fatalf("new reader: %v", err)
	}
	defer r.Close()
	before := uint64(0)
	for {
		rec, ok, err := r.TryNext()
		if err != nil {
			t.Fatalf("after record %d: %v", before, err)
		}
		if !ok {
			break
		}
		if rec.Seq <= before {
			t.Fatalf("record %d after %d", rec.Seq, before)
		}
		before = rec.Seq
		found[rec.Seq] = string(rec.Data)
	}
	if before != last && len(found) > 0 {
		t.Fatalf("the last record read is %d, Last says %d", before, last)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for seq, record := range found {
		if !g.asked[record] {
			t.Fatalf("record %d was never asked for: %.80q", seq, record)
		}
	}
	for seq, record := range g.acked {
		if seq >= first && found[seq] != record {
			t.Fatalf("record %d was acknowledged as %.80q, found is %.80q (first %d, last %d)", seq, record, found[seq], first, last)
		}
	}
	if last < g.highest {
		t.Fatalf("the last record is %d, but %d was acknowledged", last, g.highest)
	}
	return found
}

// adopt takes what is readable as acknowledged: after a crash it must never change again.
func (g *ledger) adopt(found map[uint64]string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for seq, record := range found {
		g.acked[seq] = record
		g.highest = max(g.highest, seq)
	}
}

const small = 4096

func memOptions(m *vfs.Mem) wal.Options {
	return wal.Options{Dir: "/log", FS: m, SegmentSize: small, MaxBatch: 1024}
}

func mustOpen(t testing.TB, o wal.Options) *wal.Log {
	t.Helper()
	l, err := wal.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return l
}

func mustClose(t testing.TB, l *wal.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// settled waits for the background work, so that a test knows what is on disk.
func settled(t testing.TB, l *wal.Log) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := l.Settle(ctx); err != nil {
		t.Fatalf("settle: %v", err)
	}
}

// reopenAndCheck opens what a crash or a test has left, checks it against the ledger, appends one record more and
// checks again.
func reopenAndCheck(t testing.TB, m *vfs.Mem, g *ledger) {
	t.Helper()
	l := mustOpen(t, memOptions(m))
	g.adopt(g.check(t, l))
	if err := g.append(t.Context(), t, l, fmt.Sprintf(`{"after":%d}`, len(g.asked))); err != nil {
		t.Fatalf("append after reopen: %v", err)
	}
	g.check(t, l)
	mustClose(t, l)
	if _, err := wal.Inspect(t.Context(), m, "/log"); err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}
