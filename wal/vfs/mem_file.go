package vfs

import (
	"io"
	"io/fs"
	"sync/atomic"
)

// memFile is an open file of a Mem.
type memFile struct {
	m        *Mem
	node     *memNode
	writable bool
	closed   atomic.Bool
}

func (f *memFile) op(kind OpKind, off int64, n int, run func() error) error {
	if f.closed.Load() {
		return &fs.PathError{Op: string(kind), Path: f.path(), Err: fs.ErrClosed}
	}
	if kind.Changes() && kind != OpSync && !f.writable {
		return &fs.PathError{Op: string(kind), Path: f.path(), Err: fs.ErrPermission}
	}
	return f.m.do(Op{Kind: kind, Path: f.path(), Off: off, Len: n}, run)
}

func (f *memFile) path() string {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.node.path
}

func (f *memFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.op(OpRead, off, len(p), func() error {
		if off < int64(len(f.node.data)) {
			n = copy(p, f.node.data[off:])
		}
		if n < len(p) {
			return io.EOF
		}
		return nil
	})
	return n, err
}

func (f *memFile) WriteAt(p []byte, off int64) (n int, err error) {
	if f.closed.Load() || !f.writable {
		return 0, f.op(OpWrite, off, len(p), func() error { return nil })
	}
	fault, do := f.m.ask(Op{Kind: OpWrite, Path: f.path(), Off: off, Len: len(p)})
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if !do {
		n, _ = f.m.write(f.node, p[:min(fault.Short, len(p))], off)
		return n, fault.Err
	}
	if n, err = f.m.write(f.node, p, off); err != nil {
		return n, err
	}
	return n, fault.Err
}

func (f *memFile) Sync() error {
	if f.closed.Load() {
		return f.op(OpSync, 0, 0, nil)
	}
	fault, do := f.m.ask(Op{Kind: OpSync, Path: f.path()})
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	switch {
	case do && !f.m.lies:
		f.node.sync()
	case fault.Drop:
		f.node.changes = nil
	}
	return fault.Err
}

func (f *memFile) Truncate(size int64) error {
	return f.op(OpTruncate, size, 0, func() error {
		f.m.resize(f.node, size)
		return nil
	})
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed.Load() {
		return 0, &fs.PathError{Op: "stat", Path: f.node.path, Err: fs.ErrClosed}
	}
	return int64(len(f.node.data)), nil
}

func (f *memFile) Close() error {
	if f.closed.Swap(true) {
		return &fs.PathError{Op: "close", Path: f.path(), Err: fs.ErrClosed}
	}
	return nil
}
