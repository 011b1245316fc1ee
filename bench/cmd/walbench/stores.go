package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/33god/bloodbank/wal"
	"github.com/33god/bloodbank/wal/segment"
	"github.com/33god/bloodbank/wal/vfs"
	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	etcdwal "go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

func openCell(ctx context.Context, name, dir string, s settings) (cell, error) {
	dir = filepath.Join(dir, name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	switch name {
	case "raw":
		return openRaw(ctx, dir, slowFS{vfs.OS(), s.simulate})
	case "ours":
		return openOurs(ctx, dir, slowFS{vfs.OS(), s.simulate})
	case "slow":
		return openOurs(ctx, dir, slowFS{vfs.OS(), s.delay})
	case "etcd":
		return openEtcd(filepath.Join(dir, "wal"))
	case "raft-wal":
		return openRaft(dir)
	}
	return nil, fmt.Errorf("no cell is called %q", name)
}

// raw is the ceiling: batches as large as the number of appenders from one goroutine, on a file filled beforehand.
type raw struct {
	f   vfs.File
	off int64
}

const rawSize = 64 << 20

func openRaw(ctx context.Context, dir string, fsys vfs.FS) (cell, error) {
	f, err := fsys.Open(filepath.Join(dir, "raw"), vfs.Create)
	if err != nil {
		return nil, err
	}
	if err := segment.Fill(ctx, f, 0, rawSize); err != nil {
		return nil, err
	}
	return &raw{f: f}, f.Sync()
}

func (r *raw) run(ctx context.Context, n int, limit limits) (float64, error) {
	batch := bytes.Repeat(append(record(), '\n'), n)
	count := int64(0)
	begin := time.Now()
	for time.Since(begin) < limit.time && count*recordSize < limit.bytes {
		if r.off+int64(len(batch)) > rawSize {
			r.off = 0
		}
		if _, err := r.f.WriteAt(batch, r.off); err != nil {
			return 0, err
		}
		if err := r.f.Sync(); err != nil {
			return 0, err
		}
		r.off += int64(len(batch))
		count += int64(n)
	}
	return float64(count) / time.Since(begin).Seconds(), ctx.Err()
}

func (r *raw) close() error { return r.f.Close() }

// ours is the log as the product uses it, with segments drained and used again on the way.
type ours struct{ l *wal.Log }

func openOurs(ctx context.Context, dir string, fsys vfs.FS) (cell, error) {
	l, err := wal.Open(ctx, wal.Options{Dir: dir, FS: fsys})
	if err != nil {
		return nil, err
	}
	return ours{l}, l.Settle(ctx)
}

func (o ours) append(ctx context.Context, record []byte) error {
	seq, err := o.l.Append(context.WithoutCancel(ctx), record) // as the front of the others, which knows no context
	if err == nil && seq%8192 == 0 {
		err = o.l.Truncate(ctx, seq)
	}
	return err
}

func (o ours) run(ctx context.Context, n int, limit limits) (float64, error) {
	rate, err := drive(ctx, o.append, n, limit)
	if err != nil {
		return 0, err
	}
	return rate, o.l.Settle(ctx) // as the raw file is filled beforehand, and not to fill while others are measured
}

func (o ours) close() error { return o.l.Close() }

// slowFS is a file system whose fdatasync takes at least delay: the real one, and a sleep for the rest with the thread
// blocked as a device blocks it. So the real disk's moods do not add to the delay.
type slowFS struct {
	vfs.FS
	delay time.Duration
}

func (s slowFS) Open(path string, mode vfs.Mode) (vfs.File, error) {
	f, err := s.FS.Open(path, mode)
	if err != nil {
		return nil, err
	}
	return slowFile{f, s.delay}, nil
}

type slowFile struct {
	vfs.File
	delay time.Duration
}

func (f slowFile) Sync() error {
	begin := time.Now()
	if err := f.File.Sync(); err != nil {
		return err
	}
	rest := f.delay - time.Since(begin)
	if rest <= 0 {
		return nil
	}
	left := unix.NsecToTimespec(rest.Nanoseconds())
	for unix.Nanosleep(&left, &left) == unix.EINTR { // the rest of the time is slept too
		continue
	}
	return nil
}

// fineTimers asks the kernel not to round sleeps of this process's threads up, as it may by 50 microseconds.
func fineTimers() error { return unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) }

// etcd is etcd's write-ahead log behind the common front.
type etcd struct {
	w    *etcdwal.WAL
	next uint64
	g    group
}

func openEtcd(dir string) (cell, error) {
	w, err := etcdwal.Create(zap.NewNop(), dir, nil)
	if err != nil {
		return nil, err
	}
	e := &etcd{w: w, next: 1}
	e.g.commit = e.save
	return e, nil
}

func (e *etcd) save(records [][]byte) error {
	term, index := uint64(1), uint64(0)
	entries := make([]*raftpb.Entry, len(records))
	for i, data := range records {
		index = e.next
		e.next++
		at := index
		entries[i] = &raftpb.Entry{Term: &term, Index: &at, Data: data}
	}
	return e.w.Save(&raftpb.HardState{Term: &term, Commit: &index}, entries)
}

func (e *etcd) run(ctx context.Context, n int, limit limits) (float64, error) {
	return drive(ctx, e.g.append, n, limit)
}

func (e *etcd) close() error { return e.w.Close() }

// raftLog is HashiCorp's raft-wal behind the common front.
type raftLog struct {
	w    *raftwal.WAL
	next uint64
	g    group
}

func openRaft(dir string) (cell, error) {
	w, err := raftwal.Open(dir)
	if err != nil {
		return nil, err
	}
	r := &raftLog{w: w, next: 1}
	r.g.commit = r.save
	return r, nil
}

func (r *raftLog) save(records [][]byte) error {
	logs := make([]*raft.Log, len(records))
	for i, data := range records {
		logs[i] = &raft.Log{Index: r.next, Term: 1, Data: data}
		r.next++
	}
	return r.w.StoreLogs(logs)
}

func (r *raftLog) run(ctx context.Context, n int, limit limits) (float64, error) {
	return drive(ctx, r.g.append, n, limit)
}

func (r *raftLog) close() error { return r.w.Close() }
