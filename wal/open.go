package wal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/33god/bloodbank/wal/segment"
	"github.com/33god/bloodbank/wal/vfs"
)

const lockName = "lock"

// holder is what the lock file says, for others to read.
type holder struct {
	PID   int       `json:"pid"`
	Owner string    `json:"owner"`
	Since time.Time `json:"since"`
}

// Open takes the log for this process and makes it whole: every byte is read and checked, what is torn at the end is
// cut, what is damaged elsewhere goes to the quarantine, and the newest segment is synced before anything of it is
// shown. It returns a [LockedError] when another process has the log, [ErrReadOnly], [ErrFull], [ErrVersion] when a
// newer program wrote it, or a fault of the options or the disk; then nothing stays open.
func Open(ctx context.Context, o Options) (*Log, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("wal options: %w", err)
	}
	l := &Log{opt: o, fs: o.FS, cursors: map[string]*Cursor{}}
	l.writer.l = l
	if err := l.open(ctx); err != nil {
		return nil, fmt.Errorf("open the log in %s: %w", o.Dir, classify(err))
	}
	return l, nil
}

func (l *Log) open(ctx context.Context) (err error) {
	if err := l.makeDirs(); err != nil {
		return err
	}
	if err := l.takeLock(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.writer.close(), l.lock.Close())
		}
	}()
	if err := l.removeTemporary(); err != nil {
		return err
	}
	found, err := survey(ctx, l.fs, l.opt.Dir, l.opt.maxLine())
	if err != nil {
		return err
	}
	r := recovery{l: l, found: found}
	spares, err := r.run(ctx)
	if err != nil {
		return err
	}
	l.keep = newKeeper(ctx, l, r.nextID(), spares)
	l.keep.start()
	return nil
}

// makeDirs makes the folders durable too: the name of each is on disk only when the one above it is synced, and any of
// them may have been made just now, by us or by a process that died before it came to that.
func (l *Log) makeDirs() error {
	if err := l.fs.MkdirAll(filepath.Join(l.opt.Dir, cursorDir)); err != nil {
		return err
	}
	if err := l.fs.SyncDir(l.opt.Dir); err != nil {
		return err
	}
	for dir := filepath.Clean(l.opt.Dir); filepath.Dir(dir) != dir; {
		dir = filepath.Dir(dir)
		if err := l.fs.SyncDir(dir); err != nil && !notOurs(err) {
			return err
		}
	}
	return nil
}

// notOurs says that a folder above the log belongs to somebody else, who has made it durable.
func notOurs(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EINVAL)
}

func (l *Log) takeLock() error {
	text, err := json.Marshal(holder{PID: os.Getpid(), Owner: l.opt.Owner, Since: l.opt.Now().UTC()})
	if err != nil {
		return err
	}
	l.lock, err = l.fs.Lock(filepath.Join(l.opt.Dir, lockName), string(text)+"\n")
	var held *vfs.HeldError
	if errors.As(err, &held) {
		var other holder
		_ = json.Unmarshal([]byte(held.Holder), &other) // half written: then it stays unnamed
		return &LockedError{Dir: l.opt.Dir, PID: other.PID, Owner: other.Owner}
	}
	return err
}

