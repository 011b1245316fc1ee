package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank"
)

func TestAckLevels(t *testing.T) {
	t.Parallel()
	const bus, stored, log = bloodbank.AckBus, bloodbank.AckStored, bloodbank.AckWAL
	tests := []struct {
		name                 string
		ask                  bloodbank.AckLevel
		confirmed, dead, had bool // had: stored
		want                 bloodbank.AckLevel
	}{
		{"default", "", true, false, true, log},
		{"wal", log, true, false, true, log},
		{"bus reached", bus, true, false, false, bus},
		{"bus not reached in time", bus, false, false, false, log},
		{"bus, dead letter", bus, false, true, false, log},
		{"stored reached", stored, true, false, true, stored},
		{"stored not reached in time", stored, true, false, false, bus},
		{"stored, bus is down", stored, false, false, false, log},
		{"stored, dead letter", stored, false, true, false, log},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				id, p := oldID(1), &fakeProgress{}
				if tt.confirmed {
					p.confirmed = []uint64{1}
				}
				if tt.dead {
					p.dead = []uint64{1}
				}
				if tt.had {
					p.stored = []bloodbank.EventID{id}
				}
				g, _ := setup(t, func(o *Options) { o.Progress = p; o.WaitTimeout = time.Second })
				r := demo(id)
				r.Ack = tt.ask
				begin := time.Now()
				for range 2 { // the second is a duplicate and is told the same
					receipt, err := g.Accept(t.Context(), r)
					if err != nil || receipt.Ack != tt.want || receipt.Sequence != 1 {
						t.Errorf("%+v %v", receipt, err)
					}
				}
				waits := tt.want != tt.ask && tt.ask != "" && !tt.dead
				if took := time.Since(begin); took != 0 && !waits || waits && took != 2*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// One timeout holds for all events together, and what was reached by then is
// said without further waiting.
func TestAckLevelsOfABatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		requests := make([]Request, 50)
		p := &fakeProgress{}
		for i := range requests {
			requests[i] = demo(oldID(byte(i + 1)))
			requests[i].Ack = bloodbank.AckStored
			p.confirmed = append(p.confirmed, uint64(i+1))
		}
		requests[1].Ack = bloodbank.AckWAL
		p.stored = []bloodbank.EventID{oldID(1), oldID(3)}
		g, _ := setup(t, func(o *Options) { o.Progress = p })
		begin := time.Now()
		receipts, err := g.AcceptAll(t.Context(), requests)
		if err != nil || time.Since(begin) != DefaultWaitTimeout {
			t.Fatalf("%v after %v", err, time.Since(begin))
		}
		for i, want := range []bloodbank.AckLevel{bloodbank.AckStored, bloodbank.AckWAL, bloodbank.AckStored, bloodbank.AckBus} {
			if receipts[i].Ack != want {
				t.Errorf("event %d: %s, want %s", i, receipts[i].Ack, want)
			}
		}
		if p.lookups > 4 {
			t.Errorf("%d looks into the store after the time was over", p.lookups-3)
		}
	})
}

func TestArchivedDuplicateHasReachedTheBus(t *testing.T) {
	t.Parallel()
	id := oldID(1)
	g, _ := setup(t, func(o *Options) {
		o.Archive = &fakeArchive{ids: []bloodbank.EventID{id}}
		o.Progress = &fakeProgress{stored: []bloodbank.EventID{id}}
	})
	for _, level := range []bloodbank.AckLevel{bloodbank.AckBus, bloodbank.AckStored} {
		r := demo(id)
		r.Ack = level
		if receipt, err := g.Accept(t.Context(), r); err != nil || receipt.Ack != level || !receipt.Duplicate {
			t.Errorf("%+v %v", receipt, err)
		}
	}
}
