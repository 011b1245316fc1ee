package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"time"

	"github.com/33god/bloodbank/wal/segment"
	"github.com/33god/bloodbank/wal/vfs"
	"github.com/klauspost/compress/zstd"
)

// SegmentState says what a segment is for.
type SegmentState string

// The states of a segment.
const (
	StateSealed SegmentState = "sealed" // full, or ended early; takes no more
	StateActive SegmentState = "active" // the newest with records
	StateSpare  SegmentState = "spare"  // nothing written yet
	StateStale  SegmentState = "stale"  // older than its place; will be set aside
)

// SegmentInfo is one segment file.
type SegmentInfo struct {
	File    string       `json:"file"`
	State   SegmentState `json:"state"`
	First   uint64       `json:"first"`
	Last    uint64       `json:"last"`
	Records int          `json:"records"`
	Bytes   int64        `json:"bytes"`     // up to the end of the last record
	Size    int64        `json:"file_size"` // with what is not written yet
	Created time.Time    `json:"created,omitzero"`
}

// Report is what an inspection found.
type Report struct {
	Dir         string           `json:"dir"`
	First       uint64           `json:"first"`
	Last        uint64           `json:"last"`
	Records     int              `json:"records"`
	Segments    []SegmentInfo    `json:"segments"`
	Faults      []Fault          `json:"faults"`
	Archives    []ArchiveInfo    `json:"archives"`
	Quarantined []QuarantineInfo `json:"quarantined"`
	Cursors     []CursorStatus   `json:"cursors"`
}

// Inspect reads a log's folder without the lock and changes nothing. fsys nil is the real file system. Of a log that is
// open at the same time it may report a torn tail that is just being written.
func Inspect(ctx context.Context, fsys vfs.FS, dir string) (Report, error) {
	if fsys == nil {
		fsys = vfs.OS()
	}
	report := Report{Dir: dir}
	found, err := survey(ctx, fsys, dir, inspectLine)
	if err != nil {
		return report, fmt.Errorf("inspect %s: %w", dir, err)
	}
	newest := found.newest()
	for _, s := range found.files {
		info := SegmentInfo{File: s.name, State: stateOf(s, newest), First: s.look.First, Last: s.look.Last, Records: s.look.Count,
			Bytes: s.look.End, Size: s.look.Size}
		if s.look.Header != nil {
			info.Created = s.look.Header.Created
		}
		report.Segments = append(report.Segments, info)
		if s.live() && s.look.Count > 0 {
			if report.First == 0 {
				report.First = s.look.First
			}
			report.Last = s.look.Last
			report.Records += s.look.Count
		}
	}
	report.Faults = found.faults
	return report, report.addRest(fsys)
}

const inspectLine = 64<<20 + segment.Overhead

func stateOf(s, newest *segmentFile) SegmentState {
	switch {
	case s.stale:
		return StateStale
	case s == newest:
		return StateActive
	case s.look.Blank():
		return StateSpare
	}
	return StateSealed
}

func (r *Report) addRest(fsys vfs.FS) (err error) {
	if r.Archives, err = listArchives(fsys, r.Dir); err != nil {
		return err
	}
	if r.Quarantined, err = listQuarantine(fsys, r.Dir); err != nil {
		return err
	}
	positions, faults, err := readCursors(fsys, r.Dir)
	if err != nil {
		return err
	}
	r.Faults = append(r.Faults, faults...)
	for name, file := range positions {
		at := file.Position
		r.Cursors = append(r.Cursors, CursorStatus{Name: name, Position: at, Lag: r.Last - min(at, r.Last)})
	}
	sortCursors(r.Cursors)
	return nil
}

// Scan walks over the records from the sequence from on, archived ones first, without the lock. fsys nil is the real
// file system. A record's Data is valid until the next one. Damage comes as an error that matches [ErrCorrupt], and the
// walk goes on behind it if the caller wants; any other error ends it. A torn tail ends it without an error. Of a log
// that is open at the same time it may show records that are not durable yet.
func Scan(ctx context.Context, fsys vfs.FS, dir string, from uint64) iter.Seq2[Record, error] {
	if fsys == nil {
		fsys = vfs.OS()
	}
	return func(yield func(Record, error) bool) {
		w := walk{ctx: ctx, fsys: fsys, dir: dir, next: max(from, 1), yield: yield}
		if err := w.run(); err != nil && !errors.Is(err, errStop) {
			yield(Record{}, fmt.Errorf("scan %s: %w", dir, err))
		}
	}
}

var errStop = errors.New("the caller has seen enough")

// walk is the state of one Scan.
type walk struct {
	ctx   context.Context
	fsys  vfs.FS
	dir   string
	next  uint64
	yield func(Record, error) bool
}

func (w *walk) run() error {
	found, err := survey(w.ctx, w.fsys, w.dir, inspectLine)
	if err != nil {
		return err
	}
	archives, err := listArchives(w.fsys, w.dir)
	if err != nil {
		return err
	}
	for _, a := range archives {
		if a.Last >= w.next {
			if err := w.archive(a); err != nil {
				return err
			}
		}
	}
	for _, s := range found.files {
		if !s.live() || s.look.Last < w.next {
			continue
		}
		if err := w.segment(s); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) segment(s *segmentFile) error {
	f, err := w.fsys.Open(filepath.Join(w.dir, s.name), vfs.ReadOnly)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // drained meanwhile
	}
	if err != nil {
		return err
	}
	return errors.Join(w.lines(s.name, f, s.look.End), f.Close())
}

func (w *walk) archive(a ArchiveInfo) error {
	f, err := w.fsys.Open(filepath.Join(w.dir, archiveDir, a.File), vfs.ReadOnly)
	if err != nil {
		return err
	}
	defer f.Close()
	dec, err := zstd.NewReader(io.NewSectionReader(f, 0, a.Bytes), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer dec.Close()
	name := archiveDir + "/" + a.File
	if err := w.lines(name, &forward{r: dec}, 1<<62); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (w *walk) lines(name string, src io.ReaderAt, end int64) error {
	scan := segment.NewScanner(src, 0, end, inspectLine)
	for {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		item, err := scan.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		more := true
		switch {
		case item.Kind == segment.BadBytes:
			more = w.yield(Record{}, fmt.Errorf("%w: %s at %d, %d bytes: %s", ErrCorrupt, name, item.Off, item.Len, item.Reason))
		case item.Kind == segment.RecordLine && item.Seq >= w.next:
			w.next = item.Seq + 1
			more = w.yield(Record{Seq: item.Seq, Data: item.Data}, nil)
		}
		if !more {
			return errStop
		}
	}
}

// forward reads a stream as if it were a file; the scanner never goes back.
type forward struct {
	r   io.Reader
	off int64
}

func (f *forward) ReadAt(p []byte, off int64) (int, error) {
	if off != f.off {
		return 0, fmt.Errorf("read at %d of a stream that is at %d", off, f.off)
	}
	n, err := io.ReadFull(f.r, p)
	f.off += int64(n)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}
