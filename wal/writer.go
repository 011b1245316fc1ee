package wal

import (
	"errors"
	"fmt"
	"time"

	"github.com/33god/bloodbank/wal/segment"
	"github.com/33god/bloodbank/wal/vfs"
)

// writer puts batches into the active segment. It belongs to the goroutine that commits, except where a method says
// that Log.mu is held.
type writer struct {
	l      *Log
	active *activeSegment // nil: the next commit opens one
	// unused segments hold no record, but perhaps a header with the newest sequence: they go when a later one has it.
	unused []*activeSegment
	header []byte
}

// activeSegment is the segment that takes records.
type activeSegment struct {
	id     uint64
	path   string
	file   vfs.File
	off    int64       // where the next batch goes; 0: the header is not written yet
	filled bool        // newlines reach to the end of the segment, so that fdatasync writes no metadata
	ref    *segmentRef // nil until a commit has succeeded
	start  int64       // offset of the batch just committed
}

// commit makes b durable: one write, one fdatasync. On an error nothing of b counts; the segment is cut back or sealed.
func (w *writer) commit(b *batch) error {
	if err := w.makeRoom(b); err != nil {
		return err
	}
	a := w.active
	at := a.off
	if at == 0 {
		w.header = segment.AppendHeader(w.header[:0], segment.Header{First: b.first, Created: w.l.opt.Now()})
		n, err := a.file.WriteAt(w.header, 0)
		if err != nil {
			return w.writeFailed(err)
		}
		at = int64(n)
	}
	if _, err := a.file.WriteAt(b.buf, at); err != nil {
		return w.writeFailed(err)
	}
	begin := time.Now()
	if err := a.file.Sync(); err != nil {
		w.seal(true)
		return fmt.Errorf("fsync of %s failed, the segment takes no more records: %w", a.path, classify(err))
	}
	w.l.observeFsync(time.Since(begin))
	for _, old := range w.unused {
		w.l.keep.add(job{seal: old})
	}
	w.unused = w.unused[:0]
	a.start, a.off = at, at+int64(len(b.buf))
	return nil
}

// publishLocked shows a committed batch to readers. Log.mu is held.
func (w *writer) publishLocked(b *batch) {
	a := w.active
	if a.ref == nil {
		a.ref = &segmentRef{id: a.id, path: a.path, first: b.first}
		w.l.segments = append(w.l.segments, a.ref)
	}
	ref := a.ref
	if ref.first == 0 {
		ref.first = b.first
	}
	ref.last, ref.end = b.first+uint64(b.n)-1, a.off
	for _, mark := range b.starts {
		at := mark.Off + a.start
		if n := len(ref.marks); n == 0 || at-ref.marks[n-1].Off >= segment.MarkEvery {
			ref.marks = append(ref.marks, segment.Mark{Seq: mark.Seq, Off: at})
		}
	}
}

// makeRoom changes to a new segment when b does not fit, or when the active one grows with every write and a filled
// one has become ready.
func (w *writer) makeRoom(b *batch) error {
	if a := w.active; a != nil {
		fits := a.off+int64(len(b.buf)) <= w.l.opt.SegmentSize
		if a.off == 0 {
			fits = true
		}
		if fits && (a.filled || !w.l.keep.hasSpare()) {
			return nil
		}
		w.seal(false)
	}
	a, err := w.l.keep.next()
	if err != nil {
		return fmt.Errorf("open a new segment: %w", classify(err))
	}
	w.active = a
	return nil
}

// writeFailed handles a write that did not do all its work. Nothing was synced since, so cutting the file back to what
// is durable undoes it; a disk that is full can be used again when it has space. If cutting fails too, or the fault is
// another one, the segment is sealed.
func (w *writer) writeFailed(err error) error {
	a := w.active
	err = classify(err)
	if errors.Is(err, ErrFull) && a.file.Truncate(a.off) == nil {
		a.filled = false
		return fmt.Errorf("write to %s: %w", a.path, err)
	}
	w.seal(true)
	return fmt.Errorf("write to %s failed, the segment takes no more records: %w", a.path, err)
}

// seal ends the active segment. The keeper cuts its tail off; after a fault that is only tidying, since the header of
// the next segment makes void what is left behind here.
func (w *writer) seal(fault bool) {
	a := w.active
	w.active = nil
	w.l.mu.Lock()
	if fault {
		w.l.badSeals++
		if a.ref != nil {
			a.ref.faulty = true
		}
	}
	w.l.mu.Unlock()
	if a.ref == nil {
		w.unused = append(w.unused, a)
		return
	}
	w.l.keep.add(job{seal: a, fault: fault})
}

func (w *writer) close() error {
	var errs []error
	for _, a := range append(w.unused, w.active) {
		if a != nil {
			errs = append(errs, a.file.Close())
		}
	}
	return errors.Join(errs...)
}
