package powercut

import (
	"context"
	"errors"
	"path"
	"sync/atomic"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/dispatch"
	"github.com/33god/bloodbank/gateway"
	"github.com/33god/bloodbank/wal"
	"github.com/33god/bloodbank/wal/vfs"
)

// The folders, which do not exist at first, nor does what is above them.
const (
	dataDir = "/srv/bloodbank"
	walDir  = dataDir + "/wal"
	deadDir = dataDir + "/deadletters"
)

var errPowerOff = errors.New("the power is off")

// life is one process: all that app puts together between the doors and the bus.
type life struct {
	alive   atomic.Bool // until it is killed or the power is cut
	opening atomic.Bool
	acked   map[bloodbank.EventID]bool // in this life; guarded by the book
	log     *wal.Log
	deadLog *wal.Log
	dead    *dispatch.DeadLetters
	gateway *gateway.Gateway
	disp    *dispatch.Dispatcher
	cursor  *wal.Cursor
	early   *earlyLog // a mutation; else nil
}

// open makes the whole thing as app does, dispatcher last.
func (l *life) open(ctx context.Context, w *world, disk *vfs.Mem) (err error) {
	l.opening.Store(true)
	defer l.opening.Store(false)
	now := func() time.Time { return time.Now().Add(time.Duration(w.clock.Load())) }
	o := wal.Options{Dir: walDir, FS: disk, SegmentSize: segmentSize, MaxBatch: 2048, RetainBytes: w.setup.retain, Now: now}
	if l.log, err = wal.Open(ctx, o); err != nil {
		return err
	}
	if l.deadLog, err = wal.Open(ctx, wal.Options{Dir: deadDir, FS: disk, SegmentSize: segmentSize, Now: now}); err != nil {
		return err
	}
	if l.dead, err = dispatch.OpenDeadLetters(ctx, l.deadLog); err != nil {
		return err
	}
	var log gateway.Log = l.log
	if w.setup.early {
		l.early = newEarlyLog(l.log)
		log = l.early
	}
	l.gateway = gateway.New(gateway.Options{Log: log, Schemas: anything{}, Archive: w.broker, Host: "box", Now: now})
	if err := l.remember(); err != nil {
		return err
	}
	if l.cursor, err = l.log.Cursor(dispatch.CursorName); err != nil {
		return err
	}
	var p bus.Publisher = connection{w.broker, &l.alive}
	if !w.broker.forgetful {
		p = recaller{connection{w.broker, &l.alive}}
	}
	l.disp, err = dispatch.New(dispatch.Options{Log: l.log, Publisher: p, Dead: l.dead, MaxAttempts: 2, MaxParked: w.setup.parked,
		Backoff: 50 * time.Millisecond, MaxBackoff: 2 * time.Second})
	return err
}

func (l *life) remember() error {
	r, err := l.log.NewReader(0)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		record, ok, err := r.TryNext()
		if !ok || err != nil {
			return err
		}
		l.gateway.Remember(record.Seq, record.Data)
	}
}

// end stops everything in order, as app does.
func (l *life) end(ctx context.Context) error {
	var faults []error
	if l.disp != nil {
		faults = append(faults, l.disp.Stop(ctx))
	}
	if l.early != nil {
		l.early.close()
	}
	if l.deadLog != nil {
		faults = append(faults, l.deadLog.Close())
	}
	if l.log != nil {
		faults = append(faults, l.log.Close())
	}
	return errors.Join(faults...)
}

// anything is a registry without a demand.
type anything struct{}

func (anything) Validate(bloodbank.EventType, []byte) error           { return nil }
func (anything) ValidatePermissive(bloodbank.EventType, []byte) error { return nil }

// earlyLog is a mutation: it answers before the record is on disk.
type earlyLog struct {
	next  chan uint64
	queue chan [][]byte
	ended chan struct{}
}

func newEarlyLog(log *wal.Log) *earlyLog {
	e := &earlyLog{next: make(chan uint64, 1), queue: make(chan [][]byte, 1000), ended: make(chan struct{})}
	e.next <- log.Last() + 1
	go func() {
		defer close(e.ended)
		for records := range e.queue {
			_, _ = log.AppendBatch(context.Background(), records) // nobody waits for it: that is the fault
		}
	}()
	return e
}

func (e *earlyLog) Append(ctx context.Context, record []byte) (uint64, error) {
	return e.AppendBatch(ctx, [][]byte{record})
}

func (e *earlyLog) AppendBatch(_ context.Context, records [][]byte) (uint64, error) {
	first := <-e.next
	e.queue <- records
	e.next <- first + uint64(len(records))
	return first, nil
}

func (e *earlyLog) close() {
	close(e.queue)
	<-e.ended
}

// inFolder reports whether an operation works on dir itself or on something directly in it.
func inFolder(op vfs.Op, dir string) bool { return op.Path == dir || path.Dir(op.Path) == dir }
