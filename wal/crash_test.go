package wal_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/33god/bloodbank/wal"
	"github.com/33god/bloodbank/wal/vfs"
)

// TestCrashAtEveryStep cuts the power before every single change to the disk while records are appended, segments
// rotate, are truncated and used again. Whatever the cut leaves must open, hold all that was acknowledged until then,
// and take new records.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, keep := range []float64{0, 0.5, 1} {
		for _, sector := range []int64{512, 4096, 64} {
			t.Run(fmt.Sprintf("keep %v sector %d", keep, sector), func(t *testing.T) {
				t.Parallel()
				crashEverywhere(t, keep, sector)
			})
		}
	}
}

// moment is the state of the disk just before a change, with what had been acknowledged by then.
type moment struct {
	disk  *vfs.Mem
	acked map[uint64]string
	asked map[string]bool
	op    vfs.Op
}

func crashEverywhere(t *testing.T, keep float64, sector int64) {
	m, g := vfs.NewMem(), newLedger()
	rng := rand.New(rand.NewPCG(uint64(keep*10), uint64(sector)))
	var mu sync.Mutex
	var moments []moment
	m.SetHook(func(op vfs.Op) vfs.Fault {
		if !op.Kind.Changes() {
			return vfs.Fault{}
		}
		mu.Lock()
		defer mu.Unlock()
		g.mu.Lock()
		defer g.mu.Unlock()
		at := moment{acked: map[uint64]string{}, asked: map[string]bool{}, op: op}
		for seq, record := range g.acked {
			at.acked[seq] = record
		}
		for record := range g.asked {
			at.asked[record] = true
		}
		at.disk = m.CrashClone(vfs.Crash{Rand: rng, Keep: keep, Sector: sector})
		moments = append(moments, at)
		return vfs.Fault{}
	})
	workload(t, m, g)
	mu.Lock()
	defer mu.Unlock()
	if len(moments) < 100 {
		t.Fatalf("only %d moments", len(moments))
	}
	for i, at := range moments {
		book := newLedger()
		book.asked = at.asked
		for seq, record := range at.acked {
			book.ack(t, seq, record)
		}
		t.Run(fmt.Sprintf("%d %s %s", i, at.op.Kind, at.op.Path), func(t *testing.T) { reopenAndCheck(t, at.disk, book) })
	}
}

func workload(t *testing.T, m *vfs.Mem, g *ledger) {
	l := mustOpen(t, memOptions(m))
	cursor, err := l.Cursor("follower")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		record := fmt.Sprintf(`{"i":%d,"pad":%q}`, i, strings.Repeat("x", i*7%300))
		if err := g.append(t.Context(), t, l, record); err != nil {
			t.Fatal(err)
		}
		switch i % 20 {
		case 7:
			batch := []string{record + "a", record + "b", record + "c"}
			if err := g.appendBatch(t.Context(), t, l, batch); err != nil {
				t.Fatal(err)
			}
		case 12:
			cursor.Advance(l.Last())
			if err := cursor.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		case 19:
			if err := l.Truncate(t.Context(), l.Last()/2); err != nil {
				t.Fatal(err)
			}
			settled(t, l)
		}
	}
	mustClose(t, l)
}

// TestCrashWithManyAppenders cuts the power at random moments under concurrent appends.
func TestCrashWithManyAppenders(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 1))
			m, g := vfs.NewMem(), newLedger()
			l := mustOpen(t, memOptions(m))
			var wg sync.WaitGroup
			defer wg.Wait()
			for a := range 8 {
				wg.Go(func() {
					for i := range 30 {
						if err := g.append(t.Context(), t, l, fmt.Sprintf(`{"a":%d,"i":%d,"pad":"%0*d"}`, a, i, i*5, 0)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			for range 10 {
				// What is acknowledged before the cut must be in the clone; what comes later may be.
				g.mu.Lock()
				before := newLedger()
				for seq, record := range g.acked {
					before.acked[seq] = record
					before.highest = max(before.highest, seq)
				}
				g.mu.Unlock()
				clone := m.CrashClone(vfs.Crash{Rand: rng, Keep: rng.Float64()})
				g.mu.Lock()
				for record := range g.asked {
					before.asked[record] = true
				}
				g.mu.Unlock()
				reopenAndCheck(t, clone, before)
			}
			wg.Wait()
			g.check(t, l)
			mustClose(t, l)
		})
	}
}

// TestCrashAgainDuringRecovery cuts the power at every step of the recovery from a first cut.
func TestCrashAgainDuringRecovery(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 2))
		m, g := vfs.NewMem(), newLedger()
		l := mustOpen(t, memOptions(m))
		for i := range 25 {
			if err := g.append(t.Context(), t, l, fmt.Sprintf(`{"i":%d,"pad":"%0*d"}`, i, 200, 0)); err != nil {
				t.Fatal(err)
			}
		}
		torn := tearBatch(t, m, l, g, rng)
		mustClose(t, l)
		var again []*vfs.Mem
		torn.SetHook(func(op vfs.Op) vfs.Fault {
			if op.Kind.Changes() {
				again = append(again, torn.CrashClone(vfs.Crash{Rand: rng, Keep: 0.5}))
			}
			return vfs.Fault{}
		})
		second := mustOpen(t, memOptions(torn))
		torn.SetHook(nil)
		settled(t, second)
		mustClose(t, second)
		for _, clone := range again {
			reopenAndCheck(t, clone, g.copy())
		}
	}
}

// tearBatch appends a batch whose fsync never comes and returns the disk as the power cut leaves it.
func tearBatch(t *testing.T, m *vfs.Mem, l *wal.Log, g *ledger, rng *rand.Rand) *vfs.Mem {
	t.Helper()
	settled(t, l)
	var clone *vfs.Mem
	m.SetHook(func(op vfs.Op) vfs.Fault {
		if op.Kind == vfs.OpSync && clone == nil {
			clone = m.CrashClone(vfs.Crash{Rand: rng, Keep: 0.7, Sector: 64})
		}
		return vfs.Fault{}
	})
	var batch []string
	for i := range 5 {
		batch = append(batch, fmt.Sprintf(`{"torn":%d,"pad":"%0*d"}`, i, 150, 0))
		g.ask(batch[i])
	}
	data := make([][]byte, len(batch))
	for i, r := range batch {
		data[i] = []byte(r)
	}
	if _, err := l.AppendBatch(context.WithoutCancel(t.Context()), data); err != nil {
		t.Fatal(err)
	}
	m.SetHook(nil)
	return clone
}

func (g *ledger) copy() *ledger {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := newLedger()
	for record := range g.asked {
		c.asked[record] = true
	}
	for seq, record := range g.acked {
		c.acked[seq] = record
	}
	c.highest = g.highest
	return c
}
