// Package vfs is the small file system behind the write-ahead log: the real one ([OS]) and one in memory that crashes,
// tears writes, runs full and lies about fsync ([Mem]).
//
// It knows files, folders and locks. It knows nothing of logs, records or any other package of this module.
package vfs

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
)

// FS is a file system. All methods may be called from any number of goroutines.
//
// The law of durability: nothing survives a power cut unless it was synced. The bytes and the length of a file are
// durable after [File.Sync]; its name (create, rename, remove) after SyncDir of the folder that holds it.
type FS interface {
	Files
	Dirs
	// Lock takes the file at path for this process until the closer is closed or the process ends, and writes holder
	// into it for others to read. It returns a [HeldError] with the other's text when somebody else has it.
	Lock(path, holder string) (io.Closer, error)
}

// Files is the part of FS that works on names of files.
type Files interface {
	// Open opens the file at path for what mode says.
	Open(path string, mode Mode) (File, error)
	// Rename replaces to, if it exists, in one step.
	Rename(from, to string) error
	// Remove takes the name away; who has the file open goes on using it.
	Remove(path string) error
}

// Dirs is the part of FS that works on folders.
type Dirs interface {
	// MkdirAll makes a folder and those above it that are missing.
	MkdirAll(dir string) error
	// ReadDir lists a folder sorted by name.
	ReadDir(dir string) ([]Entry, error)
	// SyncDir makes the names in dir durable.
	SyncDir(dir string) error
}

// File is an open file without a position.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes the bytes and the length durable (fdatasync). After an error nobody knows what is on disk, and a second
	// call that succeeds proves nothing.
	Sync() error
	// Truncate cuts the file, or lengthens it with zeros, to size bytes. It is durable after Sync.
	Truncate(size int64) error
	// Size is the length in bytes now, synced or not.
	Size() (int64, error)
}

// Mode says how Open opens.
type Mode int

// The three ways to open a file.
const (
	ReadOnly  Mode = iota // must exist
	ReadWrite             // must exist
	Create                // for reading and writing; made if missing, emptied if not
)

// Entry is one name in a folder.
type Entry struct {
	Name string
	Size int64 // bytes; 0 for folders
	Dir  bool
}

// HeldError says that a lock is held; Holder is what its holder wrote into it.
type HeldError struct {
	Path   string
	Holder string
}

func (e *HeldError) Error() string { return fmt.Sprintf("%s is held by %s", e.Path, e.Holder) }

// ReadFile returns the whole file.
func ReadFile(fsys FS, path string) ([]byte, error) {
	f, err := fsys.Open(path, ReadOnly)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	data := make([]byte, size)
	n, err := f.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return data[:n], nil
}

// WriteFile puts data under path in one step: after a power cut the old content or the new one is there, never a mix.
// It returns when the new one is durable. It uses path + ".tmp" on the way.
func WriteFile(fsys FS, path string, data []byte) error {
	tmp := path + ".tmp"
	if err := writeSynced(fsys, tmp, data); err != nil {
		return errors.Join(err, ignoreMissing(fsys.Remove(tmp)))
	}
	if err := fsys.Rename(tmp, path); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(path))
}

func writeSynced(fsys FS, path string, data []byte) error {
	f, err := fsys.Open(path, Create)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
