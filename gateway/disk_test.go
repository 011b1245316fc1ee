package gateway

import (
	"strings"
	"syscall"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/wal"
	"github.com/33god/bloodbank/wal/vfs"
)

// With the real log on a disk that fails in every way: the refusal names a code and a next step, the same id sent again
// is new until it was accepted and a duplicate from then on, also in the next life, and is in the log once.
func TestDiskFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		kind vfs.OpKind
		err  error
		code bloodbank.Code
		says string
	}{
		{"full at a write", vfs.OpWrite, syscall.ENOSPC, bloodbank.CodeStorageFull, "Make room"},
		{"over quota", vfs.OpWrite, syscall.EDQUOT, bloodbank.CodeStorageFull, "Make room"},
		{"full at the fsync", vfs.OpSync, syscall.ENOSPC, bloodbank.CodeStorageFull, "Make room"},
		{"write error", vfs.OpWrite, syscall.EIO, bloodbank.CodeUnavailable, "same event_id"},
		{"fsync error", vfs.OpSync, syscall.EIO, bloodbank.CodeUnavailable, "same event_id"},
		{"read-only", vfs.OpWrite, syscall.EROFS, bloodbank.CodeUnavailable, "cannot be written"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := vfs.NewMem()
			log, g := openOn(t, m)
			m.SetHook(func(op vfs.Op) vfs.Fault {
				if op.Kind == tt.kind && strings.HasSuffix(op.Path, ".jsonl") {
					return vfs.Fault{Err: tt.err, Short: 20, Drop: true}
				}
				return vfs.Fault{}
			})
			requests := []Request{demo(oldID(1)), demo(oldID(2))}
			_, err := g.AcceptAll(t.Context(), requests)
			if e := refused(t, err, tt.code); !strings.Contains(e.Message, tt.says) {
				t.Errorf("%q", e.Message)
			}
			m.SetHook(nil)
			for i := range 2 {
				receipts, err := g.AcceptAll(t.Context(), requests)
				if err != nil || receipts[0].Duplicate != (i == 1) || receipts[1].Sequence != 2 {
					t.Fatalf("time %d after the fault: %+v %v", i, receipts, err)
				}
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			log, g = openOn(t, m.KillClone())
			receipts, err := g.AcceptAll(t.Context(), requests)
			if err != nil || !receipts[0].Duplicate || receipts[1].Sequence != 2 || log.Last() != 2 {
				t.Errorf("in the next life: %+v %v, the log ends at %d", receipts, err, log.Last())
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// openOn begins a life of log and gateway, as app does.
func openOn(t *testing.T, m *vfs.Mem) (*wal.Log, *Gateway) {
	t.Helper()
	log, err := wal.Open(t.Context(), wal.Options{Dir: "/data/wal", FS: m, SegmentSize: 8 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	g, _ := setup(t, func(o *Options) { o.Log = log })
	r, err := log.NewReader(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		record, ok, err := r.TryNext()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return log, g
		}
		g.Remember(record.Seq, record.Data)
	}
}
