package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Mem is a file system in memory that keeps apart what was synced from what was not, so that [Mem.CrashClone] can show
// what a power cut may leave. A hook can fail, delay or lie about every operation. The zero value is not usable; call
// [NewMem].
type Mem struct {
	mu    sync.Mutex
	dirs  map[string]*memDir
	locks map[string]string
	hook  func(Op) Fault
	lies  bool
	space int64 // bytes left; < 0 = no limit
}

// Op is one operation about to be done, shown to the hook.
type Op struct {
	Kind OpKind
	Path string // of a file: its newest name, also after a rename while it was open
	To   string // of a rename
	Off  int64
	Len  int
}

// OpKind names an operation.
type OpKind string

// The operations a hook sees.
const (
	OpOpen     OpKind = "open"
	OpCreate   OpKind = "create"
	OpRead     OpKind = "read"
	OpWrite    OpKind = "write"
	OpSync     OpKind = "sync"
	OpTruncate OpKind = "truncate"
	OpRename   OpKind = "rename"
	OpRemove   OpKind = "remove"
	OpMkdir    OpKind = "mkdir"
	OpReadDir  OpKind = "readdir"
	OpSyncDir  OpKind = "syncdir"
	OpLock     OpKind = "lock"
)

// Changes says whether the operation changes what is on disk or what is durable.
func (k OpKind) Changes() bool {
	switch k {
	case OpOpen, OpRead, OpReadDir, OpLock:
		return false
	}
	return true
}

// Fault is what happens instead. The zero value is no fault.
type Fault struct {
	Err      error
	Happened bool // the operation is done all the same, and then Err returned
	Short    int  // of a write that fails: this many bytes are written first
	// Drop is for a Sync that fails: what waited for it will never be on disk, although it is read back until the power
	// goes and a second Sync says yes. Linux does so.
	Drop bool
	// Lie is for Sync and SyncDir: say yes and do nothing.
	Lie bool
}

// memDir is a folder: names now, names that are durable, and the changes between them in order.
type memDir struct {
	names   map[string]*memNode
	durable map[string]*memNode
	changes []nameChange
	named   bool // its own name is durable in the folder above
}

// nameChange sets (or with a nil node removes) names in one step.
type nameChange struct{ set map[string]*memNode }

// memNode is a file's bytes now, those that are durable, and the changes that the next sync makes durable, in order.
type memNode struct {
	path    string // its newest name
	data    []byte
	durable []byte
	changes []byteChange
}

// byteChange is a write, or a truncation when data is nil.
type byteChange struct {
	off  int64
	data []byte
}

// NewMem returns an empty file system.
func NewMem() *Mem {
	m := &Mem{dirs: map[string]*memDir{}, locks: map[string]string{}, space: -1}
	for _, root := range []string{"/", "."} {
		m.dirs[root] = newMemDir()
		m.dirs[root].named = true
	}
	return m
}

func newMemDir() *memDir {
	return &memDir{names: map[string]*memNode{}, durable: map[string]*memNode{}}
}

// SetHook has hook asked before every operation, without any lock held, so it may block. nil takes it away.
func (m *Mem) SetHook(hook func(Op) Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = hook
}

// SetLies makes Sync and SyncDir say yes and do nothing, as some disks do.
func (m *Mem) SetLies(lies bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lies = lies
}

// SetSpace leaves room for files to grow by n bytes together; then writes are cut short with ENOSPC. Removing and
// truncating gives room back. Negative is no limit.
func (m *Mem) SetSpace(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.space = n
}

// ask returns the hook's fault, and whether the operation is to be done.
func (m *Mem) ask(op Op) (f Fault, do bool) {
	m.mu.Lock()
	hook := m.hook
	m.mu.Unlock()
	if hook != nil {
		f = hook(op)
	}
	if f.Lie && (op.Kind == OpSync || op.Kind == OpSyncDir) {
		return f, false
	}
	return f, f.Err == nil || f.Happened
}

