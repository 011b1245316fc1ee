package wal

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/33god/bloodbank/wal/segment"
)

// batch is what one write and one fdatasync make durable. Its fields are guarded by Log.mu until it is detached; then
// they belong to the committing goroutine; after done is closed err and first may be read by all.
type batch struct {
	buf    []byte
	first  uint64
	n      int
	starts []segment.Mark // sparse: offset in buf
	done   chan struct{}  // made when somebody waits
	lead   chan struct{}  // tells the designated leader to commit; nil when it began at once
	orphan bool           // the designated leader has left; whoever commits before takes it over
	err    error
}

func (l *Log) check(record []byte) error {
	if len(record) > l.opt.MaxRecord {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(record), l.opt.MaxRecord)
	}
	if len(record) == 0 || bytes.IndexByte(record, '\n') >= 0 || bytes.IndexByte(record, '\r') >= 0 {
		return ErrInvalidRecord
	}
	return nil
}

func (l *Log) checkTotal(total int) error {
	if room := l.opt.SegmentSize - segment.MaxHeader; int64(total) > room {
		return fmt.Errorf("%w: the batch has %d bytes, a segment holds %d; append it in parts", ErrTooLarge, total, room)
	}
	return nil
}

func (l *Log) commitOne(ctx context.Context, record []byte, sum uint32) (uint64, error) {
	b, leads, err := l.join(ctx, len(record)+segment.Overhead)
	if err != nil {
		return 0, err
	}
	seq := b.add(l, record, sum)
	if leads {
		l.mu.Unlock()
		return result(seq, l.commitAsLeader(b))
	}
	return l.await(ctx, b, seq)
}

func (l *Log) commitMany(ctx context.Context, records [][]byte, total int) (uint64, error) {
	b, leads, err := l.join(ctx, total)
	if err != nil {
		return 0, err
	}
	first := l.next
	for _, record := range records {
		b.add(l, record, segment.Sum(record))
	}
	if leads {
		l.mu.Unlock()
		return result(first, l.commitAsLeader(b))
	}
	return l.await(ctx, b, first)
}

func result(seq uint64, err error) (uint64, error) {
	if err != nil {
		return 0, err
	}
	return seq, nil
}

// join returns the pending batch with room for size bytes, and Log.mu locked; leads says that the caller must commit
// it, because nobody else is committing. On an error the lock is free.
func (l *Log) join(ctx context.Context, size int) (b *batch, leads bool, err error) {
	l.mu.Lock()
	for {
		if l.closed {
			l.mu.Unlock()
			return nil, false, ErrClosed
		}
		if err := ctx.Err(); err != nil {
			l.mu.Unlock()
			return nil, false, err
		}
		if l.pending == nil || len(l.pending.buf)+size <= l.opt.MaxBatch {
			break
		}
		if l.space == nil {
			l.space = make(chan struct{})
		}
		space := l.space
		l.mu.Unlock()
		select {
		case <-space:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
		l.mu.Lock()
	}
	if l.pending == nil {
		l.pending = &batch{buf: l.takeBufLocked(size), first: l.next}
		leads = !l.committing
		l.committing = true
		if !leads {
			l.pending.lead = make(chan struct{}, 1)
		}
	}
	return l.pending, leads, nil
}

// takeBufLocked reuses the buffer of an earlier batch. A buffer that grew over MaxBatch for one large request is not kept.
func (l *Log) takeBufLocked(size int) []byte {
	buf := l.spareBuf
	l.spareBuf = nil
	if cap(buf) < size {
		buf = make([]byte, 0, size)
	}
	return buf[:0]
}

// add puts a record into the batch; Log.mu is held.
func (b *batch) add(l *Log, record []byte, sum uint32) uint64 {
	seq := l.next
	l.next++
	if n := len(b.starts); n == 0 || int64(len(b.buf))-b.starts[n-1].Off >= segment.MarkEvery {
		b.starts = append(b.starts, segment.Mark{Seq: seq, Off: int64(len(b.buf))})
	}
	b.buf = segment.AppendRecord(b.buf, seq, record, sum)
	b.n++
	l.joined.Store(int64(b.n))
	return seq
}

// await waits for the verdict on a batch that the caller has joined. Log.mu is held, and let go at once. The one that
// opened the batch also waits for its turn to commit it.
func (l *Log) await(ctx context.Context, b *batch, seq uint64) (uint64, error) {
	if b.done == nil {
		b.done = make(chan struct{})
	}
	var lead chan struct{}
	if b.first == seq {
		lead = b.lead
	}
	l.mu.Unlock()

	cancelled := ctx.Done()
	switch {
	case lead != nil:
		select {
		case <-b.done:
			return result(seq, b.err)
		case <-lead:
			return result(seq, l.commitAsLeader(b))
		case <-cancelled:
		}
	case cancelled == nil: // much cheaper than select, and most appenders are here
		<-b.done
	default:
		select {
		case <-b.done:
		case <-cancelled:
		}
	}
	select {
	case <-b.done: // both may have come at once: the verdict is the better answer
		return result(seq, b.err)
	default:
	}
	if lead != nil && !l.abandon(b) {
		return result(seq, l.commitAsLeader(b))
	}
	return 0, ctx.Err()
}

// abandon lets the designated leader go. It returns false when its turn has come already: then it must commit, for
// the others' sake.
func (l *Log) abandon(b *batch) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-b.lead:
		return false
	default:
		b.orphan = true
		return true
	}
}

