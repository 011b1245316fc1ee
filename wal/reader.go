package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sort"

	"github.com/33god/bloodbank/wal/segment"
	"github.com/33god/bloodbank/wal/vfs"
)

// Record is one record of the log.
type Record struct {
	Seq  uint64
	Data []byte // valid until the next call on the reader that gave it
}

// Reader reads durable records in order. It belongs to one goroutine at a time; a log has any number of them. A reader
// keeps reading the segment it is in even when that is truncated away meanwhile.
type Reader struct {
	l      *Log
	next   uint64 // the smallest sequence to return
	ref    *segmentRef
	file   vfs.File
	scan   *segment.Scanner
	told   bool // the damage at next was reported
	closed bool
}

// NewReader returns a reader whose first record is from, or the oldest there is when from is 0, or the one that will
// get this sequence when it lies in the future. It returns [ErrTruncated] when from was given away by Truncate.
func (l *Log) NewReader(from uint64) (*Reader, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	if from == 0 {
		from = l.dropped + 1
	}
	if from <= l.dropped {
		return nil, l.truncatedLocked(from)
	}
	return &Reader{l: l, next: from}, nil
}

func (l *Log) truncatedLocked(seq uint64) error {
	return fmt.Errorf("%w: %d was asked for, the oldest is %d", ErrTruncated, seq, l.dropped+1)
}

// Next returns the next durable record, waiting for one if need be. It returns [ErrClosed] when the log or the reader
// is closed, [ErrTruncated] when Truncate overtook the reader, the context's error, or [ErrCorrupt] when bytes have
// been damaged since the log was opened; the call after that goes on behind the damage.
func (r *Reader) Next(ctx context.Context) (Record, error) {
	for {
		record, ok, err := r.TryNext()
		if ok || err != nil {
			return record, err
		}
		if err := r.l.waitFor(ctx, r.next); err != nil {
			return Record{}, err
		}
	}
}

// TryNext is Next without waiting; false says that no durable record follows yet.
func (r *Reader) TryNext() (Record, bool, error) {
	for {
		if r.closed {
			return Record{}, false, ErrClosed
		}
		if r.scan == nil {
			if ok, err := r.advance(); !ok {
				return Record{}, false, err
			}
		}
		item, err := r.scan.Next()
		switch {
		case errors.Is(err, io.EOF):
			if ok, err := r.advance(); !ok {
				return Record{}, false, err
			}
		case err != nil:
			return Record{}, false, fmt.Errorf("read %s: %w", r.ref.path, err)
		case item.Kind == segment.BadBytes:
			return Record{}, false, r.damaged(item)
		case item.Kind == segment.RecordLine && item.Seq >= r.next:
			if err := r.missing(item.Seq, item.Off); err != nil {
				r.scan.Unread(item)
				return Record{}, false, err
			}
			r.next, r.told = item.Seq+1, false
			return Record{Seq: item.Seq, Data: item.Data}, true, nil
		}
	}
}

// Close lets go of the reader's segment. It is not an error to close again.
func (r *Reader) Close() error {
	r.closed = true
	return r.release()
}

func (r *Reader) damaged(item segment.Item) error {
	name := filepath.Base(r.ref.path)
	fault := Fault{Kind: FaultDamage, File: name, Offset: item.Off, Bytes: item.Len, From: r.next, Reason: item.Reason}
	r.told = true
	r.l.mu.Lock()
	r.l.addFaultLocked(fault)
	r.l.mu.Unlock()
	return fmt.Errorf("%w: %s at %d, %d bytes, expecting record %d: %s", ErrCorrupt, name, item.Off, item.Len, r.next, item.Reason)
}

// missing tells, once, of records between next and upTo that were here when the log was opened and are here no more,
// with no bad bytes in their place. Those that were missing at open are known and stepped over.
func (r *Reader) missing(upTo uint64, off int64) error {
	from := max(r.next, r.ref.first)
	if upTo <= from || r.ref.gaps || r.told {
		return nil
	}
	return r.damaged(segment.Item{Off: off, Reason: fmt.Sprintf("records %d to %d are gone", from, upTo-1)})
}

// advance moves to where the next durable record can be: further in this segment, or in a later one. false without an
// error says that there is none yet.
func (r *Reader) advance() (bool, error) {
	l := r.l
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false, ErrClosed
	}
	if r.ref != nil && r.scan.End() < r.ref.end {
		r.scan.Extend(r.ref.end)
		l.mu.Unlock()
		return true, nil
	}
	if r.ref != nil && r.next <= r.ref.last {
		last, end := r.ref.last, r.ref.end
		l.mu.Unlock()
		if err := r.missing(last+1, end); err != nil {
			return false, err
		}
		r.next, r.told = last+1, false
		l.mu.Lock()
	}
	at := sort.Search(len(l.segments), func(i int) bool { return l.segments[i].last >= r.next })
	if at == len(l.segments) {
		l.mu.Unlock()
		return false, nil
	}
	if r.next <= l.dropped {
		defer l.mu.Unlock()
		return false, l.truncatedLocked(r.next)
	}
	ref := l.segments[at]
	ref.readers++ // from here on the file is not used again
	from, end := ref.near(r.next), ref.end
	l.mu.Unlock()
	return r.enter(ref, from, end)
}

func (r *Reader) enter(ref *segmentRef, from, end int64) (bool, error) {
	err := r.release()
	r.ref = ref
	if err != nil {
		return false, err
	}
	f, err := r.l.fs.Open(ref.path, vfs.ReadOnly)
	if err != nil {
		return false, errors.Join(fmt.Errorf("open segment: %w", err), r.release())
	}
	r.file = f
	r.scan = segment.NewScanner(f, from, end, r.l.opt.maxLine())
	return true, nil
}

func (r *Reader) release() error {
	if r.ref == nil {
		return nil
	}
	r.l.mu.Lock()
	r.ref.readers--
	r.l.mu.Unlock()
	r.ref, r.scan = nil, nil
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return f.Close()
}

// near returns the offset of a record at or before seq.
func (ref *segmentRef) near(seq uint64) int64 {
	at := sort.Search(len(ref.marks), func(i int) bool { return ref.marks[i].Seq > seq })
	if at == 0 {
		return 0
	}
	return ref.marks[at-1].Off
}

// waitFor returns when a record with this sequence or a later one is durable.
func (l *Log) waitFor(ctx context.Context, seq uint64) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	if l.last >= seq {
		l.mu.Unlock()
		return nil
	}
	if l.grown == nil {
		l.grown = make(chan struct{})
	}
	grown := l.grown
	l.mu.Unlock()
	select {
	case <-grown:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