// removeTemporary removes what an earlier process had not finished.
func (l *Log) removeTemporary() error {
	for _, dir := range []string{"", archiveDir, cursorDir, quarantineDir} {
		path := filepath.Join(l.opt.Dir, dir)
		entries, err := l.fs.ReadDir(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Dir || !strings.HasSuffix(e.Name, tmpSuffix) {
				continue
			}
			if err := l.fs.Remove(filepath.Join(path, e.Name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// recovery makes a log whole from what was found in its folder.
type recovery struct {
	l     *Log
	found *folder
}

// run repairs the segments and fills in the log. It returns the spare segments that can be used.
func (r *recovery) run(ctx context.Context) ([]*activeSegment, error) {
	newest := r.found.newest()
	for _, s := range r.found.files {
		if err := r.repair(ctx, s, s == newest); err != nil {
			return nil, fmt.Errorf("repair %s: %w", s.name, err)
		}
	}
	for _, f := range r.found.faults {
		r.l.addFaultLocked(f)
		r.l.opt.Logger.Warn("fault in the log", "dir", r.l.opt.Dir, "kind", f.Kind, "file", f.File, "offset", f.Offset,
			"bytes", f.Bytes, "from_seq", f.From, "to_seq", f.To, "reason", f.Reason)
	}
	for _, s := range r.found.files {
		if s.live() && s.look.Count > 0 {
			r.l.segments = append(r.l.segments, &segmentRef{id: s.id, path: r.path(s), first: s.look.First, last: s.look.Last,
				end: s.look.End, marks: s.look.Marks, gaps: len(s.look.Gaps)+len(s.look.Damage) > 0})
			r.l.last = s.look.Last
		}
	}
	if newest != nil {
		r.l.floor = newest.look.Start()
	}
	if err := r.cursors(); err != nil {
		return nil, err
	}
	r.l.next = max(r.l.last+1, r.l.floor)
	r.l.dropped = r.l.next - 1
	if len(r.l.segments) > 0 {
		r.l.dropped = r.oldest() - 1
	}
	if newest != nil {
		if err := r.activate(newest); err != nil {
			return nil, err
		}
	}
	return r.tidy(newest)
}

func (r *recovery) path(s *segmentFile) string { return filepath.Join(r.l.opt.Dir, s.name) }

// oldest is the first sequence the oldest segment with records should hold.
func (r *recovery) oldest() uint64 {
	for _, s := range r.found.files {
		if s.live() && s.look.Count > 0 {
			return s.look.Start()
		}
	}
	return 1
}

func (r *recovery) nextID() uint64 {
	if n := len(r.found.files); n > 0 {
		return r.found.files[n-1].id + 1
	}
	return 1
}

// repair moves bad bytes to the quarantine and leaves newlines, or the end of the file, in their place. The copy is
// durable before the bytes are touched.
func (r *recovery) repair(ctx context.Context, s *segmentFile, newest bool) error {
	if s.stale {
		return r.setAside(s)
	}
	regions := faultsOf(s.name, s.look)
	trailing := !newest && s.look.Size > s.look.End && !s.look.Blank()
	if len(regions) == 0 && !trailing && !newest {
		return nil
	}
	f, err := r.l.fs.Open(r.path(s), vfs.ReadWrite)
	if err != nil {
		return err
	}
	for _, fault := range regions {
		if err == nil && fault.Bytes > 0 {
			err = r.clear(ctx, f, fault)
		}
	}
	if err == nil && trailing {
		err = f.Truncate(s.look.End)
	}
	if err == nil && newest {
		err = rewrite(ctx, f, s.look.End)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// rewrite writes the bytes up to end once more. The process before this one may have died between a write and its
// fsync, or after an fsync that failed; in the second case the system may show bytes that are not on the disk and that
// no later fsync would bring there, unless they are written again. No other segment needs it: where a later one has
// records, what is not durable before it is void.
func rewrite(ctx context.Context, f vfs.File, end int64) error {
	buf := make([]byte, min(end, 1<<20))
	for off := int64(0); off < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), end-off)], off)
		if n == 0 {
			return fmt.Errorf("read at %d: %w", off, err)
		}
		if _, err := f.WriteAt(buf[:n], off); err != nil {
			return fmt.Errorf("write at %d: %w", off, err)
		}
		off += int64(n)
	}
	return nil
}

func (r *recovery) clear(ctx context.Context, f vfs.File, fault Fault) error {
	if err := quarantine(r.l.fs, r.l.opt.Dir, f, fault, r.l.opt.Now()); err != nil {
		return err
	}
	if fault.Kind == FaultTorn {
		r.l.cut += fault.Bytes
	}
	return segment.Fill(ctx, f, fault.Offset, fault.Offset+fault.Bytes)
}

// setAside moves a whole segment into the quarantine.
func (r *recovery) setAside(s *segmentFile) error {
	f, err := r.l.fs.Open(r.path(s), vfs.ReadOnly)
	if err != nil {
		return err
	}
	fault := Fault{Kind: FaultStale, File: s.name, Bytes: s.look.Size, Reason: "its sequences are older than those of the segment before it"}
	err = errors.Join(quarantine(r.l.fs, r.l.opt.Dir, f, fault, r.l.opt.Now()), f.Close())
	if err != nil {
		return err
	}
	return r.remove(s)
}

func (r *recovery) remove(s *segmentFile) error {
	if err := r.l.fs.Remove(r.path(s)); err != nil {
		return err
	}
	return r.l.fs.SyncDir(r.l.opt.Dir)
}

// cursors loads the positions. A position beyond the newest record says that the disk has lost records; their sequences
// are not given out again, or the follower would step over the new ones.
func (r *recovery) cursors() error {
	positions, faults, err := readCursors(r.l.fs, r.l.opt.Dir)
	if err != nil {
		return err
	}
	for _, f := range faults {
		r.l.addFaultLocked(f)
	}
	for name, file := range positions {
		at := file.Position
		c := &Cursor{l: r.l, name: name, saved: at, savedAt: file.Saved}
		c.pos.Store(at)
		r.l.cursors[name] = c
		if at >= max(r.l.last+1, r.l.floor) {
			r.l.floor = at + 1
			r.l.addFaultLocked(Fault{Kind: FaultMissing, File: cursorDir + "/" + name + cursorSuffix, From: r.l.last + 1, To: at,
				Reason: "the follower has seen these records, the log has lost them"})
		}
	}
	return nil
}

// activate goes on with the newest segment if the next record can follow in it.
func (r *recovery) activate(s *segmentFile) error {
	f, err := r.l.fs.Open(r.path(s), vfs.ReadWrite)
	if err != nil {
		return err
	}
	a := &activeSegment{id: s.id, path: r.path(s), file: f, off: s.look.End, filled: s.look.Size >= r.l.opt.SegmentSize}
	if s.look.Count == 0 {
		r.l.writer.unused = append(r.l.writer.unused, a)
		return nil
	}
	if r.l.next != s.look.Last+1 {
		return f.Close()
	}
	a.ref = r.l.segments[len(r.l.segments)-1]
	r.l.writer.active = a
	return nil
}

// tidy removes blank segments, and older ones that hold nothing but a header. Up to two blank ones behind the newest
// are kept as spares.
func (r *recovery) tidy(newest *segmentFile) (spares []*activeSegment, err error) {
	defer func() {
		for _, spare := range spares {
			if err != nil {
				err = errors.Join(err, spare.file.Close())
			}
		}
	}()
	for _, s := range r.found.files {
		if s == newest || s.stale || s.look.Count > 0 {
			continue
		}
		usable := s.look.Blank() && s.look.Torn == nil && s.look.Size == r.l.opt.SegmentSize
		if !usable || len(spares) == 2 || (newest != nil && s.id < newest.id) {
			if err := r.remove(s); err != nil {
				return spares, err
			}
			continue
		}
		f, err := r.l.fs.Open(r.path(s), vfs.ReadWrite)
		if err != nil {
			return spares, err
		}
		spares = append(spares, &activeSegment{id: s.id, path: r.path(s), file: f, filled: true})
	}
	return spares, nil
}
