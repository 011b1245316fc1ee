package wal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/33god/bloodbank/wal/segment"
	"github.com/33god/bloodbank/wal/vfs"
)

const (
	cursorDir    = "cursors"
	cursorSuffix = ".json"
	maxName      = 64
)

// Cursor is the position of a named follower: the newest record it has done with. It is written to disk some time
// after it moved, so after a crash a follower may see records again, never miss one.
type Cursor struct {
	l    *Log
	name string
	pos  atomic.Uint64

	mu      sync.Mutex // held while the file is written
	saved   uint64
	savedAt time.Time
}

// cursorFile is what is stored: {"name":"dispatch","position":7,"saved":"...","crc":"..."}, crc over "name position".
type cursorFile struct {
	Name     string    `json:"name"`
	Position uint64    `json:"position"`
	Saved    time.Time `json:"saved,omitzero"`
	CRC      string    `json:"crc"`
}

func (c cursorFile) sum() string {
	return fmt.Sprintf("%08x", segment.Sum(fmt.Appendf(nil, "%s %d", c.Name, c.Position)))
}

// Cursor returns the cursor of this name, new ones at position 0. The same name gives the same cursor. A name has 1 to
// 64 letters, digits, dots, dashes or underscores and does not begin with a dot.
func (l *Log) Cursor(name string) (*Cursor, error) {
	if !validName(name) {
		return nil, fmt.Errorf("cursor name %q: use 1 to %d letters, digits, '.', '-' or '_', not beginning with '.'", name, maxName)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	c := l.cursors[name]
	if c == nil {
		c = &Cursor{l: l, name: name}
		l.cursors[name] = c
	}
	return c, nil
}

func validName(name string) bool {
	if name == "" || len(name) > maxName || name[0] == '.' {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == ""
}

// Name is the name the cursor was asked for by.
func (c *Cursor) Name() string { return c.name }

// Position is the newest sequence the follower has done with; 0 = none yet.
func (c *Cursor) Position() uint64 { return c.pos.Load() }

// Advance moves the cursor forward to seq, but never behind the newest durable record. A smaller seq does nothing.
func (c *Cursor) Advance(seq uint64) {
	seq = min(seq, c.l.Last())
	for {
		old := c.pos.Load()
		if seq <= old || c.pos.CompareAndSwap(old, seq) {
			return
		}
	}
}

// SavedAt is when the position on disk was written, by the clock of that moment; zero if none ever was.
func (c *Cursor) SavedAt() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.savedAt
}

// Rewind moves the cursor back to seq and makes that durable, so that the follower sees the records behind it again. It
// must not be called while the follower runs: its next Advance would undo it. A larger seq than the position is refused.
func (c *Cursor) Rewind(ctx context.Context, seq uint64) error {
	if at := c.pos.Load(); seq > at {
		return fmt.Errorf("cursor %s stands at %d and cannot go back to %d", c.name, at, seq)
	}
	c.pos.Store(seq)
	return c.Sync(ctx)
}

// Sync makes the position durable now.
func (c *Cursor) Sync(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.l.mu.Lock()
	closed := c.l.closed
	c.l.mu.Unlock()
	if closed {
		return ErrClosed
	}
	return c.save()
}

func (c *Cursor) save() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.pos.Load()
	if at == c.saved {
		return nil
	}
	file := cursorFile{Name: c.name, Position: at, Saved: c.l.opt.Now().UTC()}
	file.CRC = file.sum()
	data, err := json.Marshal(file)
	if err != nil {
		return fmt.Errorf("cursor %s: %w", c.name, err)
	}
	path := filepath.Join(c.l.opt.Dir, cursorDir, c.name+cursorSuffix)
	if err := vfs.WriteFile(c.l.fs, path, append(data, '\n')); err != nil {
		return fmt.Errorf("cursor %s: %w", c.name, classify(err))
	}
	c.saved, c.savedAt = at, file.Saved
	return nil
}

func (l *Log) saveCursors() error {
	var errs []error
	for _, c := range l.cursorList() {
		errs = append(errs, c.save())
	}
	return errors.Join(errs...)
}

func (l *Log) cursorList() []*Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]*Cursor, 0, len(l.cursors))
	for _, c := range l.cursors {
		list = append(list, c)
	}
	return list
}

// readCursors returns the positions in dir, and the faults of files that cannot be believed; those begin again at 0.
func readCursors(fsys vfs.FS, dir string) (map[string]cursorFile, []Fault, error) {
	entries, err := fsys.ReadDir(filepath.Join(dir, cursorDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	positions, faults := map[string]cursorFile{}, []Fault(nil)
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name, cursorSuffix)
		if !ok || !validName(name) {
			continue
		}
		data, err := vfs.ReadFile(fsys, filepath.Join(dir, cursorDir, entry.Name))
		if err != nil {
			return nil, nil, err
		}
		var file cursorFile
		if json.Unmarshal(data, &file) != nil || file.Name != name || file.CRC != file.sum() || file.Position > segment.MaxSeq {
			faults = append(faults, Fault{File: cursorDir + "/" + entry.Name, Bytes: entry.Size, Kind: FaultCursor,
				Reason: "not a cursor or its checksum is wrong; the follower begins at the oldest record"})
			file = cursorFile{}
		}
		positions[name] = file
	}
	return positions, faults, nil
}
