package dispatch

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/33god/bloodbank/wal"
	"github.com/33god/bloodbank/wal/vfs"
)

// A poison message has MaxAttempts over all lives of the process, and a restart
// does not make it due.
func TestAttemptsSurviveRestarts(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"", "k"} {
		for _, ordered := range []bool{false, true} {
			run(t, func(r *rig) {
				r.broker.ordered = ordered
				r.change = func(o *Options) { o.MaxAttempts, o.Backoff, o.MaxBackoff = 4, 20*time.Second, time.Minute }
			}, func(r *rig) {
				poison := r.poison(key, nack)
				r.pass(time.Second)
				r.accept("") // shows that the bus works
				var behind []event
				for life := 1; r.d.Status().Dead == 0; life++ {
					sent := r.broker.sent(poison.id)
					r.require(life <= 4 && sent == life, "life %d, sent %d times", life, sent)
					for range 5 {
						r.kill()
						behind = append(behind, r.accept(key)...)
						r.pass(100 * time.Millisecond)
						r.checkAll()
					}
					r.require(r.broker.sent(poison.id) == sent, "a restart has sent it again before its time")
					for i := 0; r.broker.sent(poison.id) == sent; i++ {
						r.require(i < 90, "it was not sent again in its time")
						r.pass(time.Second)
					}
					r.pass(10 * time.Millisecond)
				}
				letter := r.dead.List(0, 0)[0]
				r.require(r.broker.sent(poison.id) == 4 && letter.Attempts == 4, "sent %d times: %+v", r.broker.sent(poison.id), letter)
				r.settled(1)
				for _, e := range behind {
					r.require(r.broker.sent(e.id) == 1, "sent %d times", r.broker.sent(e.id))
				}
				r.restart()
				r.require(len(r.journal.attempts) == 0, "%v", r.journal.attempts)
			})
		}
	}
}

// While the journal cannot be written nothing else waits for it, and what it
// should know is written when it works again.
func TestJournalOnAFullDisk(t *testing.T) {
	t.Parallel()
	run(t, func(r *rig) { r.change = func(o *Options) { o.Backoff, o.MaxBackoff = time.Hour, time.Hour } }, func(r *rig) {
		r.mem.SetHook(func(op vfs.Op) vfs.Fault {
			if op.Kind == vfs.OpWrite && strings.HasPrefix(op.Path, "/journal/0") {
				return vfs.Fault{Err: errors.New("no space left")}
			}
			return vfs.Fault{}
		})
		poison := r.poison("", nack)
		r.pass(time.Second)
		r.accept(keys(100, "")...)
		r.require(r.d.Status().Lag == 1, "%+v", r.d.Status())
		r.require(len(r.journal.of(MainTarget)) == 0, "it was written")
		r.mem.SetHook(nil)
		r.pass(10 * time.Second)
		r.require(r.journal.of(MainTarget)[1].count == 1, "%v", r.journal.attempts)
		r.kill()
		r.pass(time.Second)
		r.require(r.broker.sent(poison.id) == 1, "sent again at once")
		r.broker.set(func(b *broker) { delete(b.always, poison.id) })
		r.pass(time.Hour)
		r.settled(0)
	})
}

// The journal stays small however much it is written, and keeps what counts
// through any end of the process.
func TestJournalIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, mem := t.Context(), vfs.NewMem()
		random := rand.New(rand.NewPCG(3, 3))
		var log *wal.Log
		open := func() *Journal {
			var err error
			log, err = wal.Open(ctx, wal.Options{Dir: "/journal", FS: mem, SegmentSize: 16 << 10})
			if err != nil {
				t.Fatal(err)
			}
			j, err := OpenJournal(ctx, log)
			if err != nil {
				t.Fatal(err)
			}
			return j
		}
		j := open()
		want := map[uint64]attempt{}
		for i := range uint64(3000) {
			a := attempt{count: random.IntN(3), due: time.Now().UTC()}
			seq := i % 20
			if err := j.note(ctx, "x", map[uint64]attempt{seq: a}); err != nil {
				t.Fatal(err)
			}
			if want[seq] = a; a.count == 0 {
				delete(want, seq)
			}
			if i%700 == 0 {
				after := mem.CrashClone(vfs.Crash{Keep: random.Float64(), Rand: random})
				_ = log.Close()
				mem = after
				j = open()
			}
			if got := j.of("x"); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("after %d: %v, want %v", i, got, want)
			}
		}
		synctest.Wait()
		if s := log.Status(); s.Bytes > 64<<10 {
			t.Errorf("%d bytes in %d segments", s.Bytes, s.Segments)
		}
		many := map[uint64]attempt{}
		for i := range uint64(maxRemembered + 100) {
			many[1000+i] = attempt{count: 1}
		}
		_ = j.note(ctx, "y", many) // too large for this small log, but counted all the same
		if n := len(j.of("x")) + len(j.of("y")); n > maxRemembered {
			t.Errorf("%d are remembered", n)
		}
		_ = log.Close()
	})
}
