package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/33god/bloodbank/wal/vfs"
	"github.com/klauspost/compress/zstd"
)

const (
	archiveDir    = "archive"
	archiveSuffix = ".jsonl.zst"
)

// archive compresses a drained segment into the archive folder, then removes what retention no longer keeps. The
// archive is whole and durable before it has its name.
func (l *Log) archive(ctx context.Context, ref *segmentRef) error {
	dir := filepath.Join(l.opt.Dir, archiveDir)
	if err := l.fs.MkdirAll(dir); err != nil {
		return classify(err)
	}
	if err := l.fs.SyncDir(l.opt.Dir); err != nil { // or the folder may be gone when the segment is
		return err
	}
	path := filepath.Join(dir, archiveName(ref.id, ref.first, ref.last, l.opt.Now()))
	tmp := path + tmpSuffix
	if err := l.compress(ctx, ref, tmp); err != nil {
		err = fmt.Errorf("archive %s: %w", filepath.Base(ref.path), classify(err))
		if failed := l.fs.Remove(tmp); failed != nil && !errors.Is(failed, fs.ErrNotExist) {
			err = errors.Join(err, failed)
		}
		return err
	}
	if err := l.fs.Rename(tmp, path); err != nil {
		return err
	}
	if err := l.fs.SyncDir(dir); err != nil {
		return err
	}
	return l.retain()
}

func (l *Log) compress(ctx context.Context, ref *segmentRef, to string) (err error) {
	in, err := l.fs.Open(ref.path, vfs.ReadOnly)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := l.fs.Open(to, vfs.Create)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	enc, err := zstd.NewWriter(&appender{f: out}, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	src := contextReader{ctx: ctx, r: io.NewSectionReader(in, 0, ref.end)}
	if _, err := io.Copy(enc, src); err != nil {
		return errors.Join(err, enc.Close())
	}
	if err := enc.Close(); err != nil {
		return err
	}
	return out.Sync()
}

// retain removes archives that are too old, and the oldest ones while all together are too large.
func (l *Log) retain() error {
	dir := filepath.Join(l.opt.Dir, archiveDir)
	list, err := listArchives(l.fs, l.opt.Dir)
	if err != nil {
		return err
	}
	total := int64(0)
	for _, a := range list {
		total += a.Bytes
	}
	now := l.opt.Now()
	for _, a := range list {
		old := l.opt.RetainAge > 0 && now.Sub(a.Archived) > l.opt.RetainAge
		large := l.opt.RetainBytes > 0 && total > l.opt.RetainBytes
		if !old && !large {
			continue
		}
		total -= a.Bytes
		if err := l.fs.Remove(filepath.Join(dir, a.File)); err != nil {
			return fmt.Errorf("remove an archive: %w", err)
		}
	}
	return l.fs.SyncDir(dir)
}

// ArchiveInfo is a drained segment, compressed.
type ArchiveInfo struct {
	File     string    `json:"file"` // in the folder archive
	Bytes    int64     `json:"bytes"`
	First    uint64    `json:"first"`
	Last     uint64    `json:"last"`
	Archived time.Time `json:"archived"`
	id       uint64
}

func archiveName(id, first, last uint64, now time.Time) string {
	return fmt.Sprintf("%016d-%d-%d-%d%s", id, first, last, now.Unix(), archiveSuffix)
}

// listArchives returns the archives oldest first.
func listArchives(fsys vfs.FS, dir string) ([]ArchiveInfo, error) {
	entries, err := fsys.ReadDir(filepath.Join(dir, archiveDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []ArchiveInfo
	for _, e := range entries {
		a := ArchiveInfo{File: e.Name, Bytes: e.Size}
		var unix int64
		stem, ok := strings.CutSuffix(e.Name, archiveSuffix)
		if n, err := fmt.Sscanf(stem, "%d-%d-%d-%d", &a.id, &a.First, &a.Last, &unix); !ok || err != nil || n != 4 {
			continue
		}
		a.Archived = time.Unix(unix, 0).UTC()
		list = append(list, a)
	}
	return list, nil
}

// appender writes at the end of what it has written.
type appender struct {
	f   io.WriterAt
	off int64
}

func (a *appender) Write(p []byte) (int, error) {
	n, err := a.f.WriteAt(p, a.off)
	a.off += int64(n)
	return n, err
}

// contextReader ends with the context, between two reads.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
