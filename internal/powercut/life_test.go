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
	noteDir = dataDir + "/dispatch"
)

var errPowerOff = errors.New("the power is off")

// life is one process: all that app puts together between the doors and the bus.
type life struct {
	alive   atomic.Bool // until it is killed or the power is cut
	opening atomic.Bool
	acked   map[bloodbank.EventID]bool // in this life; guarded by the book
	log     *wal.Log
	deadLog *wal.Log
	noteLog *wal.Log
	dead    *dispatch.DeadLetters
	gateway *gateway.Gateway
	lanes   []lane    // one for each broker
	early   *earlyLog // a mutation; else nil
}

// lane is the way to one broker.
type lane struct {
	target string
	broker *broker
	disp   *dispatch.Dispatcher
	cursor *wal.Cursor
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
	if l.noteLog, err = wal.Open(ctx, wal.Options{Dir: noteDir, FS: disk, SegmentSize: segmentSize, Now: now}); err != nil {
		return err
	}
	journal, err := dispatch.OpenJournal(ctx, l.noteLog)
	if err != nil {
		return err
	}
	retention, err := dispatch.NewRetention(l.log, journal)
	if err != nil {
		return err
	}
	var log gateway.Log = l.log
	if w.setup.early {
		l.early = newEarlyLog(l.log)
		log = l.early
	}
	l.gateway = gateway.New(gateway.Options{Log: log, Schemas: anything{}, Archive: w.brokers[0], Host: "box", Now: now})
	if err := l.remember(); err != nil {
		return err
	}
	for _, b := range w.brokers {
		way, err := l.laneTo(b, w.setup.parked, retention)
		if err != nil {
			return err
		}
		l.lanes = append(l.lanes, way)
	}
	return nil
}

func (l *life) laneTo(b *broker, parked int, retention *dispatch.Retention) (way lane, err error) {
	way = lane{target: b.target, broker: b}
	if way.cursor, err = l.log.Cursor(dispatch.CursorOf(b.target)); err != nil {
		return way, err
	}
	var p bus.Publisher = connection{b, &l.alive}
	if !b.forgetful {
		p = recaller{connection{b, &l.alive}}
	}
	way.disp, err = dispatch.New(dispatch.Options{Log: l.log, Publisher: p, Dead: l.dead, Retention: retention, Target: b.target, FromStart: true,
		MaxAttempts: 2, MaxParked: parked, Backoff: 50 * time.Millisecond, MaxBackoff: 2 * time.Second})
	return way, err
}

// start begins to publish to all brokers.
func (l *life) start(ctx context.Context) error {
	for _, way := range l.lanes {
		if err := way.disp.Start(ctx); err != nil {
			return err
		}
	}
	return nil
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
	for _, way := range l.lanes {
		faults = append(faults, way.disp.Stop(ctx))
	}
	if l.early != nil {
		l.early.close()
	}
	for _, log := range []*wal.Log{l.noteLog, l.deadLog, l.log} {
		if log != nil {
			faults = append(faults, log.Close())
		}
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
