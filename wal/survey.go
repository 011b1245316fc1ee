package wal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/33god/bloodbank/wal/segment"
	"github.com/33god/bloodbank/wal/vfs"
)

// segmentFile is a segment as found in the folder.
type segmentFile struct {
	id    uint64
	name  string
	look  *segment.Survey
	stale bool // holds older sequences than a segment before it
}

func (s *segmentFile) live() bool { return !s.stale && !s.look.Blank() }

// folder is what the segments of a log say together. Making it changes nothing.
type folder struct {
	files  []*segmentFile // in order of use
	faults []Fault
}

// survey reads every byte of every segment. It needs no lock; a log that is open at the same time may give faults at
// the end that are only half done.
func survey(ctx context.Context, fsys vfs.FS, dir string, maxLine int) (*folder, error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	f := &folder{}
	for _, entry := range entries {
		id, ok := segment.ParseName(entry.Name)
		if !ok || entry.Dir {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		look, err := inspectFile(fsys, filepath.Join(dir, entry.Name), maxLine, 0)
		if err != nil {
			return nil, fmt.Errorf("segment %s: %w", entry.Name, err)
		}
		f.files = append(f.files, &segmentFile{id: id, name: entry.Name, look: look})
	}
	if err := f.resolve(fsys, dir, maxLine); err != nil {
		return nil, err
	}
	f.judge()
	return f, nil
}

func inspectFile(fsys vfs.FS, path string, maxLine int, below uint64) (*segment.Survey, error) {
	file, err := fsys.Open(path, vfs.ReadOnly)
	if err != nil {
		return nil, err
	}
	size, err := file.Size()
	var look *segment.Survey
	if err == nil {
		look, err = segment.Inspect(file, size, maxLine, below)
	}
	return look, errors.Join(err, file.Close())
}

// resolve applies the law of overlapping segments. A later one that begins inside an earlier one makes the rest of the
// earlier one void: that rest is a batch whose fsync failed. A later one that begins before an earlier one began can
// not come from this; it is old content under a new name, and must not void anything.
func (f *folder) resolve(fsys vfs.FS, dir string, maxLine int) error {
	start := uint64(0)
	for _, s := range f.files {
		if s.look.Blank() {
			continue
		}
		if s.stale = s.look.Start() < start; !s.stale {
			start = s.look.Start()
		}
	}
	below := uint64(0)
	for i := len(f.files) - 1; i >= 0; i-- {
		s := f.files[i]
		if !s.live() {
			continue
		}
		if below > 0 && s.look.Last >= below {
			look, err := inspectFile(fsys, filepath.Join(dir, s.name), maxLine, below)
			if err != nil {
				return fmt.Errorf("segment %s: %w", s.name, err)
			}
			s.look = look
		}
		if from := s.look.Start(); from > 0 {
			below = from
		}
	}
	return nil
}

// judge lists the faults, those inside segments and the sequences missing between them.
func (f *folder) judge() {
	last := uint64(0)
	for _, s := range f.files {
		if s.stale {
			f.faults = append(f.faults, Fault{Kind: FaultStale, File: s.name, Bytes: s.look.Size,
				Reason: "its sequences are older than those of the segment before it"})
			continue
		}
		start := s.look.Start()
		if last > 0 && start > last+1 {
			f.faults = append(f.faults, Fault{Kind: FaultMissing, From: last + 1, To: start - 1,
				Reason: "no segment before " + s.name + " holds these records"})
		}
		f.faults = append(f.faults, faultsOf(s.name, s.look)...)
		if start > 0 {
			last = max(s.look.Last, start-1)
		}
	}
}

// newest returns the last live segment, or nil.
func (f *folder) newest() *segmentFile {
	for i := len(f.files) - 1; i >= 0; i-- {
		if f.files[i].live() {
			return f.files[i]
		}
	}
	return nil
}