// takeOverMost is how long a leader goes on for others after it has its own verdict.
const takeOverMost = time.Millisecond

// takeOverFrom is the size of a batch from which a leader goes on with it.
const takeOverFrom = 16

// commitAsLeader commits b, which is pending, in the caller's goroutine, then hands over to the leader of the batch
// that came together meanwhile. While that batch is large already it commits it too, since every moment between two
// commits the disk has nothing to do, and slows down. It returns the verdict on b.
func (l *Log) commitAsLeader(b *batch) error {
	own := b
	var since time.Time
	for {
		if b == own || b.orphan {
			runtime.Gosched() // those just released come back now: they belong into this batch
			l.linger()
		}
		l.mu.Lock()
		l.pending = nil
		l.wakeSpaceLocked()
		l.mu.Unlock()

		err := l.writer.commit(b)
		if b == own {
			since = time.Now()
		}
		following := l.finish(b, err, time.Since(since) < takeOverMost)
		if following == nil {
			return own.err
		}
		b = following
	}
}

// The wait of linger: at most an fsync and a millisecond, and no longer than this without anybody coming. An appender
// takes about appendCost to come back; when all of them would take more than a quarter of an fsync, it is better to let
// them come during the next one.
const (
	lingerMost = time.Millisecond
	lingerIdle = 8 * time.Microsecond // and a 64th of an fsync
	appendCost = time.Microsecond
)

// linger waits for the appenders that were just released, as long as they keep coming. Without it they split into
// parts that take turns, each waiting for the other's fsync. It yields in a loop since timers are too coarse. A lone
// appender does not wait at all.
func (l *Log) linger() {
	fsync := time.Duration(l.fsync.Load())
	joined, expected := l.joined.Load(), l.expected.Load()
	if joined >= expected || time.Duration(expected-joined)*appendCost > fsync/4 {
		return
	}
	begin := time.Now()
	last, most, idle := begin, min(fsync, lingerMost), max(fsync/64, lingerIdle)
	for {
		runtime.Gosched()
		now := time.Now()
		if n := l.joined.Load(); n != joined {
			joined, last = n, now
		}
		if joined >= expected || now.Sub(last) >= idle || now.Sub(begin) >= most {
			return
		}
	}
}

// finish publishes the verdict on b and wakes who waits for it. It returns the next batch if the caller has to commit
// that too, because its leader has left or, with takeOver, because it is at least half as large.
func (l *Log) finish(b *batch, err error, takeOver bool) (following *batch) {
	b.err = err
	l.mu.Lock()
	if err == nil {
		l.last = b.first + uint64(b.n) - 1
		l.commits++
		l.writer.publishLocked(b)
		l.wakeReadersLocked()
	} else {
		l.failLocked(err)
	}
	if cap(b.buf) <= 2*l.opt.MaxBatch {
		l.spareBuf = b.buf[:0]
	}
	b.buf = nil
	following = l.handOverLocked(b.n, takeOver)
	l.mu.Unlock()
	if b.done != nil {
		close(b.done)
	}
	return following
}

// handOverLocked passes the right to commit to the leader of the batch that waits, or returns that batch for the caller
// to commit. released appenders are about to run again.
func (l *Log) handOverLocked(released int, takeOver bool) (following *batch) {
	b := l.pending
	if b == nil {
		l.expected.Store(int64(released))
		l.committing = false
		if l.idle != nil {
			close(l.idle)
		}
		return nil
	}
	l.expected.Store(int64(released + b.n))
	if b.orphan || (takeOver && b.n >= takeOverFrom && 2*b.n >= released) {
		return b
	}
	b.lead <- struct{}{}
	return nil
}

// failLocked gives the batch that waits the same verdict: its sequences follow those that failed. The next record gets
// the sequence after the newest durable one.
func (l *Log) failLocked(err error) {
	l.lastErr = err
	l.next = max(l.last+1, l.floor)
	b := l.pending
	if b == nil {
		return
	}
	l.pending = nil
	b.err = err
	if b.done != nil {
		close(b.done)
	}
	l.wakeSpaceLocked()
}
