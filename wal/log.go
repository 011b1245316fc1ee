package wal

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/33god/bloodbank/wal/segment"
	"github.com/33god/bloodbank/wal/vfs"
)

// Log is an open write-ahead log. All its methods may be called from any number of goroutines.
type Log struct {
	opt  Options
	fs   vfs.FS
	lock io.Closer
	keep *keeper

	// writer is owned by whoever commits: one goroutine at a time, the one that committing speaks of.
	writer writer

	fsync    atomic.Int64 // moving average in nanoseconds
	joined   atomic.Int64 // records in pending
	expected atomic.Int64 // appenders that may come back at once: those just released and those already waiting

	mu         sync.Mutex // guards everything below; never held during disk work
	closed     bool
	committing bool
	pending    *batch // collects records while another batch is on its way to the disk
	spareBuf   []byte
	next       uint64 // sequence of the next record put into pending
	floor      uint64 // next is never below this: what a cursor or a header has seen is not used again
	last       uint64 // newest durable record
	commits    uint64
	dropped    uint64        // newest record given away by Truncate
	segments   []*segmentRef // oldest first; each holds or held a durable record
	cursors    map[string]*Cursor
	space      chan struct{} // closed when pending has room again; nil when nobody waits
	grown      chan struct{} // closed when last rises or the log closes; nil when nobody waits
	idle       chan struct{} // closed when a closed log has no commit left; made by Close
	faults     []Fault
	faultCount int
	cut        int64 // bytes of torn tail removed at open
	badSeals   int
	lastErr    error
	closeOnce  sync.Once
	closeErr   error
}

// segmentRef is a segment that can be read. Its fields are guarded by Log.mu.
type segmentRef struct {
	id          uint64
	path        string
	first, last uint64
	end         int64 // just after the last durable record
	marks       []segment.Mark
	readers     int
	faulty      bool // sealed by an error; the file is not used again
	gaps        bool // records were missing when the log was opened
}

// Append stores one record and returns its sequence, after fdatasync has covered it. The record is one line that the
// caller says is JSON; it is copied before Append returns or blocks.
//
// While earlier batches are on their way and MaxBatch bytes wait already, it blocks. When ctx ends first it returns the
// context's error, and the record may still become durable if it was already in line.
//
// Errors: [ErrInvalidRecord], [ErrTooLarge], [ErrClosed], [ErrFull], [ErrReadOnly], or the fault of the disk. After an
// error the record may still appear when the log is read or opened again: append it again with an id of its own that
// tells the reader, or accept that.
func (l *Log) Append(ctx context.Context, record []byte) (uint64, error) {
	if err := l.check(record); err != nil {
		return 0, err
	}
	return l.commitOne(ctx, record, segment.Sum(record))
}

// AppendBatch stores records with consecutive sequences in one commit and returns the first. On an error none is
// acknowledged, but some of them may appear later, after a power cut in any combination. Together they must fit into one
// segment, else [ErrTooLarge].
// No records at all is [ErrInvalidRecord].
func (l *Log) AppendBatch(ctx context.Context, records [][]byte) (uint64, error) {
	if len(records) == 0 {
		return 0, ErrInvalidRecord
	}
	total := 0
	for _, record := range records {
		if err := l.check(record); err != nil {
			return 0, err
		}
		total += len(record) + segment.Overhead
	}
	if err := l.checkTotal(total); err != nil {
		return 0, err
	}
	return l.commitMany(ctx, records, total)
}

// First is the oldest record that can be read; 0 when there is none.
func (l *Log) First() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.segments) == 0 {
		return 0
	}
	return l.segments[0].first
}

// Last is the newest durable record; 0 when there never was one.
func (l *Log) Last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// Close refuses new appends, waits until those in line have their verdict, writes the cursors, ends the background
// work and lets go of the folder. Readers must be closed by themselves; a waiting Next returns [ErrClosed]. Closing
// again does nothing and returns the same.
func (l *Log) Close() error {
	l.closeOnce.Do(func() { l.closeErr = l.close() })
	return l.closeErr
}

func (l *Log) close() error {
	l.mu.Lock()
	l.closed = true
	l.wakeReadersLocked()
	l.wakeSpaceLocked()
	l.idle = make(chan struct{})
	idle := l.idle
	if !l.committing {
		close(idle)
	}
	l.mu.Unlock()
	<-idle // the committing goroutine also commits what is still pending

	l.keep.stop()
	err := errors.Join(l.saveCursors(), l.writer.close())
	return errors.Join(err, l.lock.Close())
}

func (l *Log) commitCount() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.commits
}

func (l *Log) wakeReadersLocked() {
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
}

func (l *Log) wakeSpaceLocked() {
	if l.space != nil {
		close(l.space)
		l.space = nil
	}
}

// note keeps an error of background work for Status and tells the logger; there is nobody to return it to.
func (l *Log) note(msg string, err error) {
	if err == nil {
		return
	}
	l.opt.Logger.Error(msg, "dir", l.opt.Dir, "error", err)
	l.mu.Lock()
	l.lastErr = err
	l.mu.Unlock()
}

func (l *Log) observeFsync(took time.Duration) {
	old := l.fsync.Load()
	if old == 0 {
		l.fsync.Store(int64(took))
		return
	}
	l.fsync.Store(old + (int64(took)-old)/8)
}