// do runs one operation under the lock, unless the hook forbids it.
func (m *Mem) do(op Op, run func() error) error {
	fault, do := m.ask(op)
	if !do {
		return fault.Err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := run(); err != nil {
		return err
	}
	return fault.Err
}

// Open opens or creates a file.
func (m *Mem) Open(path string, mode Mode) (File, error) {
	path = filepath.Clean(path)
	kind := OpOpen
	if mode == Create {
		kind = OpCreate
	}
	var f *memFile
	err := m.do(Op{Kind: kind, Path: path}, func() error {
		dir, name, err := m.dirOf(path)
		if err != nil {
			return err
		}
		node := dir.names[name]
		switch {
		case node == nil && mode != Create:
			return &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		case node == nil:
			node = &memNode{path: path}
			dir.change(map[string]*memNode{name: node})
		case mode == Create:
			m.resize(node, 0)
		}
		f = &memFile{m: m, node: node, writable: mode != ReadOnly}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Rename moves a file within one folder.
func (m *Mem) Rename(from, to string) error {
	from, to = filepath.Clean(from), filepath.Clean(to)
	return m.do(Op{Kind: OpRename, Path: from, To: to}, func() error {
		dir, name, err := m.dirOf(from)
		if err != nil {
			return err
		}
		if filepath.Dir(from) != filepath.Dir(to) {
			return fmt.Errorf("rename %s to %s: the memory file system renames within one folder only", from, to)
		}
		node := dir.names[name]
		if node == nil {
			return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
		}
		if filepath.Base(to) != name {
			dir.change(map[string]*memNode{name: nil, filepath.Base(to): node})
			node.path = to
		}
		return nil
	})
}

// Remove removes a file. Who has it open can go on using it.
func (m *Mem) Remove(path string) error {
	path = filepath.Clean(path)
	return m.do(Op{Kind: OpRemove, Path: path}, func() error {
		dir, name, err := m.dirOf(path)
		if err != nil {
			return err
		}
		node := dir.names[name]
		if node == nil {
			return &fs.PathError{Op: "remove", Path: path, Err: fs.ErrNotExist}
		}
		if m.space >= 0 {
			m.space += int64(len(node.data))
		}
		dir.change(map[string]*memNode{name: nil})
		return nil
	})
}

// MkdirAll makes a folder and those above it. As with files, the name of each is durable after SyncDir of the one above.
func (m *Mem) MkdirAll(dir string) error {
	dir = filepath.Clean(dir)
	return m.do(Op{Kind: OpMkdir, Path: dir}, func() error {
		for at := dir; m.dirs[at] == nil; at = filepath.Dir(at) {
			m.dirs[at] = newMemDir()
		}
		return nil
	})
}

// ReadDir lists a folder sorted by name.
func (m *Mem) ReadDir(dir string) (entries []Entry, err error) {
	dir = filepath.Clean(dir)
	err = m.do(Op{Kind: OpReadDir, Path: dir}, func() error {
		d := m.dirs[dir]
		if d == nil {
			return &fs.PathError{Op: "readdir", Path: dir, Err: fs.ErrNotExist}
		}
		for name, node := range d.names {
			entries = append(entries, Entry{Name: name, Size: int64(len(node.data))})
		}
		for path := range m.dirs {
			if path != dir && filepath.Dir(path) == dir {
				entries = append(entries, Entry{Name: filepath.Base(path), Dir: true})
			}
		}
		slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
		return nil
	})
	return entries, err
}

// SyncDir makes the names in a folder durable, those of folders too.
func (m *Mem) SyncDir(dir string) error {
	dir = filepath.Clean(dir)
	return m.do(Op{Kind: OpSyncDir, Path: dir}, func() error {
		d := m.dirs[dir]
		if d == nil {
			return &fs.PathError{Op: "syncdir", Path: dir, Err: fs.ErrNotExist}
		}
		if m.lies {
			return nil
		}
		d.durable, d.changes = maps.Clone(d.names), nil
		for path, below := range m.dirs {
			below.named = below.named || filepath.Dir(path) == dir
		}
		return nil
	})
}

// Lock takes a lock that lasts until it is closed; a clone after a crash has none.
func (m *Mem) Lock(path, holder string) (io.Closer, error) {
	path = filepath.Clean(path)
	err := m.do(Op{Kind: OpLock, Path: path}, func() error {
		if other, held := m.locks[path]; held {
			return &HeldError{Path: path, Holder: other}
		}
		m.locks[path] = holder
		return nil
	})
	if err == nil {
		return memLock{m, path}, nil
	}
	var held *HeldError
	if !errors.As(err, &held) {
		_ = memLock{m, path}.Close() // a fault that happened all the same leaves nobody who could let go
	}
	return nil, err
}

type memLock struct {
	m    *Mem
	path string
}

func (l memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	delete(l.m.locks, l.path)
	return nil
}

func (m *Mem) dirOf(path string) (*memDir, string, error) {
	d := m.dirs[filepath.Dir(path)]
	if d == nil {
		return nil, "", &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return d, filepath.Base(path), nil
}

func (d *memDir) change(set map[string]*memNode) {
	apply(d.names, set)
	d.changes = append(d.changes, nameChange{set})
}

func apply(names, set map[string]*memNode) {
	for name, node := range set {
		if node == nil {
			delete(names, name)
		} else {
			names[name] = node
		}
	}
}

// grow takes room for n more bytes and returns how many there was room for.
func (m *Mem) grow(n int64) int64 {
	if m.space < 0 || n <= 0 {
		return max(n, 0)
	}
	n = min(n, m.space)
	m.space -= n
	return n
}

func (m *Mem) resize(node *memNode, size int64) {
	if size < int64(len(node.data)) && m.space >= 0 {
		m.space += int64(len(node.data)) - size
	}
	node.changes = append(node.changes, byteChange{off: size})
	node.data = resized(node.data, size)
}

// write does as much of a write as there is room for.
func (m *Mem) write(node *memNode, p []byte, off int64) (int, error) {
	end := off + int64(len(p))
	if more := end - int64(len(node.data)); more > 0 {
		end -= more - m.grow(more)
	}
	n := int(max(0, end-off))
	if n > 0 {
		node.changes = append(node.changes, byteChange{off: off, data: slices.Clone(p[:n])})
		node.data = written(node.data, p[:n], off)
	}
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

// sync makes the changes durable that wait for it. What an earlier sync has dropped is not among them.
func (n *memNode) sync() {
	for _, change := range n.changes {
		if change.data == nil {
			n.durable = resized(n.durable, change.off)
		} else {
			n.durable = written(n.durable, change.data, change.off)
		}
	}
	n.changes = nil
}

func resized(data []byte, size int64) []byte {
	if size <= int64(len(data)) {
		return data[:size:size]
	}
	return append(data, make([]byte, size-int64(len(data)))...)
}

func written(data, p []byte, off int64) []byte {
	if end := off + int64(len(p)); end > int64(len(data)) {
		data = resized(data, end)
	}
	copy(data[off:], p)
	return data
}
